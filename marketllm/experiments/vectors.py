"""Frozen sentence vectors: how far a published encoder gets without being tuned.

MiniLM reads each of the 5,000 fine-food reviews once. A logistic regression sorts
the vectors, against TF-IDF with as many tries and the same few or many labels. The
search task needs no labels: the first part of a review has to find its second part.

Nothing is chosen on the test part: folds of the training labels choose C, and the
layer.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from marketllm.datasets import (
    copy_key,
    fingerprint,
    group_folds,
    load_fine_food_reviews,
)
from marketllm.evaluation import (
    accuracy,
    auc,
    bootstrap_interval,
    mcnemar,
    mean_interval,
    paired_bootstrap,
)
from marketllm.experiments.frozen import (
    BATCH_SIZE,
    CANDIDATES,
    LAYERS,
    SHIPPED,
    WORDS,
    Numbers,
    all_reviews,
    all_vectors,
    candidates,
    choose,
    encoder,
    read,
    score,
    weights_digest,
)
from marketllm.experiments.review_task import brief, measure
from marketllm.experiments.runs import Experiment, Run

DRAWS = {50: 10, 100: 10, 400: 10, 1000: 5}  # labels: how often they are drawn
# In the few-label runs the folds of the drawn labels choose the layer too.
LEARNERS = {"minilm": [SHIPPED], "chosen layer": LAYERS[:7], WORDS: [WORDS]}
FIRST_WORDS = 10


def _probability(log_odds: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-log_odds))


def _test_labels() -> Numbers:
    table, n_train = all_reviews()
    return table["label"].to_numpy()[n_train:]


def _folds(way: str) -> dict[str, Any]:
    _, c, folds = choose([way], np.arange(all_reviews()[1]))
    return {"c": c, "auc": round(float(np.mean(folds)), 4), "folds": folds}


@cache
def _whole(way: str) -> tuple[Numbers, float]:
    log_odds, _, c = score([way], np.arange(all_reviews()[1]))
    return log_odds, c


def _one(way: str) -> dict[str, Any]:
    log_odds, c = _whole(way)
    return {"c": c} | measure(_test_labels(), _probability(log_odds))


def _both(first: str, second: str) -> dict[str, Any]:
    log_odds = (_whole(first)[0] + _whole(second)[0]) / 2
    return measure(_test_labels(), _probability(log_odds))


def _compare(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Compare two columns of scores on the test reviews: first minus second."""
    labels, columns = _test_labels(), (np.array(first), np.array(second))
    classes = [(scores >= 0.5).astype(int) for scores in columns]
    test = mcnemar(labels, *classes)
    found: dict[str, Any] = {
        "only_right": [test.n_first_only, test.n_second_only],
        "mcnemar_p": round(test.p_value, 5),
    }
    for metric, pair in ((accuracy, classes), (auc, columns)):
        difference = paired_bootstrap(metric, labels, *pair).difference
        ends = (difference.estimate, difference.low, difference.high)
        found[metric.__name__] = [round(end, 4) for end in ends]
    return found


def _draw(n_labels: int, seed: int) -> dict[str, Any]:
    """Learn from a few training reviews, with the classes in their shares."""
    table, n_train = all_reviews()
    train = table[:n_train]
    groups = train["text"].map(copy_key)
    rows = group_folds(train["label"], groups, n_train // n_labels, seed)[0][1]
    odds, found = {}, {}
    for name, ways in LEARNERS.items():
        odds[name], way, c = score(ways, rows)
        found[name] = {"way": way, "c": c}
        found[name] |= brief(_test_labels(), _probability(odds[name]))
    together = _probability((odds["chosen layer"] + odds[WORDS]) / 2)
    return found | {"both": brief(_test_labels(), together), "n_labels": len(rows)}


def _summary(draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average draws: mean, low end and high end of the 95% interval by t."""
    found: dict[str, Any] = {}
    for metric in ("accuracy", "auc"):
        columns = {
            way: np.array([draw[way][metric] for draw in draws])
            for way in (*LEARNERS, "both")
        }
        for way in ("minilm", "chosen layer", "both"):
            columns[f"{way} minus tfidf"] = columns[way] - columns[WORDS]
        for name, values in columns.items():
            mean = mean_interval(values)
            ends = (mean.estimate, mean.low, mean.high)
            found.setdefault(name, {})[metric] = [round(end, 4) for end in ends]
    return found


def _cut(text: str, how: str) -> tuple[str, str]:
    """Cut a review in two by words: in the middle, or after the first few."""
    words = text.split()
    n_words = len(words) // 2 if how == "half" else FIRST_WORDS
    return " ".join(words[:n_words]), " ".join(words[n_words:])


def _search(how: str) -> dict[str, Any]:
    """Let the first part of each test review look for its second part."""
    table, n_train = all_reviews()
    parts = [_cut(text, how) for text in table["text"][n_train:]]
    queries, documents = map(list, zip(*parts, strict=True))
    weigh = TfidfVectorizer(sublinear_tf=True)
    weigh.fit([*table["text"][:n_train], *documents])
    words = (weigh.transform(queries) @ weigh.transform(documents).T).toarray()
    meaning = read(queries)[SHIPPED] @ read(documents)[SHIPPED].T
    cosines = {"minilm": meaning, WORDS: words, "both": meaning + words}
    found: dict[str, Any] = {"n_documents": len(documents)}
    hits = {}
    for name, table_of_cosines in cosines.items():
        own = np.diag(table_of_cosines)[:, None]
        # A tie counts as lost: nobody can tell which of the two comes first.
        ranks = (table_of_cosines >= own).sum(axis=1)
        found[name] = {"ranks": ranks.tolist()}
        for n_shown in (1, 10):
            hit = (ranks <= n_shown).astype(int)
            hits[name, n_shown] = hit
            interval = bootstrap_interval(accuracy, np.ones_like(hit), hit)
            ends = (interval.estimate, interval.low, interval.high)
            found[name][f"recall@{n_shown}"] = [round(end, 4) for end in ends]
    for n_shown in (1, 10):
        pair = hits["minilm", n_shown], hits[WORDS, n_shown]
        test = paired_bootstrap(accuracy, np.ones_like(pair[0]), *pair).difference
        gap = [round(end, 4) for end in (test.estimate, test.low, test.high)]
        found[f"minilm minus tfidf, recall@{n_shown}"] = gap
    return found


def _reading() -> dict[str, Any]:
    """Tell how long the texts are, how many are cut, and what reading them costs."""
    table, n_train = all_reviews()
    found = encoder().tokenizer.encode_batch(table["text"].tolist())
    cut = np.array([bool(one.overflowing) for one in found])
    return {
        "most_tokens": max(map(len, found)),
        "mean_tokens": round(float(np.mean([len(one) for one in found])), 1),
        "n_cut": {"train": int(cut[:n_train].sum()), "test": int(cut[n_train:].sum())},
        "cpu_seconds_per_1000": round(1000 * all_vectors()[1] / len(table), 1),
    }


def _probe() -> dict[str, Any]:
    """Keep a few cosines, so that a test can repeat them in a second."""
    table, n_train = all_reviews()
    vectors = read(table["text"][n_train : n_train + 8].tolist())[SHIPPED]
    return {"cosines": (vectors @ vectors.T).round(4).tolist()}


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the cheap runs, the layers, all labels, few labels, and the search."""
    yield Run("probe", {"part": "test", "n_texts": 8}, _probe)
    yield Run("reading", {"part": "both", "batch_size": BATCH_SIZE}, _reading)
    for way in (*LAYERS, WORDS):
        tried = {"part": "training folds", "candidates": candidates(way)}
        yield Run(f"folds/{way}", tried, partial(_folds, way))
    best = max(LAYERS, key=lambda way: finished[f"folds/{way}"]["auc"])
    for name, way in (("minilm", SHIPPED), (WORDS, WORDS), ("best layer", best)):
        config: dict[str, Any] = {"part": "test", "way": way}
        config |= {"candidates": candidates(way)}
        yield Run(name, config, partial(_one, way))
    yield Run(
        "both", {"part": "test", "ways": [best, WORDS]}, partial(_both, best, WORDS)
    )
    for pair in (("minilm", WORDS), ("best layer", WORDS), ("both", WORDS)):
        columns = [finished[name]["scores"] for name in pair]
        yield Run(" minus ".join(pair), {"part": "test"}, partial(_compare, *columns))
    for n_labels, n_draws in DRAWS.items():
        names = [f"{n_labels} labels/{seed}" for seed in range(n_draws)]
        for seed, name in enumerate(names):
            config = {"part": "test", "n_labels": n_labels, "seed": seed}
            config |= {"candidates": CANDIDATES}
            yield Run(name, config, partial(_draw, n_labels, seed))
        draws = [finished[name] for name in names]
        summary = partial(_summary, draws)
        yield Run(f"summary/{n_labels} labels", {"n_draws": n_draws}, summary)
    for how in ("half", "few words"):
        config = {"part": "test", "how": how, "first_words": FIRST_WORDS}
        yield Run(f"search/{how}", config, partial(_search, how))


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    found = {"train": fingerprint(data.train), "test": fingerprint(data.test)}
    return found | {"minilm": weights_digest(encoder())}


VECTORS = Experiment(
    name="vectors",
    about="frozen sentence vectors of MiniLM against TF-IDF: sorting and searching",
    fingerprints=_fingerprints,
    runs=_plan,
)

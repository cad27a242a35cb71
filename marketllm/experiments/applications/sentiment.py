"""Sentiment: what the other experiments lack. VADER, human ratings, probes, clauses.

Models of whole reviews in English and Chinese are in the experiments `texts`,
`vectors` and `minilm`. Here a lexicon joins them, and sentences are graded from -4 to
4 as twenty people did. A fifth of the training reviews, whole ones, chooses how long
the small Transformer learns, and which reader grades the clauses of the dashboard.
MiniLM is tuned with the rate and the epochs of the experiment `minilm`. No setting was
chosen on rows, probes or clauses that are scored.

VADER's words and these sentences were rated for one paper, by raters of one pool. So
it is at home here, more than any other model.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from marketllm.baselines.lexicon import vader_scores
from marketllm.config import TrainingConfig
from marketllm.datasets import fingerprint, load_fine_food_reviews
from marketllm.experiments.applications.probes import PAIRS
from marketllm.experiments.applications.sentiment_texts import (
    agreement,
    clauses,
    reviews_of,
    sentences,
    validation_cut,
)
from marketllm.experiments.frozen import encoder, weights_digest
from marketllm.experiments.review_task import brief
from marketllm.experiments.runs import Experiment, Run
from marketllm.marketing.sentiment import (
    SentimentClassifier,
    SentimentGrader,
    aspect_opinions,
)
from marketllm.marketing.sentiment.network import (
    _GradedBatches,
    _grades,
    _grading_loss,
    _GradingNetwork,
    _NetworkGrader,
)
from marketllm.training import fit

Numbers = NDArray[np.float64]
Predict = Callable[[list[str]], Numbers]
SEEDS = (0, 1, 2, 3, 4)
READERS = ("lexicon", "words", "minilm")  # nothing in them is random
MOST_EPOCHS = 8
TUNING = {"rate": 5e-5, "n_epochs": 2, "max_len": 128}  # of the experiment `minilm`
# The reviews have no common products: those that name a thing twice stand for one.
PRODUCTS = ("coffee", "popcorn")
N_PROBE = 32


def _rounded(values: Numbers) -> list[float]:
    return [round(float(value), 4) for value in values]


def _found(predict: Predict, to_train: float) -> dict[str, Any]:
    """Score the test sentences, the probes and the clauses."""
    started = time.process_time()
    predictions = predict(sentences().test["text"].tolist())
    spent = time.process_time() - started
    return {
        "cpu_seconds_to_train": round(to_train, 2),
        "cpu_seconds_per_1000": round(1000 * spent / len(predictions), 3),
        "predictions": _rounded(predictions),
        "better": _rounded(predict([pair.better for pair in PAIRS])),
        "worse": _rounded(predict([pair.worse for pair in PAIRS])),
        "clauses": _rounded(predict(list(clauses()))),
    }


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _grade(reader: Any, n_epochs: int, seed: int) -> dict[str, Any]:
    train = sentences().train
    started = time.process_time()
    model = SentimentGrader(reader, n_epochs=n_epochs, seed=seed)
    model.fit(train["text"], train["rating"])
    return _found(model.predict, time.process_time() - started)


def _plain_vader() -> dict[str, Any]:
    """Stretch VADER's score, -1 to 1, to the scale of the ratings; learn nothing."""
    return _found(lambda texts: 4 * vader_scores(texts), 0.0)


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _validate(reader: Any, n_epochs: int) -> dict[str, Any]:
    """Grade held-out training reviews; tell the best epoch of a network."""
    train, held_out = validation_cut()
    grades = held_out["rating"].to_numpy()
    if reader == "transformer":
        network = _NetworkGrader(n_epochs, 0)
        validation = (held_out["text"].tolist(), grades)
        network.fit(train["text"].tolist(), train["rating"].to_numpy(), validation)
        losses = network.history.to_frame()["validation_loss"]
        best = network.history.best_epoch
        return {"best_epoch": best, "mse": round(float(losses.min()), 4)}
    model = SentimentGrader(reader).fit(train["text"], train["rating"])
    gaps = model.predict(held_out["text"]) - grades
    return {"mse": round(float(np.mean(gaps**2)), 4)}


def tuned_grader(
    texts: list[str], grades: Numbers, rate: float, n_epochs: int, seed: int
) -> Predict:
    """Tune all weights of MiniLM to grade texts.

    Parameters
    ----------
    texts : list of str
        N texts.
    grades : ndarray of shape (N,)
        Their grades.
    rate : float
        The largest learning rate; a tenth of the updates warm up, then it falls.
    n_epochs : int
        Passes over the texts.
    seed : int
        Fixes the head, dropout and the order of the batches.

    Returns
    -------
    callable
        Maps texts to their grades.
    """
    minilm, length = encoder(), int(TUNING["max_len"])
    torch.manual_seed(seed)
    model = _GradingNetwork(minilm.model.config, grades)
    model.encoder.load_state_dict(minilm.model.state_dict())
    batches = _GradedBatches(minilm.ids(texts), grades, seed, length)
    training = TrainingConfig(n_epochs, rate, schedule="cosine", warmup_share=0.1)
    fit(model, batches, _grading_loss, training)
    return lambda texts: _grades(model, minilm.ids(texts), length)


def _tune(rate: float, n_epochs: int, seed: int) -> dict[str, Any]:
    train = sentences().train
    texts, grades = train["text"].tolist(), train["rating"].to_numpy()
    started = time.process_time()
    predict = tuned_grader(texts, grades, rate, n_epochs, seed)
    return _found(predict, time.process_time() - started)


def _probe() -> dict[str, Any]:
    """Read with MiniLM, left as it is and tuned, so that a test can repeat it."""
    data = sentences()
    some, others = data.train[:N_PROBE], data.test["text"][:N_PROBE].tolist()
    texts, grades = some["text"].tolist(), some["rating"].to_numpy()
    frozen = SentimentGrader("minilm").fit(texts, grades)
    tuned = tuned_grader(texts, grades, TUNING["rate"], 1, 0)
    return {
        "frozen": _rounded(frozen.predict(others)),
        "tuned": _rounded(tuned(others)),
    }


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _stars() -> dict[str, Any]:
    """Learn stars from whole reviews, and score short sentences by log-odds."""
    train = load_fine_food_reviews().train
    started = time.process_time()
    model = SentimentClassifier("words").fit(train["text"], train["label"])

    def log_odds(texts: list[str]) -> Numbers:
        return np.diff(np.log(model.predict_proba(texts)), axis=1)[:, 0]

    return _found(log_odds, time.process_time() - started)


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _lexicon_on_reviews() -> dict[str, Any]:
    data = load_fine_food_reviews()
    train, test = data.train, data.test
    started = time.process_time()
    model = SentimentClassifier("lexicon").fit(train["text"], train["label"])
    trained = time.process_time()
    scores = model.predict_proba(test["text"])[:, 1].round(4)
    spent = time.process_time() - trained
    # The rule of its authors, without a label: praise from 0.05 on.
    plain = brief(test["label"], vader_scores(test["text"].tolist()), 0.05)
    return brief(test["label"], scores) | {
        "accuracy of the authors' rule": plain["accuracy"],
        "cpu_seconds_to_train": round(trained - started, 2),
        "cpu_seconds_per_1000": round(1000 * spent / len(test), 3),
        "scores": scores.tolist(),
    }


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _dashboard(reader: Any) -> dict[str, Any]:
    """Grade the clauses of the products' reviews, in the order they are asked for."""
    train = sentences().train
    model = SentimentGrader(reader).fit(train["text"], train["rating"])
    found = {}
    for product in PRODUCTS:
        kept: list[float] = []

        def score(asked: list[str], kept: list[float] = kept) -> Numbers:
            kept += _rounded(model.predict(asked))
            return np.array(kept)

        texts = reviews_of(product)
        aspect_opinions(texts, score)
        found[product] = {"n_reviews": len(texts), "scores": kept}
    return found


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the raters, the lexicon, the choices, the graders, and the dashboard."""
    yield Run("raters", {"part": "test"}, agreement)
    yield Run("fine_food/lexicon", {"part": "test"}, _lexicon_on_reviews)
    for reader in (*READERS, "transformer"):
        n_epochs = MOST_EPOCHS if reader == "transformer" else 0
        config: dict[str, Any] = {"part": "validation", "n_epochs": n_epochs}
        yield Run(f"search/{reader}", config, partial(_validate, reader, n_epochs))
    yield Run("ratings/plain VADER", {"part": "test"}, _plain_vader)
    yield Run("stars/words", {"part": "test"}, _stars)
    for reader in READERS:
        yield Run(f"ratings/{reader}", {"part": "test"}, partial(_grade, reader, 1, 0))
    n_epochs = finished["search/transformer"]["best_epoch"]
    for seed in SEEDS:
        config = {"part": "test", "n_epochs": n_epochs, "seed": seed}
        work = partial(_grade, "transformer", n_epochs, seed)
        yield Run(f"ratings/transformer/{seed}", config, work)
    best = min(READERS, key=lambda reader: finished[f"search/{reader}"]["mse"])
    config = {"products": PRODUCTS, "reader": best}
    yield Run("dashboard", config, partial(_dashboard, best))
    for seed in SEEDS:
        config = {"part": "test", "seed": seed} | TUNING
        work = partial(_tune, TUNING["rate"], int(TUNING["n_epochs"]), seed)
        yield Run(f"ratings/minilm_tuned/{seed}", config, work)
    yield Run("probe", {"n_sentences": N_PROBE, "rate": TUNING["rate"]}, _probe)


def _digest(texts: Any) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _fingerprints() -> dict[str, str]:
    food, rated = load_fine_food_reviews(), sentences()
    return {
        "fine_food, train": fingerprint(food.train),
        "fine_food, test": fingerprint(food.test),
        "rated, train": fingerprint(rated.train),
        "rated, test": fingerprint(rated.test),
        "probes": _digest(text for pair in PAIRS for text in pair),
        "clauses": _digest(clauses()),
        "minilm": weights_digest(encoder()),
    }


SENTIMENT = Experiment(
    name="sentiment",
    about="a lexicon, human ratings, probes and clauses: what sentiment models miss",
    fingerprints=_fingerprints,
    runs=_plan,
)

"""MiniLM tuned: all weights of a published encoder learn to sort the reviews.

Nothing is searched: the rate is the largest that BERT's paper recommends, and a fifth
of the training reviews only confirms that it learns. Then five seeds learn from all
4,000 labels, and three from a few of them: the same draws as in the experiment
`vectors`, which leaves MiniLM as it is.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from marketllm.batches import LabelledBatches
from marketllm.config import TrainingConfig
from marketllm.datasets import (
    copy_key,
    fingerprint,
    group_folds,
    load_fine_food_reviews,
)
from marketllm.experiments.frozen import encoder, weights_digest
from marketllm.experiments.review_task import brief, cut_validation, measure
from marketllm.experiments.runs import Experiment, Run
from marketllm.losses import classification_loss
from marketllm.models import Classifier
from marketllm.training import fit, predict_probabilities

SEEDS = (0, 1, 2, 3, 4)
RATE = 5e-5  # Devlin et al. (2019), appendix A.3
N_EPOCHS = 2
MAX_LEN = 128
# Labels, and epochs: with fewer labels an epoch has fewer updates.
FEW = {100: 8}
FEW_SEEDS = (0, 1, 2)
N_PROBE = 16


def tuned_minilm(
    texts: Any, labels: Any, rate: float, n_epochs: int, seed: int
) -> Classifier:
    """Tune all weights of MiniLM with a new head.

    Parameters
    ----------
    texts, labels : sequence
        N texts and their classes, 0 or 1.
    rate : float
        The largest learning rate; a tenth of the updates warm up, then it falls.
    n_epochs : int
        Passes over the texts.
    seed : int
        Fixes the head, dropout and the order of the batches.

    Returns
    -------
    Classifier
        In evaluation mode or not, as training left it.
    """
    minilm = encoder()
    torch.manual_seed(seed)
    model = Classifier(minilm.model.config, n_classes=2)
    model.encoder.load_state_dict(minilm.model.state_dict())
    batches = LabelledBatches(
        minilm.ids(list(texts)), list(labels), max_len=MAX_LEN, seed=seed
    )
    training = TrainingConfig(n_epochs, rate, schedule="cosine", warmup_share=0.1)
    fit(model, batches, classification_loss, training)
    return model


def tuned_scores(model: Classifier, texts: Any) -> np.ndarray:
    """Give each text its probability of class 1.

    Parameters
    ----------
    model : Classifier
        From `tuned_minilm`.
    texts : sequence of str
        N texts.

    Returns
    -------
    ndarray of shape (N,)
    """
    ids = encoder().ids(list(texts))
    order = np.argsort([len(row) for row in ids], kind="stable")
    batches = LabelledBatches(
        [ids[row] for row in order], [0] * len(ids), max_len=MAX_LEN
    )
    scores = np.empty(len(ids))
    scores[order] = predict_probabilities(model, batches)[:, 1]
    return scores


def _tune(
    part: str, rate: float, n_epochs: int, n_labels: int, seed: int
) -> dict[str, Any]:
    data = load_fine_food_reviews()
    train, scored = data.train, data.test
    if part == "validation":
        train, scored = cut_validation(data.train)
    elif n_labels < len(train):
        groups = train["text"].map(copy_key)
        n_parts = len(train) // n_labels
        train = train.iloc[group_folds(train["label"], groups, n_parts, seed)[0][1]]
    started = time.process_time()
    model = tuned_minilm(train["text"], train["label"], rate, n_epochs, seed)
    trained = time.process_time()
    scores = tuned_scores(model, scored["text"])
    spent = time.process_time() - trained
    facts = {
        "n_labels": len(train),
        "cpu_seconds_to_train": round(trained - started, 1),
        "cpu_seconds_per_1000": round(1000 * spent / len(scored), 2),
    }
    if part == "validation":
        return facts | brief(scored["label"], scores)
    return facts | measure(scored["label"], scores)


def _probe() -> dict[str, Any]:
    """Tune a little and score a few reviews, so that a test can repeat it."""
    data = load_fine_food_reviews()
    some, others = data.train[:N_PROBE], data.test["text"][:N_PROBE]
    model = tuned_minilm(some["text"], some["label"], RATE, 1, seed=0)
    return {"scores": tuned_scores(model, others).round(4).tolist()}


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the check on held-out reviews, five seeds with all labels, few labels."""

    def run(name: str, part: str, n: int, epochs: int, seed: int) -> Run:
        config = {"part": part, "rate": RATE, "n_epochs": epochs, "n_labels": n}
        config |= {"max_len": MAX_LEN, "seed": seed}
        return Run(name, config, partial(_tune, part, RATE, epochs, n, seed))

    yield run(f"search/rate {RATE}", "validation", 3200, N_EPOCHS, 0)
    for seed in SEEDS:
        yield run(f"4000 labels/{seed}", "test", 4000, N_EPOCHS, seed)
    for n_labels, n_epochs in FEW.items():
        for seed in FEW_SEEDS:
            yield run(f"{n_labels} labels/{seed}", "test", n_labels, n_epochs, seed)
    yield Run("probe", {"n_reviews": N_PROBE, "rate": RATE, "seed": 0}, _probe)


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    found = {"train": fingerprint(data.train), "test": fingerprint(data.test)}
    return found | {"minilm": weights_digest(encoder())}


MINILM = Experiment(
    name="minilm",
    about="all weights of MiniLM tuned on the fine-food reviews, many and few labels",
    fingerprints=_fingerprints,
    runs=_plan,
)

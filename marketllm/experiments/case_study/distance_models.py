"""What learns from the distance dial: tables of events, and networks."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from marketllm.datasets import SimulatedCustomers, distance_dial, simulate_customers
from marketllm.marketing import SequenceClassifier

Numbers = Any
Scores = tuple[Numbers, dict[str, Any]]
N_TRAIN, N_CHOOSE, N_TEST = 4000, 500, 2000
N_TREES, PATIENCE = 300, 30
CANDIDATE_C = (0.01, 0.1, 1.0)


@lru_cache(maxsize=2)
def draw(gap: int, seed: int) -> tuple[SimulatedCustomers, Numbers, Numbers]:
    """Simulate customers, and number the kinds of their events from 1.

    Parameters
    ----------
    gap : int
        The distance that counts.
    seed : int
        Fixes the draw.

    Returns
    -------
    tuple
        The customers, and their events, shape (N, T), to train and to test.
    """
    found = simulate_customers(distance_dial(gap, N_TRAIN + N_CHOOSE, N_TEST), seed)
    events = numbered(found)
    return found, events[: N_TRAIN + N_CHOOSE], events[N_TRAIN + N_CHOOSE :]


def numbered(customers: SimulatedCustomers) -> Numbers:
    """Give each kind of event a number from 1, in the order of the alphabet.

    Parameters
    ----------
    customers : SimulatedCustomers
        Customers, N in both parts.

    Returns
    -------
    ndarray of shape (N, T)
    """
    ranks = _kinds(customers).rank(method="dense").to_numpy().astype(int)
    return ranks.reshape(-1, customers.config.n_events)


def _kinds(customers: SimulatedCustomers) -> pd.Series:
    if customers.data.events is None:
        raise ValueError(f"{customers.data!r} has no events: keep them.")
    return customers.data.events["kind"]


def _counts(events: Numbers) -> Numbers:
    """Count each kind: nothing is known of order."""
    return (events[:, :, None] == np.arange(1, events.max() + 1)).sum(axis=1)


def _places(events: Numbers) -> Numbers:
    """Give a column to each kind on each place."""
    table = events[:, :, None] == np.arange(1, events.max() + 1)
    return table.reshape(len(events), -1).astype(float)


def _distances(events: Numbers) -> Numbers:
    """Count the visits at each distance from an offer, as one would who suspects it."""
    n_events = events.shape[1]
    offer, visit = (events == number for number in _pair_numbers())
    columns = [
        (offer[:, : n_events - d] & visit[:, d:]).sum(axis=1)
        for d in range(1, n_events)
    ]
    return np.stack(columns, axis=1)


@cache
def _pair_numbers() -> tuple[int, int]:
    """Give the numbers of "offer" and "visit" among the sorted kinds."""
    kinds = sorted(set(_kinds(simulate_customers(distance_dial(1, 9, 9)))))
    return kinds.index("offer") + 1, kinds.index("visit") + 1


def _majority(train: Numbers, labels: Numbers, test: Numbers) -> Scores:
    return np.full(len(test), float(np.mean(labels))), {}


def _lightgbm(
    columns: Callable[[Numbers], Numbers],
    train: Numbers,
    labels: Numbers,
    test: Numbers,
) -> Scores:
    """Boost trees; the customers set aside say when to stop."""
    import lightgbm

    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_threads": 1,
        "seed": 0,
        "verbosity": -1,
    }
    table = columns(train)
    model = lightgbm.train(
        settings,
        lightgbm.Dataset(table[:N_TRAIN], labels[:N_TRAIN]),
        N_TREES,
        valid_sets=[lightgbm.Dataset(table[N_TRAIN:], labels[N_TRAIN:])],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    return model.predict(columns(test)), {"n_trees": int(model.best_iteration)}


def _neighbours(train: Numbers, labels: Numbers, test: Numbers) -> Scores:
    """Weigh single events and pairs of neighbours by a logistic regression."""
    words = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2))
    table = words.fit_transform([" ".join(map(str, row)) for row in train])
    models, losses = [], []
    for c in CANDIDATE_C:
        model = LogisticRegression(C=c, max_iter=1000)
        models.append(model.fit(table[:N_TRAIN], labels[:N_TRAIN]))
        chosen = np.asarray(model.predict_proba(table[N_TRAIN:]))
        own = chosen[np.arange(N_CHOOSE), labels[N_TRAIN:]]
        losses.append(float(-np.log(own).mean()))
    best = int(np.argmin(losses))
    scored = words.transform([" ".join(map(str, row)) for row in test])
    chances = np.asarray(models[best].predict_proba(scored))
    return chances[:, 1], {"c": CANDIDATE_C[best]}


TABLES: dict[str, Callable[..., Scores]] = {
    "majority": _majority,
    "lightgbm, counts": partial(_lightgbm, _counts),
    "lightgbm, places": partial(_lightgbm, _places),
    "lightgbm, distances": partial(_lightgbm, _distances),
    "logistic regression, neighbours": _neighbours,
}


def network(
    settings: Mapping[str, Any], train: Numbers, labels: Numbers, test: Numbers
) -> Scores:
    """Train a network; the epoch with the lowest loss on those set aside is kept.

    Parameters
    ----------
    settings : mapping
        Parameters of `SequenceClassifier`.
    train, labels, test : ndarray
        Events to train and to choose with, shape (N, T), their labels, and events
        to score.

    Returns
    -------
    tuple
        The scores, and the facts of the run.
    """
    vocab_size, length = int(train.max()) + 1, train.shape[1]
    model = SequenceClassifier(vocab_size, length, **settings)
    rows = train.tolist()
    model.fit(rows[:N_TRAIN], labels[:N_TRAIN], (rows[N_TRAIN:], labels[N_TRAIN:]))
    facts = {
        "n_weights": sum(weight.numel() for weight in model.model_.parameters()),
        "best_epoch": model.history_.best_epoch,
    }
    return model.predict_proba(test.tolist())[:, 1], facts

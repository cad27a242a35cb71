"""Simulated customers with everything: their parts apart, mixed, and in one model."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from marketllm.baselines import (
    table_lightgbm,
    table_logistic_regression,
    tfidf_logistic_regression,
)
from marketllm.datasets import (
    Dataset,
    SimulatedCustomers,
    SimulationConfig,
    distance_dial,
    group_folds,
    simulate_customers,
)
from marketllm.evaluation import auc
from marketllm.experiments.case_study.small_texts import ranks
from marketllm.experiments.review_task import Settings, brief
from marketllm.marketing import HistoryTokenizer, PurchaseIntent, SequenceClassifier

NETWORK: Settings = {
    "d_model": 32,
    "n_heads": 2,
    "n_layers": 1,
    "dropout": 0.0,
    "positions": "rotary",
    "embedding_std": 0.3,
    "learning_rate": 6e-3,
    "batch_size": 64,
    "n_epochs": 12,
}
SIZES: Settings = {"n_train": 5000, "n_test": 2000}
SHORT: Settings = {"n_events": 16, "event_signal": 5.0}  # fewer events, clearer
GAP = 4
N_FOLDS = 3
ATTRIBUTES = {"logistic": table_logistic_regression, "trees": table_lightgbm}
WAYS = ("text", "attributes", "events", "mean", "sum", "stack", "one model", "ceiling")
Scores = NDArray[np.float64]


@cache
def customers(seed: int) -> SimulatedCustomers:
    """Simulate customers with all parts on.

    Parameters
    ----------
    seed : int
        Fixes everything.

    Returns
    -------
    SimulatedCustomers
    """
    return simulate_customers(SimulationConfig(gap=GAP, **SIZES, **SHORT), seed)


@cache
def pairs() -> SimulatedCustomers:
    """Simulate customers whose label hangs on one distance and nothing else.

    Returns
    -------
    SimulatedCustomers
    """
    return simulate_customers(distance_dial(GAP, **SIZES), seed=0)


def heads_on_customers(n_heads: int, seed: int) -> dict[str, Any]:
    """Train one network on the pairs, with so many heads at the same width.

    Parameters
    ----------
    n_heads : int
        Heads; they share the width.
    seed : int
        Of the network. The customers stay the same.

    Returns
    -------
    dict
        Accuracy and AUC on the test customers, and the ranks of the scores.
    """
    data = pairs().data
    tokenizer = _tokens().fit(data.train[["customer"]], data.events)
    ours, theirs = (
        tokenizer.transform(part[["customer"]], data.events)
        for part in (data.train, data.test)
    )
    settings = NETWORK | {"n_heads": n_heads, "seed": seed}
    model = SequenceClassifier(len(tokenizer), tokenizer.max_len_, **settings)
    model.fit(ours, data.train["label"])
    found = brief(data.test["label"], model.predict_proba(theirs)[:, 1])
    return (
        found
        | {"seconds": round(model.seconds_, 1)}
        | ranks(model.model_, torch.tensor(theirs[:1]))
    )


def mix(seed: int) -> dict[str, Any]:
    """Score the test customers by each part, by mixtures, and by one model.

    Parameters
    ----------
    seed : int
        Of the customers and of the networks.

    Returns
    -------
    dict
        ``ceiling``; for each way accuracy and AUC; which model reads the attributes;
        the weights of the stack.
    """
    simulated = customers(seed)
    data = simulated.data
    labels, truth = data.train["label"].to_numpy(), data.test["label"].to_numpy()
    folds = group_folds(labels, simulated.originals["train"], N_FOLDS, seed)
    unseen, unseen_by = _out_of_fold(data, folds, seed)
    best = max(ATTRIBUTES, key=lambda name: auc(labels, unseen[name]))
    chosen = {"text": "text", "attributes": best, "events": "events"}
    everyone = np.arange(len(labels))
    odds = {
        name: _log_odds(way, data, everyone, data.test, seed)
        for name, way in chosen.items()
    }
    columns = np.stack(list(odds.values()), axis=1)
    prior = logit(labels.mean())
    stack = LogisticRegression(C=1.0).fit(
        np.stack([unseen[way] for way in chosen.values()], axis=1), labels
    )
    ways = odds | {
        "mean": columns.mean(axis=1),
        "sum": (columns - prior).sum(axis=1) + prior,
        "stack": stack.decision_function(columns),
        "one model": _log_odds("everything", data, everyone, data.test, seed),
    }
    ceiling = simulated.ceiling("test")
    found: dict[str, Any] = {
        "ceiling": {"accuracy": ceiling.realised_accuracy, "auc": ceiling.realised_auc},
        "rule": brief(truth, simulated.rule("test")),
        "attributes by": best,
        "folds": unseen_by,
        "stack weights": stack.coef_[0].round(3).tolist(),
    }
    for name, scores in ways.items():
        found[name] = brief(truth, expit(scores))
    return found


def _out_of_fold(
    data: Dataset, folds: Any, seed: int
) -> tuple[dict[str, Scores], dict[str, float]]:
    """Give each training customer log-odds from models that have not seen him."""
    labels = data.train["label"].to_numpy()
    unseen = {way: np.empty(len(labels)) for way in ("text", *ATTRIBUTES, "events")}
    for kept, held_out in folds:
        for way, column in unseen.items():
            others = data.train.iloc[held_out]
            column[held_out] = _log_odds(way, data, kept, others, seed)
    return unseen, {way: round(auc(labels, s), 4) for way, s in unseen.items()}


def _log_odds(
    way: str, data: Dataset, rows: NDArray[Any], scored: pd.DataFrame, seed: int
) -> Scores:
    """Learn from some training rows, and score others."""
    train = data.train.iloc[rows]
    labels = train["label"]
    if way == "everything":
        model = PurchaseIntent(tokenizer=_tokens(), seed=seed, **NETWORK)
        model.fit(train, labels, data.events)
        chances = model.predict_proba(scored, data.events)
    elif way == "events":
        model = PurchaseIntent(tokenizer=_tokens(), seed=seed, **NETWORK)
        model.fit(train[["customer"]], labels, data.events)
        chances = model.predict_proba(scored[["customer"]], data.events)
    else:
        with threadpool_limits(1):
            if way == "text":
                words = tfidf_logistic_regression().fit(train["text"], labels)
                chances = words.predict_proba(scored["text"])
            else:
                table = ATTRIBUTES[way]().fit(train, labels)
                chances = table.predict_proba(scored)
    return logit(np.clip(chances[:, 1].astype(float), 1e-4, 1 - 1e-4))


def _tokens() -> HistoryTokenizer:
    return HistoryTokenizer(gaps=False)

"""Faults put into simulated customers: copies of rows, and wrong labels."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import cross_val_predict

from marketllm.baselines import table_lightgbm, table_logistic_regression
from marketllm.datasets import SimulationConfig, simulate_customers
from marketllm.evaluation import accuracy, auc, brier
from marketllm.marketing import HistoryTokenizer, SequenceClassifier

Numbers = Any
Draw = dict[str, float]

SIMULATED: dict[str, Any] = {"n_train": 4000, "n_test": 4000, "attribute_signal": 2.0}
COPIES = ("none", "even", "buyers", "outdated")
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4)
SUSPECT = 0.2  # labels less likely than this, by models that did not see them


@cache
def _customers(seed: int) -> tuple[pd.DataFrame, Numbers, pd.DataFrame, Numbers, float]:
    """Draw customers whose attributes alone tell, with the best AUC there can be."""
    config = SimulationConfig(
        **SIMULATED, event_signal=0.0, text_signal=0.0, treatment_effect=0.0
    )
    drawn = simulate_customers(config, seed)
    unused = ["customer", "label", "text", "treated"]
    train, test = drawn.data.train, drawn.data.test
    return (
        train.drop(columns=unused),
        train["label"].to_numpy(),
        test.drop(columns=unused),
        test["label"].to_numpy(),
        drawn.ceiling().realised_auc,
    )


def _network(
    train: pd.DataFrame, labels: Numbers, test: pd.DataFrame, seed: int
) -> Numbers:
    words = HistoryTokenizer().fit(train)
    model = SequenceClassifier(len(words), max_len=16, n_epochs=6, seed=seed)
    model.fit(words.transform(train), labels.tolist())
    return model.predict_proba(words.transform(test))[:, 1]


def _scores(
    train: pd.DataFrame, labels: Numbers, test: pd.DataFrame, seed: int
) -> dict[str, Numbers]:
    """Train each model, and give its probabilities for the test rows."""
    found = {}
    for name, model in (
        ("logistic", table_logistic_regression()),
        ("lightgbm", table_lightgbm(seed)),
    ):
        found[name] = model.fit(train, labels).predict_proba(test)[:, 1]
    return found | {"transformer": _network(train, labels, test, seed)}


def _judge(labels: Numbers, scores: Numbers) -> Draw:
    chosen = (scores >= 0.5).astype(int)
    found = {"accuracy": accuracy(labels, chosen), "auc": auc(labels, scores)}
    return found | {"brier": brier(labels, scores)}


def _judge_all(found: dict[str, Numbers], fault: str, labels: Numbers) -> Draw:
    """Name each metric of each model after the fault."""
    return {
        f"{model}/{fault}/{metric}": value
        for model, scores in found.items()
        for metric, value in _judge(labels, scores).items()
    }


def _with_copies(fault: str, labels: Numbers, seed: int) -> tuple[Numbers, Numbers]:
    """Give the rows to train on and their labels, copies last.

    ``even``: half of the rows a second time. ``buyers``: each buyer three times, as
    after a join with a table of orders. ``outdated``: each buyer a second time as
    he stood before he bought, with label 0.
    """
    rows = np.arange(len(labels))
    buyers = np.flatnonzero(labels == 1)
    extra = {
        "none": rows[:0],
        "even": np.random.default_rng(seed).permutation(rows)[: len(rows) // 2],
        "buyers": np.concatenate([buyers, buyers]),
        "outdated": buyers,
    }[fault]
    copied = np.zeros(len(extra), int) if fault == "outdated" else labels[extra]
    return np.concatenate([rows, extra]), np.concatenate([labels, copied])


def copies(seed: int) -> Draw:
    """Train with copies of each kind; test on customers without any.

    Parameters
    ----------
    seed : int
        Draws the customers, the copies and the first weights.

    Returns
    -------
    dict
        ``model/copies/metric``, and the AUC of the ceiling.
    """
    train, labels, test, true, best = _customers(seed)
    draw = {"ceiling/auc": best}
    for fault in COPIES:
        rows, given = _with_copies(fault, labels, seed)
        found = _scores(train.take(rows), given, test, seed)
        draw |= _judge_all(found, fault, true)
    return draw


def flip(labels: Numbers, share: float, seed: int) -> Numbers:
    """Turn labels round.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        Classes, 0 or 1.
    share : float
        How many are turned, on average.
    seed : int
        Fixes which.

    Returns
    -------
    ndarray of shape (N,)
    """
    turned = np.random.default_rng(1000 + seed).random(len(labels)) < share
    return np.where(turned, 1 - labels, labels)


def trusted(train: pd.DataFrame, labels: Numbers) -> Numbers:
    """Find the rows whose label is not suspect to models trained on the others.

    Parameters
    ----------
    train : DataFrame
        Attributes, N rows.
    labels : ndarray of shape (N,)
        Classes, 0 or 1, of which some may be wrong.

    Returns
    -------
    ndarray
        Numbers of the rows that stay.
    """
    odds = cross_val_predict(
        table_logistic_regression(), train, labels, cv=5, method="predict_proba"
    )
    return np.flatnonzero(odds[np.arange(len(labels)), labels] >= SUSPECT)


def noise(seed: int) -> Draw:
    """Flip training labels; test on labels that are right, and on noisy ones.

    Parameters
    ----------
    seed : int
        Draws the customers, the flips and the first weights.

    Returns
    -------
    dict
        ``model/share/metric``, and the AUC of the ceiling.
    """
    train, labels, test, true, best = _customers(seed)
    draw = {"ceiling/auc": best}
    for share in NOISE:
        given, told = flip(labels, share, seed), flip(true, share, seed + 500)
        found = _scores(train, given, test, seed)
        for model, scores in found.items():
            draw[f"{model}/{share}/auc on noisy labels"] = auc(told, scores)
        rows = trusted(train, given)
        model = table_logistic_regression().fit(train.iloc[rows], given[rows])
        found["suspects dropped"] = model.predict_proba(test)[:, 1]
        draw |= _judge_all(found, str(share), true)
        draw[f"suspects/{share}/rows"] = float(len(given) - len(rows))
        wrong = given != labels
        if share:
            draw[f"suspects/{share}/found"] = 1 - float(wrong[rows].sum() / wrong.sum())
    return draw

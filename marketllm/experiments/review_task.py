"""The task that several experiments share: to sort the fine-food reviews."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from marketllm.batches import LabelledBatches
from marketllm.config import TrainingConfig
from marketllm.datasets import copy_key, group_folds
from marketllm.evaluation import accuracy, auc, average_precision, bootstrap_interval
from marketllm.tokenizer import WordTokenizer
from marketllm.training import fit, predict_probabilities

Settings = dict[str, Any]
Build = Callable[[Settings, WordTokenizer], tuple[nn.Module, Callable[..., Tensor]]]


def cut_validation(
    train: pd.DataFrame, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut a fifth of the training reviews off, to choose settings with.

    Copies of a text stay on one side.

    Parameters
    ----------
    train : DataFrame
        The training part, N rows.
    seed : int
        Fixes the cut.

    Returns
    -------
    tuple of DataFrame
        The rows to train on and the rows to validate with.

    Raises
    ------
    ValueError
        If a product has several reviews: they would have to be kept together too.
    """
    n_more = int(train["product"].duplicated().sum())
    if n_more:
        raise ValueError(
            f"{n_more} of {len(train)} reviews are not the first of their product: "
            "this cut keeps only texts together, so cut by product instead."
        )
    groups = train["text"].map(copy_key)
    kept, held_out = group_folds(train["label"], groups, 5, seed)[0]
    return (
        train.iloc[kept].reset_index(drop=True),
        train.iloc[held_out].reset_index(drop=True),
    )


def train_and_score(
    build: Build,
    settings: Settings,
    seed: int,
    train: pd.DataFrame,
    scored: pd.DataFrame,
    validate: bool,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Train from random weights, score other reviews, and tell how it went.

    Parameters
    ----------
    build : callable
        Makes the untrained model and its loss from settings and tokenizer.
    settings : dict
        ``vocab_size``, ``max_len`` and the fields of `TrainingConfig`, beside what
        ``build`` needs.
    seed : int
        Fixes the first weights, dropout and the order of the batches.
    train, scored : DataFrame
        Reviews to train on and to score.
    validate : bool
        Whether the scored reviews are a validation part that chooses the epoch.

    Returns
    -------
    tuple
        The scores, shape (N,), and the facts of the run.
    """
    tokenizer = WordTokenizer.train(train["text"], settings["vocab_size"])
    length = settings["max_len"]
    torch.manual_seed(seed)
    model, loss = build(settings, tokenizer)
    ours, theirs = (
        (part["text"].map(tokenizer.encode).tolist(), part["label"].tolist())
        for part in (train, scored)
    )
    batches = LabelledBatches(*ours, max_len=length, seed=seed)
    others = LabelledBatches(*theirs, max_len=length)
    names = TrainingConfig.__dataclass_fields__
    training = TrainingConfig(**{k: settings[k] for k in names if k in settings})
    history = fit(model, batches, loss, training, others if validate else None)
    scores = predict_probabilities(model, others)[:, 1]
    facts: dict[str, Any] = {
        "n_weights": sum(weight.numel() for weight in model.parameters())
    }
    for name, column in history.to_frame().drop(columns="seconds").items():
        facts[str(name)] = column.round(4).tolist()
    if validate:
        facts["best_epoch"] = history.best_epoch
    return scores, facts


def measure(
    labels: Any, scores: Any, digits: int = 4, threshold: float = 0.5
) -> dict[str, Any]:
    """Round scores, and measure these: estimate, low end, high end.

    Parameters
    ----------
    labels : array-like of shape (N,)
        The true classes, 0 or 1.
    scores : array-like of shape (N,)
        Higher for class 1.
    digits : int
        Digits kept behind the point.
    threshold : float
        The least score that chooses class 1.

    Returns
    -------
    dict
        Accuracy, AUC and average precision with their intervals, and the scores.
    """
    rounded = np.round(np.asarray(scores, dtype=float), digits)
    found: dict[str, Any] = {}
    for metric, values in (
        (accuracy, (rounded >= threshold).astype(int)),
        (auc, rounded),
        (average_precision, rounded),
    ):
        interval = bootstrap_interval(metric, labels, values)
        ends = (interval.estimate, interval.low, interval.high)
        found[metric.__name__] = [round(number, 4) for number in ends]
    return found | {"scores": rounded.tolist()}


def brief(labels: Any, scores: Any, threshold: float = 0.5) -> dict[str, float]:
    """Measure without intervals, to choose settings by.

    Parameters
    ----------
    labels : array-like of shape (N,)
        The true classes, 0 or 1.
    scores : array-like of shape (N,)
        Higher for class 1.
    threshold : float
        The least score that chooses class 1.

    Returns
    -------
    dict
        Accuracy and AUC.
    """
    chosen = (np.asarray(scores) >= threshold).astype(int)
    found = {"accuracy": accuracy(labels, chosen), "auc": auc(labels, scores)}
    return {name: round(value, 4) for name, value in found.items()}

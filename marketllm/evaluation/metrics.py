"""Metrics that check what they are given.

A metric that takes anything answers anything: arrays of shapes ``(N,)`` and
``(N, N)`` compare without complaint in NumPy and give an accuracy of 740%. So each
function here refuses what it cannot judge.

`average_precision` is a thin wrapper of scikit-learn. The others are a few lines of
NumPy: equal to scikit-learn's, and quick enough to be called thousands of times.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

Column = Collection[Any]  # a list, an array, a Series or a tensor of numbers


class OneClassError(ValueError):
    """The metric compares two classes, but the labels hold only one."""


def accuracy(labels: Column, predictions: Column) -> float:
    """Share of the rows whose predicted class is the true one.

    Parameters
    ----------
    labels, predictions : array-like of shape (N,)
        Classes, 0 or 1.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If shapes or lengths are wrong, or a value is neither 0 nor 1.
    """
    truth, chosen = _columns(labels=labels, predictions=predictions)
    _only_classes(labels=truth, predictions=chosen)
    return float(np.mean(truth == chosen))


def auc(labels: Column, scores: Column) -> float:
    r"""Chance that a row of class 1 scores higher than a row of class 0.

    The area under the ROC curve, counted over all pairs of a row of class 1 with a
    row of class 0; a tie counts one half:

    .. math:: (n_{right} + n_{tied} / 2) / (n_0 n_1)

    Parameters
    ----------
    labels, scores : array-like of shape (N,)
        Classes, 0 or 1; and scores, higher where class 1 is more likely.

    Returns
    -------
    float
        Between 0 and 1; 0.5 is chance.

    Raises
    ------
    ValueError
        If shapes, lengths or labels are wrong, or only one class is there.

    References
    ----------
    Hanley and McNeil (1982), The meaning and use of the area under a receiver
    operating characteristic (ROC) curve, Radiology 143.
    """
    truth, values = _columns(labels=labels, scores=scores)
    n_zeros, n_ones = _both_classes(truth)
    zeros, ones = np.sort(values[truth == 0]), values[truth == 1]
    n_below = np.searchsorted(zeros, ones, side="left").sum()
    n_not_above = np.searchsorted(zeros, ones, side="right").sum()
    return float((n_below + n_not_above) / 2 / (n_zeros * n_ones))


def average_precision(labels: Column, scores: Column) -> float:
    """Mean precision over the ranks at which class 1 is found (scikit-learn's).

    Parameters
    ----------
    labels, scores : array-like of shape (N,)
        Classes, 0 or 1; and scores, higher where class 1 is more likely.

    Returns
    -------
    float
        Between 0 and 1; chance is the share of class 1.

    Raises
    ------
    ValueError
        If shapes, lengths or labels are wrong, or only one class is there.
    """
    truth, values = _columns(labels=labels, scores=scores)
    _both_classes(truth)
    return float(average_precision_score(truth, values))


def brier(labels: Column, probabilities: Column) -> float:
    """Mean squared distance of the probabilities from what happened.

    A proper score: on average it is least for who says what he believes.

    Parameters
    ----------
    labels, probabilities : array-like of shape (N,)
        Classes, 0 or 1; and probabilities of class 1, 0 to 1.

    Returns
    -------
    float
        Between 0 and 1, less is better. Who always says the share of class 1, p, has
        p (1 - p).

    Raises
    ------
    ValueError
        If shapes, lengths or labels are wrong, or a probability is outside 0 to 1.

    References
    ----------
    Brier (1950), Verification of forecasts expressed in terms of probability, Monthly
    Weather Review 78.
    """
    truth, values = _columns(labels=labels, probabilities=probabilities)
    _only_classes(labels=truth)
    _only_probabilities(probabilities=values)
    return float(np.mean((values - truth) ** 2))


def _columns(**arrays: Column) -> list[NDArray[np.float64]]:
    """Turn the arguments into arrays of numbers of the same length N."""
    columns: list[np.ndarray] = []
    for name, values in arrays.items():
        try:
            column = np.asarray(values, dtype=float)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} must be numbers in one row: {error}.") from error
        if column.ndim != 1:
            raise ValueError(
                f"{name} has shape {column.shape}, expected one axis, (N,). Pass one "
                "number a row: use argmax over the classes, or ravel()."
            )
        n_bad = int(np.sum(~np.isfinite(column)))
        if n_bad:
            raise ValueError(
                f"{name} has {n_bad} of {len(column)} values that are NaN or infinite, "
                "expected 0. Find out why; do not just drop them."
            )
        columns.append(column)
    lengths = {name: len(column) for name, column in zip(arrays, columns, strict=True)}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"Different lengths: {lengths}. Pass one value for each row.")
    if len(columns[0]) == 0:
        raise ValueError(f"No rows: {lengths}, expected 1 or more. Check the filter.")
    return columns


def _only_classes(**columns: np.ndarray) -> None:
    """Refuse any value but 0 and 1."""
    for name, column in columns.items():
        outside = column[(column != 0) & (column != 1)]
        if len(outside):
            raise ValueError(
                f"{name} has {len(outside)} of {len(column)} values outside 0 and 1, "
                f"the first is {outside[0]:g}. Turn scores into classes first, for "
                "instance scores >= 0.5."
            )


def _only_probabilities(**columns: np.ndarray) -> None:
    """Refuse any value below 0 or above 1."""
    for name, column in columns.items():
        outside = column[(column < 0) | (column > 1)]
        if len(outside):
            raise ValueError(
                f"{name} has {len(outside)} of {len(column)} values outside 0 to 1, "
                f"the first is {outside[0]:g}. Turn scores into probabilities first."
            )


def _both_classes(labels: np.ndarray) -> tuple[int, int]:
    """Count the rows of class 0 and of class 1, and refuse if either is missing."""
    _only_classes(labels=labels)
    n_ones = int(labels.sum())
    n_zeros = len(labels) - n_ones
    if min(n_zeros, n_ones) == 0:
        raise OneClassError(
            f"labels hold {n_zeros} of class 0 and {n_ones} of class 1, expected at "
            "least 1 of each. Add rows of the other class, or report the accuracy."
        )
    return n_zeros, n_ones

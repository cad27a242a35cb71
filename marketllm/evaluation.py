"""Metrics that check what they are given, with intervals and paired tests.

A metric that takes anything answers anything: arrays of shapes ``(N,)`` and
``(N, N)`` compare without complaint in NumPy and give an accuracy of 740%. So each
function here refuses what it cannot judge.

`average_precision` is a thin wrapper of scikit-learn, and `mcnemar` of SciPy's exact
binomial test. `accuracy` and `auc` are one line of NumPy and three of SciPy's ranks:
equal to scikit-learn's, and quick enough to be called thousands of times. The
bootstrap is ours.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata
from sklearn.metrics import average_precision_score

Column = Collection[Any]  # a list, an array, a Series or a tensor of numbers
Metric = Callable[[Column, Column], float]


class OneClassError(ValueError):
    """The metric compares two classes, but the labels hold only one."""


@dataclass(frozen=True)
class Interval:
    """A metric on the data (`estimate`) and the two ends of its interval."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    def __str__(self) -> str:
        """Show three decimals: ``0.813 (95% interval 0.788 to 0.836)``."""
        level = f"{100 * self.confidence:g}% interval"
        return f"{self.estimate:.3f} ({level} {self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class TestResult:
    """A two-sided p, and the rows that only one of two classifiers has right."""

    p_value: float
    n_first_only: int
    n_second_only: int

    def __str__(self) -> str:
        """Show both counts and p."""
        return (
            f"only the first right: {self.n_first_only}, only the second right: "
            f"{self.n_second_only}, p = {self.p_value:.4f}"
        )


@dataclass(frozen=True)
class PairedDifference:
    """The first metric minus the second on the same rows, and a two-sided p."""

    difference: Interval
    p_value: float

    def __str__(self) -> str:
        """Show the difference, its interval and p."""
        return f"difference {self.difference}, p = {self.p_value:.4f}"


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

    The area under the ROC curve, from the sum :math:`R_1` of the ranks of class 1;
    a tie counts one half:

    .. math:: (R_1 - n_1 (n_1 + 1) / 2) / (n_0 n_1)

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
    rank_sum = rankdata(values)[truth == 1].sum()
    return float((rank_sum - n_ones * (n_ones + 1) / 2) / (n_zeros * n_ones))


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


def bootstrap_interval(
    metric: Metric,
    labels: Column,
    scores: Column,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of a metric by the percentile bootstrap.

    Rows are drawn with replacement, a label always with its score. Where the metric
    needs both classes and a resample has only one, it is drawn again.

    Parameters
    ----------
    metric : callable
        A function of (labels, scores), such as `accuracy` or `auc`.
    labels, scores : array-like of shape (N,)
        What the metric takes.
    n_resamples, seed : int
        How many resamples are drawn, and what fixes them.
    confidence : float
        Above 0 and below 1.

    Returns
    -------
    Interval
        The metric on the data, and the percentiles of the resamples.

    Raises
    ------
    ValueError
        If the metric refuses the data, or a setting is out of range.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    truth, values = _columns(labels=labels, scores=scores)

    def once(rows: np.ndarray) -> float:
        return metric(truth[rows], values[rows])

    return _resampled(once, len(truth), n_resamples, confidence, seed)[0]


def paired_bootstrap(
    metric: Metric,
    labels: Column,
    first: Column,
    second: Column,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models on the same rows by the percentile bootstrap.

    Each resample takes the same rows for both models. The p-value is twice the share
    of resamples on the far side of zero, at most 1; one is added above and below so
    that it is never 0. What training itself varies is not in it.

    Parameters
    ----------
    metric : callable
        A function of (labels, scores), such as `accuracy` or `auc`.
    labels, first, second : array-like of shape (N,)
        Classes, 0 or 1; and what the two models give for the same rows.
    n_resamples, seed : int
        How many resamples are drawn, and what fixes them.
    confidence : float
        Above 0 and below 1.

    Returns
    -------
    PairedDifference
        Metric of the first minus metric of the second, its interval and p.

    Raises
    ------
    ValueError
        If the metric refuses the data, or a setting is out of range.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13 and
    section 15.4 (from intervals to tests).
    """
    truth, ours, theirs = _columns(labels=labels, first=first, second=second)

    def once(rows: np.ndarray) -> float:
        return metric(truth[rows], ours[rows]) - metric(truth[rows], theirs[rows])

    difference, draws = _resampled(once, len(truth), n_resamples, confidence, seed)
    fewer = min(np.sum(draws <= 0), np.sum(draws >= 0))
    p_value = min(1.0, 2 * (float(fewer) + 1) / (n_resamples + 1))
    return PairedDifference(difference, p_value)


def mcnemar(labels: Column, first: Column, second: Column) -> TestResult:
    """Test whether two classifiers err equally often on the same rows.

    Only rows that one has right and the other wrong tell them apart. If both are
    equally good, such a row is a fair coin: the exact binomial test.

    Parameters
    ----------
    labels, first, second : array-like of shape (N,)
        The truth and both predictions, 0 or 1.

    Returns
    -------
    TestResult
        Both counts and the two-sided p-value; p is 1 where they never differ.

    Raises
    ------
    ValueError
        If shapes or lengths are wrong, or a value is neither 0 nor 1.

    References
    ----------
    McNemar (1947), Psychometrika 12. Dietterich (1998), Neural Computation 10, finds
    its error rate sound where a model is trained only once.
    """
    truth, ours, theirs = _columns(labels=labels, first=first, second=second)
    _only_classes(labels=truth, first=ours, second=theirs)
    n_first = int(np.sum((ours == truth) & (theirs != truth)))
    n_second = int(np.sum((ours != truth) & (theirs == truth)))
    n_differ = n_first + n_second
    p_value = float(binomtest(n_first, n_differ).pvalue) if n_differ else 1.0
    return TestResult(p_value, n_first, n_second)


def _resampled(
    statistic: Callable[[np.ndarray], float],
    n_rows: int,
    n_resamples: int,
    confidence: float,
    seed: int,
) -> tuple[Interval, NDArray[np.float64]]:
    """Draw rows again and again: the interval, and the statistic of each draw."""
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}, expected 1 or more: try 2000.")
    if not 0 < confidence < 1:
        raise ValueError(
            f"confidence is {confidence}, expected above 0 and below 1. Write 0.95 "
            "for 95%."
        )
    estimate = float(statistic(np.arange(n_rows)))
    generator = np.random.default_rng(seed)
    draws = np.empty(n_resamples)
    n_done = 0
    while n_done < n_resamples:
        rows = generator.integers(n_rows, size=n_rows)
        try:
            draws[n_done] = statistic(rows)
        except OneClassError:
            continue
        n_done += 1
    if not (np.isfinite(estimate) and np.isfinite(draws).all()):
        n_bad = int(np.sum(~np.isfinite(draws)))
        raise ValueError(
            f"The metric was not a number in {n_bad} of {n_resamples} resamples. Use a "
            "metric of this module: it says when a resample cannot be judged."
        )
    ends = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(ends[0]), float(ends[1]), confidence), draws


def _columns(**arrays: Column) -> list[NDArray[np.float64]]:
    """Turn the arguments into arrays of numbers of the same length N."""
    columns: list[np.ndarray] = []
    for name, values in arrays.items():
        try:
            column = np.asarray(values, dtype=float)
        except (TypeError, ValueError) as error:
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

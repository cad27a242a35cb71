"""How far a result can be trusted: bootstrap intervals and paired tests.

`mcnemar` is a thin wrapper of SciPy's exact binomial test. The bootstrap is ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from marketllm.evaluation.metrics import Column, OneClassError, _columns, _only_classes

Metric = Callable[[Column, Column], float]


@dataclass(frozen=True)
class Interval:
    """A metric on the data, and the two ends of its interval.

    Attributes
    ----------
    estimate : float
        The metric on the data itself.
    low, high : float
        The ends of the interval.
    confidence : float
        How often such an interval holds the true value, in the long run.
    """

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
    """A paired test of two classifiers.

    Attributes
    ----------
    p_value : float
        Two-sided.
    n_first_only, n_second_only : int
        Rows that only the first, or only the second, has right.
    """

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
    """The difference between two models on the same rows.

    Attributes
    ----------
    difference : Interval
        The first metric minus the second.
    p_value : float
        Two-sided.
    """

    difference: Interval
    p_value: float

    def __str__(self) -> str:
        """Show the difference, its interval and p."""
        return f"difference {self.difference}, p = {self.p_value:.4f}"


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
    n_resamples : int
        How many resamples are drawn.
    confidence : float
        Above 0 and below 1.
    seed : int
        Fixes the resamples.

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
    n_resamples : int
        How many resamples are drawn.
    confidence : float
        Above 0 and below 1.
    seed : int
        Fixes the resamples.

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

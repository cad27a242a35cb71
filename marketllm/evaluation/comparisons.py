"""Paired comparisons of two models on the same rows, and many comparisons at once.

`mcnemar` is a thin wrapper of SciPy's exact binomial test. The rest is ours.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from marketllm.evaluation.intervals import Interval, Metric, _draws, _percentiles
from marketllm.evaluation.metrics import Column, _columns, _only_classes


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
    that it is never 0. What training itself varies is not in it: see `compare_runs`.

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

    estimate, draws = _draws(once, len(truth), n_resamples, confidence, seed)
    difference = _percentiles(estimate, draws, confidence)
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
    p_value = float(stats.binomtest(n_first, n_differ).pvalue) if n_differ else 1.0
    return TestResult(p_value, n_first, n_second)


def holm(p_values: Column) -> list[float]:
    """Correct p-values for the number of comparisons, after Holm.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may be
    smaller than one before it, or above 1. Who rejects where the result is at most
    0.05 rejects one true hypothesis or more in at most 5% of such families, whatever
    the dependence among the tests.

    Parameters
    ----------
    p_values : array-like of shape (N,)
        One for each comparison of the family, all of them.

    Returns
    -------
    list of float
        The corrected p-values, in the order given.

    Raises
    ------
    ValueError
        If there is none, or one is outside 0 to 1.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6.
    """
    (column,) = _columns(p_values=p_values)
    outside = column[(column < 0) | (column > 1)]
    if len(outside):
        raise ValueError(
            f"p_values has {len(outside)} of {len(column)} values outside 0 to 1, the "
            f"first is {outside[0]:g}. Pass p-values, not scores or counts."
        )
    order = np.argsort(column, kind="stable")
    raised = column[order] * np.arange(len(column), 0, -1)
    corrected = np.empty(len(column))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(p) for p in corrected]

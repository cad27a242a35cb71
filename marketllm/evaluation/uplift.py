"""Whom did the campaign move? Curves and areas for a list ranked by predicted uplift.

Nobody is seen both with and without the campaign. So a list is judged by groups: in
its top, how many of the treated buy, and how many of the others? This needs a campaign
whose treatment was drawn by lot, the same lot for everybody. Where the firm chose whom
to treat, these numbers say whom it chose.

Customers of one score stand together, as in `gain_curve`: no number here depends on
the order of the rows, and each depends on one list of scores alone.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marketllm.evaluation.intervals import Interval, _draws, _percentiles
from marketllm.evaluation.metrics import (
    Column,
    OneClassError,
    _both_classes,
    _columns,
    _only_classes,
)

UpliftMetric = Callable[[Column, Column, Column], float]


def uplift_curve(labels: Column, treated: Column, scores: Column) -> pd.DataFrame:
    r"""Buyers that the campaign adds in the top of the list, for each length of it.

    Among the first k of N customers let :math:`n_t` be treated, :math:`n_c` not, and
    :math:`y_t`, :math:`y_c` the buyers among each. Then

    .. math:: \text{uplift} = \left(\frac{y_t}{n_t} - \frac{y_c}{n_c}\right) \frac kN
       \qquad \text{qini} = y_t - y_c \frac{n_t}{n_c}

    The first is per customer of the whole list, if all of the k were treated. The
    second counts buyers among those who were. A fraction without customers is 0.

    Parameters
    ----------
    labels : array-like of shape (N,)
        1 = bought, 0 = did not.
    treated : array-like of shape (N,)
        1 = got the campaign, 0 = did not, by lot.
    scores : array-like of shape (N,)
        Higher where the campaign is expected to do more.

    Returns
    -------
    DataFrame
        ``share`` of the list, ``uplift`` and ``qini``, from the empty list to the
        whole, with one row for each different score. In between both are straight.

    Raises
    ------
    ValueError
        If shapes, lengths or values are wrong, or one of the arms is missing.

    References
    ----------
    Radcliffe (2007), Using control groups to target on predicted lift, Direct
    Marketing Analytics Journal; both as in scikit-uplift's ``uplift_curve`` (there
    times N) and ``qini_curve``.
    """
    truth, arm, values = _checked(labels, treated, scores)
    share, uplift, qini_heights = _curves(truth, arm, values)
    return pd.DataFrame({"share": share, "uplift": uplift, "qini": qini_heights})


def qini(labels: Column, treated: Column, scores: Column) -> float:
    r"""Qini coefficient: the area above a random list, as a share of the largest.

    .. math:: \frac{A - A_{random}}{A_{perfect} - A_{random}}

    A is the area under the Qini curve of `uplift_curve`, by the trapezoid rule, and
    :math:`A_{random}` that under the straight line to its end. The perfect list has
    the treated buyers first and the untreated buyers last. Nobody can know these, so
    even the true effects come nowhere near 1. It hangs on labels and arms alone: the
    value of a list never depends on what else is compared.

    Parameters
    ----------
    labels, treated, scores : array-like of shape (N,)
        As for `uplift_curve`.

    Returns
    -------
    float
        0 for a random list on average, at most 1; below 0 for a list that is worse.

    Raises
    ------
    ValueError
        As for `uplift_curve`, or if nobody buys or everybody does.

    References
    ----------
    Radcliffe (2007); equal to scikit-uplift's ``qini_auc_score``.
    """
    truth, arm, values = _checked(labels, treated, scores)
    _both_classes(truth)
    share, _, heights = _curves(truth, arm, values)
    best_share, _, best = _curves(truth, arm, truth * (2 * arm - 1))
    random = heights[-1] / 2
    above = np.trapezoid(heights, share) - random
    return float(above / (np.trapezoid(best, best_share) - random))


def auuc(labels: Column, treated: Column, scores: Column) -> float:
    """Area under the uplift curve: buyers added per customer, over all lengths.

    Parameters
    ----------
    labels, treated, scores : array-like of shape (N,)
        As for `uplift_curve`.

    Returns
    -------
    float
        Mean height of the uplift curve, in buyers per customer of the list. A random
        list has half the average effect.

    Raises
    ------
    ValueError
        As for `uplift_curve`.

    References
    ----------
    Jaskowski and Jaroszewicz (2012), Uplift modeling for clinical trial data, ICML
    workshop. N squared times it is the area under scikit-uplift's ``uplift_curve``.
    """
    share, uplift, _ = _curves(*_checked(labels, treated, scores))
    return float(np.trapezoid(uplift, share))


def uplift_interval(
    metric: UpliftMetric,
    labels: Column,
    treated: Column,
    scores: Column,
    n_resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Confidence interval of such a metric by the percentile bootstrap.

    Customers are drawn with replacement, each with label, arm and score. A draw that
    cannot be judged, for one arm or class is missing, is drawn again.

    Parameters
    ----------
    metric : callable
        A function of (labels, treated, scores), such as `qini` or `auuc`.
    labels, treated, scores : array-like of shape (N,)
        As for `uplift_curve`.
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
    truth, arm, values = _checked(labels, treated, scores)

    def once(rows: np.ndarray) -> float:
        return metric(truth[rows], arm[rows], values[rows])

    found = _draws(once, len(truth), n_resamples, confidence, seed)
    return _percentiles(*found, confidence)


def _checked(
    labels: Column, treated: Column, scores: Column
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    truth, arm, values = _columns(labels=labels, treated=treated, scores=scores)
    _only_classes(labels=truth)
    _both_arms(arm)
    return truth, arm, values


def _both_arms(treated: NDArray[np.float64]) -> None:
    """Refuse treatments other than 0 and 1, and one arm without the other."""
    _only_classes(treated=treated)
    n_treated = int(treated.sum())
    n_others = len(treated) - n_treated
    if min(n_treated, n_others) == 0:
        raise OneClassError(
            f"treated holds {n_treated} treated and {n_others} others, expected at "
            "least 1 of each: without a control group an effect cannot be told. Hold "
            "some customers back by lot."
        )


def _curves(
    labels: NDArray[np.float64],
    treated: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give the corners: shares of the list, uplift and qini at each."""
    _, place = np.unique(-scores, return_inverse=True)  # rows of one score together

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.append(0.0, np.bincount(place, weights=values).cumsum())

    n_treated, n_others = sums(treated), sums(1 - treated)
    bought, bought_anyway = sums(labels * treated), sums(labels * (1 - treated))
    listed = n_treated + n_others
    share = listed / len(labels)
    rate = _ratio(bought, n_treated) - _ratio(bought_anyway, n_others)
    counted = bought - bought_anyway * _ratio(n_treated, n_others)
    return share, rate * share, counted


def _ratio(
    above: NDArray[np.float64], below: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)

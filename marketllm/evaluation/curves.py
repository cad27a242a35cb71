"""What a ranked list is worth: gain, lift and profit; and whether probabilities hold.

Customers are ranked by score and contacted from the top. Customers of one score cannot
be told apart, so none of them stands before another: a list that ends among them takes
a share of each class. No number here depends on the order of the rows.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from marketllm.evaluation.metrics import (
    Column,
    _both_classes,
    _columns,
    _only_classes,
    _only_probabilities,
)


def gain_curve(labels: Column, scores: Column) -> pd.DataFrame:
    """Share of class 1 that is found in the top of the list, for each length of it.

    Parameters
    ----------
    labels, scores : array-like of shape (N,)
        Classes, 0 or 1; and scores, higher where class 1 is more likely.

    Returns
    -------
    DataFrame
        ``share`` of the list and ``gain``, the share of class 1 in it: from (0, 0) to
        (1, 1), with one row for each different score. In between the curve is
        straight. A list in random order gives the diagonal.

    Raises
    ------
    ValueError
        If shapes, lengths or labels are wrong, or only one class is there.
    """
    share, gain = _gains(labels, scores)
    return pd.DataFrame({"share": share, "gain": gain})


def lift(labels: Column, scores: Column, share: float = 0.1) -> float:
    """How many times more of class 1 the top of the list has than the whole.

    Parameters
    ----------
    labels, scores : array-like of shape (N,)
        Classes, 0 or 1; and scores, higher where class 1 is more likely.
    share : float
        How much of the list is its top: above 0, at most 1.

    Returns
    -------
    float
        Share of class 1 in the top, over the share of class 1 in all rows; 1 is
        chance. Rows tied at the cut count in proportion.

    Raises
    ------
    ValueError
        If shapes, lengths, labels or ``share`` are wrong, or only one class is there.
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"share is {share}, expected above 0 and at most 1. Write 0.1 for the top "
            "10%."
        )
    return float(np.interp(share, *_gains(labels, scores)) / share)


def profit_curve(
    labels: Column, scores: Column, margin: float, cost: float
) -> pd.DataFrame:
    r"""Profit of contacting the top of the list, for each length of it.

    At a share of the list :math:`q` with gain :math:`g`, where class 1 is a share
    :math:`\pi` of all rows: :math:`\pi g \cdot margin - q \cdot cost`.

    Parameters
    ----------
    labels, scores : array-like of shape (N,)
        Classes, 0 or 1; and scores, higher where class 1 is more likely.
    margin : float
        Money earned by a contacted customer of class 1, above 0.
    cost : float
        Money that one contact costs, 0 or more.

    Returns
    -------
    DataFrame
        ``share`` of the list and ``profit`` in money per customer of the whole list:
        times their number it is the profit of the campaign. Rows as in `gain_curve`.

    Raises
    ------
    ValueError
        If shapes, lengths, labels, ``margin`` or ``cost`` are wrong, or only one class
        is there.
    """
    _check_money(margin, cost)
    curve = gain_curve(labels, scores)
    (truth,) = _columns(labels=labels)
    profit = truth.mean() * margin * curve["gain"] - cost * curve["share"]
    return pd.DataFrame({"share": curve["share"], "profit": profit})


def profit_threshold(margin: float, cost: float) -> float:
    """Give the probability from which on a contact pays: cost over margin.

    Parameters
    ----------
    margin : float
        Money earned by a contacted customer of class 1, above 0.
    cost : float
        Money that one contact costs, 0 or more.

    Returns
    -------
    float
        Contact whose probability is higher. Above 1, no contact pays.

    Raises
    ------
    ValueError
        If ``margin`` or ``cost`` is out of range.

    References
    ----------
    Elkan (2001), The foundations of cost-sensitive learning, IJCAI.
    """
    _check_money(margin, cost)
    return cost / margin


def calibration_table(
    labels: Column, probabilities: Column, n_bins: int = 10
) -> pd.DataFrame:
    """Compare probabilities with what happened, in groups of about equal size.

    The groups are cut at quantiles of the probabilities, as scikit-learn's
    ``calibration_curve`` does with ``strategy="quantile"``: with groups of equal width
    most customers of a rare class would be in one. Equal probabilities stay together.

    Parameters
    ----------
    labels, probabilities : array-like of shape (N,)
        Classes, 0 or 1; and probabilities of class 1, 0 to 1.
    n_bins : int
        How many groups, 1 or more. Ties can leave fewer.

    Returns
    -------
    DataFrame
        One row a group, from low to high: ``mean_probability``, ``share`` of class 1,
        ``n`` rows, and ``low`` and ``high``, Wilson's 95% interval of the share.

    Raises
    ------
    ValueError
        If shapes, lengths, labels, probabilities or ``n_bins`` are wrong.

    References
    ----------
    Niculescu-Mizil and Caruana (2005), Predicting good probabilities with supervised
    learning, ICML. Wilson (1927), Journal of the American Statistical Association 22.
    """
    truth, values = _columns(labels=labels, probabilities=probabilities)
    _only_classes(labels=truth)
    _only_probabilities(probabilities=values)
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}, expected 1 or more: try 10.")
    edges = np.percentile(values, 100 * np.linspace(0, 1, n_bins + 1))
    table = pd.DataFrame({"mean_probability": values, "share": truth, "n": 1})
    groups = table.groupby(np.searchsorted(edges[1:-1], values))
    found = groups.agg({"mean_probability": "mean", "share": "mean", "n": "sum"})
    counts = zip(groups["share"].sum(), found["n"], strict=True)
    ends = [
        binomtest(int(n_ones), int(n)).proportion_ci(method="wilson")
        for n_ones, n in counts
    ]
    found["low"] = [float(end.low) for end in ends]
    found["high"] = [float(end.high) for end in ends]
    return found.reset_index(drop=True)


def _gains(
    labels: Column, scores: Column
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the corners of the gain curve: shares of the list, and gains."""
    truth, values = _columns(labels=labels, scores=scores)
    _, n_ones = _both_classes(truth)
    _, place = np.unique(-values, return_inverse=True)  # rows of one score together
    n_listed = np.bincount(place).cumsum()
    n_found = np.bincount(place, weights=truth).cumsum()
    start = np.zeros(1)
    share = np.concatenate([start, n_listed / len(truth)])
    return share, np.concatenate([start, n_found / n_ones])


def _check_money(margin: float, cost: float) -> None:
    if not (np.isfinite(margin) and margin > 0):
        raise ValueError(
            f"margin is {margin}, expected above 0: what a customer of class 1 who was "
            "contacted brings in. With none, no contact pays."
        )
    if not (np.isfinite(cost) and cost >= 0):
        raise ValueError(f"cost is {cost}, expected 0 or more: what one contact costs.")

"""What a rule for whom to treat is worth: with known effects, by lot, or from a log.

A budget says for what share of the customers there is a letter. Customers tied at the
cut share what is left. All amounts are per customer of the whole list, as in
`profit_curve`: times their number they are the amounts of the campaign.
"""

import numpy as np
from numpy.typing import NDArray

from marketllm.evaluation.curves import _check_money
from marketllm.evaluation.intervals import Interval, mean_interval
from marketllm.evaluation.metrics import Column, _columns, _only_probabilities
from marketllm.evaluation.uplift import _both_arms, uplift_curve


def true_profit(
    effects: Column, scores: Column, budget: float, margin: float, cost: float
) -> float:
    """Profit of treating the top of a list, where each customer's effect is known.

    The effects themselves as scores give the best that any list can do.

    Parameters
    ----------
    effects : array-like of shape (N,)
        Chance to buy with the campaign less the chance without.
    scores : array-like of shape (N,)
        The highest are treated.
    budget : float
        Share of the customers that are treated: above 0, at most 1.
    margin : float
        Money earned by one more buyer, above 0.
    cost : float
        Money that one treatment costs, 0 or more.

    Returns
    -------
    float
        Money per customer of the list, less the same without a campaign.

    Raises
    ------
    ValueError
        If shapes, lengths or settings are wrong.
    """
    _check_budget(budget)
    _check_money(margin, cost)
    gains, values = _columns(effects=effects, scores=scores)
    outside = gains[np.abs(gains) > 1]
    if len(outside):
        raise ValueError(
            f"effects has {len(outside)} of {len(gains)} values outside -1 to 1, the "
            f"first is {outside[0]:g}. Give differences of chances, not of money."
        )
    _, place = np.unique(-values, return_inverse=True)
    ends = np.append(0.0, np.bincount(place).cumsum() / len(gains))
    added = np.append(0.0, np.bincount(place, weights=gains).cumsum() / len(gains))
    return float(margin * np.interp(budget, ends, added) - cost * budget)


def estimated_profit(
    labels: Column,
    treated: Column,
    scores: Column,
    budget: float,
    margin: float,
    cost: float,
) -> float:
    """Profit of treating the top of a list, judged by a campaign drawn by lot.

    Parameters
    ----------
    labels, treated, scores : array-like of shape (N,)
        As for `uplift_curve`.
    budget, margin, cost : float
        As for `true_profit`.

    Returns
    -------
    float
        Money per customer of the list, less the same without a campaign.

    Raises
    ------
    ValueError
        If shapes, lengths or settings are wrong, or one of the arms is missing.
    """
    _check_budget(budget)
    _check_money(margin, cost)
    curve = uplift_curve(labels, treated, scores)
    added = float(np.interp(budget, curve["share"], curve["uplift"]))
    return margin * added - cost * budget


def policy_value(
    outcomes: Column,
    treated: Column,
    propensities: Column,
    policy: Column,
    chances: NDArray[np.float64] | None = None,
    confidence: float = 0.95,
) -> Interval:
    r"""Mean outcome under a rule that was never run, from the log of another one.

    With :math:`e_i` the chance with which customer i was treated, and
    :math:`\pi_i` the chance that the rule treats, the log did what the rule would do
    with the weight :math:`w_i = \pi_i / e_i` if i was treated and
    :math:`(1 - \pi_i) / (1 - e_i)` if not. The mean of :math:`w_i y_i` is inverse
    propensity weighting. With forecasts :math:`m_0, m_1` of the outcome it becomes
    doubly robust, right if either the :math:`e_i` or the forecasts are:

    .. math:: (1 - \pi_i)\, m_{0i} + \pi_i\, m_{1i} + w_i (y_i - m_{W_i i})

    Parameters
    ----------
    outcomes : array-like of shape (N,)
        What was observed: 0 and 1, or money.
    treated : array-like of shape (N,)
        1 = was treated, 0 = was not.
    propensities : array-like of shape (N,)
        Chance with which each was treated, above 0 and below 1.
    policy : array-like of shape (N,)
        Chance with which the rule treats each, 0 to 1. It must not have been learned
        from these outcomes.
    chances : ndarray of shape (N, 2), optional
        Forecasts of the outcome without and with treatment, from other rows.
    confidence : float
        Above 0 and below 1.

    Returns
    -------
    Interval
        The value per customer, and its interval by Student's t over the customers;
        the propensities and forecasts are taken as given.

    Raises
    ------
    ValueError
        If shapes, lengths or values are wrong.

    References
    ----------
    Horvitz and Thompson (1952), Journal of the American Statistical Association 47.
    Dudik, Langford and Li (2011), Doubly robust policy evaluation and learning, ICML.
    """
    seen, arm, known, rule = _columns(
        outcomes=outcomes, treated=treated, propensities=propensities, policy=policy
    )
    _both_arms(arm)
    _only_probabilities(policy=rule)
    _only_inside(known)
    weights = np.where(arm == 1, rule / known, (1 - rule) / (1 - known))
    if chances is None:
        return mean_interval(weights * seen, confidence)
    if np.shape(chances) != (len(seen), 2):
        raise ValueError(
            f"chances has shape {np.shape(chances)}, expected ({len(seen)}, 2): one "
            "column without treatment, one with it."
        )
    without, reached = _columns(without=chances[:, 0], reached=chances[:, 1])
    expected = (1 - rule) * without + rule * reached
    surprise = seen - np.where(arm == 1, reached, without)
    return mean_interval(expected + weights * surprise, confidence)


def _only_inside(propensities: NDArray[np.float64]) -> None:
    """Refuse a chance of 0 or 1: nothing can be learned of what is never tried."""
    outside = propensities[(propensities <= 0) | (propensities >= 1)]
    if len(outside):
        raise ValueError(
            f"propensities has {len(outside)} of {len(propensities)} values that are "
            f"not above 0 and below 1, the first is {outside[0]:g}: of a customer who "
            "is always or never treated one side is not seen. Leave these out, and say "
            "that nothing is known of them."
        )


def _check_budget(budget: float) -> None:
    if not 0 < budget <= 1:
        raise ValueError(
            f"budget is {budget}, expected above 0 and at most 1. Write 0.2 for a "
            "letter to every fifth customer."
        )

"""Uplift by one model of a new outcome whose mean is the effect."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.utils.validation import check_is_fitted

from marketllm.marketing.targeting.campaign import Propensities, _campaign, _table


class TransformedOutcome(BaseEstimator):  # type: ignore[misc]
    r"""Turn arm and label into one number whose mean is the effect, and predict that.

    With the treatment w, the label y and the chance e to be treated,

    .. math:: z = \frac{w - e}{e (1 - e)}\, y, \qquad E[z \mid x] = \tau(x)

    for a regressor. Where a fair coin treated, a classifier can do it: the class is
    1 where w = y, a treated buyer or an untreated one who did not buy, and

    .. math:: \tau(x) = 2 P(w = y \mid x) - 1

    This is the same number, for y - 1/2 in place of y. One model instead of two, and
    it aims at the effect itself; but z is very noisy.

    Parameters
    ----------
    model : estimator
        A regressor or a classifier with scikit-learn's conventions. A copy is
        trained; it is not changed itself.

    Attributes
    ----------
    model_ : estimator
        The fitted copy.

    References
    ----------
    Athey and Imbens (2016), Recursive partitioning for heterogeneous causal effects,
    PNAS 113. Jaskowski and Jaroszewicz (2012), Uplift modeling for clinical trial
    data, ICML workshop, for the classes.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(
        self,
        customers: pd.DataFrame,
        treated: Collection[Any],
        labels: Collection[Any],
        propensities: Propensities = None,
        **history: Any,
    ) -> "TransformedOutcome":
        """Train on the new outcome.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer, without a column ``treated``.
        treated : array-like of shape (N,)
            1 = got the campaign, 0 = did not.
        labels : array-like of shape (N,)
            1 = bought, 0 = did not.
        propensities : float or array-like of shape (N,), optional
            Chance with which each was treated. Default: the share of the treated, as
            is right if one lot was drawn for all. A classifier takes nothing but a
            fair coin.
        **history : object
            What the model takes beside, such as ``events`` and ``until``.

        Returns
        -------
        TransformedOutcome
            This learner.

        Raises
        ------
        ValueError
            If an arm is missing or holds one class only, values are wrong, or a
            classifier is given another lot than a fair coin.
        """
        log = _campaign(customers, treated, labels, propensities)
        known = log.propensities
        self.is_regressor_ = is_regressor(self.model)
        if self.is_regressor_:
            chance = log.treated.mean() if known is None else known
            outcome = (log.treated - chance) / (chance * (1 - chance)) * log.labels
        else:
            far = np.abs((log.treated.mean() if known is None else known) - 0.5)
            if np.max(far) > (0.05 if known is None else 1e-9):
                raise ValueError(
                    f"customers were treated with a chance up to {np.max(far):.3f} "
                    "from 0.5, and a classifier needs a fair coin: give a regressor, "
                    "or use DoublyRobust."
                )
            outcome = (log.treated == log.labels).astype(int)
        self.model_ = clone(self.model).fit(customers, outcome, **history)
        return self

    def effect(
        self, customers: pd.DataFrame, **history: Any
    ) -> Float[np.ndarray, " N"]:
        """Predict what the campaign adds to the chance to buy.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer.
        **history : object
            As in training.

        Returns
        -------
        ndarray of shape (N,)
            A regressor may leave the range from -1 to 1.

        Raises
        ------
        ValueError
            If the customers cannot be read.
        """
        check_is_fitted(self, "model_")
        _table(customers)
        if self.is_regressor_:
            found = self.model_.predict(customers, **history)
        else:
            found = 2 * self.model_.predict_proba(customers, **history)[:, 1] - 1
        return np.asarray(found, dtype=float)

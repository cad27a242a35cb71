"""Uplift by two models: one of the treated, one of the others."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from marketllm.marketing.targeting.campaign import Propensities, _campaign, _table


class TwoModel(BaseEstimator):  # type: ignore[misc]
    r"""Predict purchases with the campaign and without, and subtract.

    .. math:: \hat\tau(x) = \hat m_1(x) - \hat m_0(x)

    :math:`\hat m_1` learns from the treated alone, :math:`\hat m_0` from the others.
    Also called T-learner. Right where both models are; but each is chosen to predict
    purchases well, not their difference.

    Parameters
    ----------
    classifier : estimator
        A classifier with scikit-learn's conventions, such as `table_lightgbm` or
        `PurchaseIntent`. Two copies are trained; it is not changed itself.

    Attributes
    ----------
    models_ : list of estimator
        Fitted, of the untreated and of the treated.

    References
    ----------
    Kunzel et al. (2019), Metalearners for estimating heterogeneous treatment effects
    using machine learning, PNAS 116.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(
        self,
        customers: pd.DataFrame,
        treated: Collection[Any],
        labels: Collection[Any],
        propensities: Propensities = None,
        **history: Any,
    ) -> "TwoModel":
        """Train one model for each arm.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer, without a column ``treated``.
        treated : array-like of shape (N,)
            1 = got the campaign, 0 = did not.
        labels : array-like of shape (N,)
            1 = bought, 0 = did not.
        propensities : float or array-like of shape (N,), optional
            Chance with which each was treated. Checked, but not used here.
        **history : object
            What the classifier takes beside, such as ``events`` and ``until``.

        Returns
        -------
        TwoModel
            This learner.

        Raises
        ------
        ValueError
            If an arm is missing or holds one class only, or values are wrong.
        """
        log = _campaign(customers, treated, labels, propensities)
        self.models_ = _both_models(self.classifier, log, slice(None), history)
        return self

    def chances(
        self, customers: pd.DataFrame, **history: Any
    ) -> Float[np.ndarray, "N 2"]:
        """Give the chance to buy without the campaign and with it.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer.
        **history : object
            As in training.

        Returns
        -------
        ndarray of shape (N, 2)
            The second column is a response model: who buys, given a letter?

        Raises
        ------
        ValueError
            If the customers cannot be read.
        """
        check_is_fitted(self, "models_")
        _table(customers)
        return _predict_both(self.models_, customers, history)

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
            From -1 to 1.

        Raises
        ------
        ValueError
            If the customers cannot be read.
        """
        without, reached = self.chances(customers, **history).T
        return reached - without


def _both_models(
    classifier: Any, log: Any, rows: Any, history: dict[str, Any]
) -> list[Any]:
    """Train a copy on the untreated of these rows, and one on the treated."""
    chosen = np.arange(len(log.labels))[rows]
    arms = [chosen[log.treated[chosen] == value] for value in (0, 1)]
    return [
        clone(classifier).fit(log.customers.iloc[arm], log.labels[arm], **history)
        for arm in arms
    ]


def _predict_both(
    models: list[Any], customers: pd.DataFrame, history: dict[str, Any]
) -> Float[np.ndarray, "N 2"]:
    found = [model.predict_proba(customers, **history)[:, 1] for model in models]
    return np.stack(found, axis=1).astype(float)

"""Uplift by two steps: purchases and lots first, then the effect itself."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.validation import check_is_fitted

from marketllm.baselines import table_logistic_regression
from marketllm.evaluation import mean_interval
from marketllm.marketing.targeting.campaign import (
    ARMS,
    Propensities,
    _Campaign,
    _campaign,
    _table,
)
from marketllm.marketing.targeting.two_model import _both_models, _predict_both


class DoublyRobust(BaseEstimator):  # type: ignore[misc]
    r"""Correct the two models by what they missed, then learn the effect from that.

    Each customer gets a first guess of the effect, from models that have not seen
    him,

    .. math:: \phi = \hat m_1 - \hat m_0 + \frac{w - e}{e (1 - e)} (y - \hat m_w)

    whose mean is the effect if either both :math:`\hat m` or the chances e to be
    treated are right. A regressor then learns :math:`\phi` from the customers.

    Parameters
    ----------
    classifier : estimator
        For purchases; copies of it as in `TwoModel`.
    regressor : estimator
        For the effect, with scikit-learn's conventions.
    propensity_model : estimator, optional
        A classifier for the treatment, used where no propensities are given. Default
        is `table_logistic_regression`.
    add_chances : bool
        Whether the regressor sees the two predictions too, as columns ``without``
        and ``with``: useful where the classifier reads what a table does not hold.
    n_folds : int
        Each customer's guess comes from models trained on the other folds.
    least : float
        Estimated propensities are kept this far from 0 and 1.
    seed : int
        Fixes the folds.

    Attributes
    ----------
    folds_ : list of tuple
        For each fold the rows to train on and the rows in it.
    guesses_ : ndarray of shape (N,)
        The first guess of each training customer.
    propensities_ : ndarray of shape (N,)
        Given or estimated.
    average_ : Interval
        The average effect with its 95% interval.
    regressor_ : estimator
        Fitted.

    References
    ----------
    Kennedy (2023), Towards optimal doubly robust estimation of heterogeneous causal
    effects, Electronic Journal of Statistics 17; Robins, Rotnitzky and Zhao (1994)
    for the correction. The same as econml's ``DRLearner``, there with one model for
    both arms.
    """

    def __init__(
        self,
        classifier: Any,
        regressor: Any,
        propensity_model: Any = None,
        add_chances: bool = False,
        n_folds: int = 2,
        least: float = 0.01,
        seed: int = 0,
    ) -> None:
        self.classifier = classifier
        self.regressor = regressor
        self.propensity_model = propensity_model
        self.add_chances = add_chances
        self.n_folds = n_folds
        self.least = least
        self.seed = seed

    def fit(
        self,
        customers: pd.DataFrame,
        treated: Collection[Any],
        labels: Collection[Any],
        propensities: Propensities = None,
        **history: Any,
    ) -> "DoublyRobust":
        """Guess each customer's effect out of fold, and learn from the guesses.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer, without a column ``treated``.
        treated : array-like of shape (N,)
            1 = got the campaign, 0 = did not.
        labels : array-like of shape (N,)
            1 = bought, 0 = did not.
        propensities : float or array-like of shape (N,), optional
            Chance with which each was treated. Default: estimated.
        **history : object
            What the classifier takes beside, such as ``events`` and ``until``.

        Returns
        -------
        DoublyRobust
            This learner.

        Raises
        ------
        ValueError
            If an arm is missing or holds too few of a class, or values are wrong.
        """
        log = _campaign(customers, treated, labels, propensities)
        self.folds_ = self._folds(log)
        chances = np.empty((len(log.labels), 2))
        known = np.full(len(log.labels), np.nan)
        self.models_ = []
        for ours, theirs in self.folds_:
            others = customers.iloc[theirs]
            models = _both_models(self.classifier, log, ours, history)
            chances[theirs] = _predict_both(models, others, history)
            known[theirs] = self._propensities(log, ours, others)
            self.models_.append(models)
        self.propensities_ = known if log.propensities is None else log.propensities
        self.guesses_ = _guesses(log, chances, self.propensities_)
        self.average_ = mean_interval(self.guesses_)
        seen = self._beside(customers, chances)
        self.regressor_ = clone(self.regressor).fit(seen, self.guesses_)
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
            As in training; read only with ``add_chances``.

        Returns
        -------
        ndarray of shape (N,)
            A regressor may leave the range from -1 to 1.

        Raises
        ------
        ValueError
            If the customers cannot be read.
        """
        check_is_fitted(self, "regressor_")
        _table(customers)
        chances = None
        if self.add_chances:
            found = [_predict_both(two, customers, history) for two in self.models_]
            chances = np.mean(found, axis=0)
        found = self.regressor_.predict(self._beside(customers, chances))
        return np.asarray(found, dtype=float)

    def _folds(self, log: _Campaign) -> list[tuple[np.ndarray, np.ndarray]]:
        """Cut folds with all four kinds of customers in each."""
        if self.n_folds < 2:
            raise ValueError(f"n_folds is {self.n_folds}: give at least 2.")
        if not 0 < self.least < 0.5:
            raise ValueError(f"least is {self.least}: give above 0 and below 0.5.")
        kinds = 2 * log.treated + log.labels
        for kind, n in enumerate(np.bincount(kinds, minlength=4)):
            if n < self.n_folds:
                raise ValueError(
                    f"{n} {ARMS[kind // 2]} customers have label {kind % 2}, but "
                    f"{self.n_folds} folds need at least {self.n_folds}: take fewer "
                    "folds, or wait for more customers."
                )
        cutter = StratifiedKFold(self.n_folds, shuffle=True, random_state=self.seed)
        return list(cutter.split(kinds, kinds))

    def _propensities(
        self, log: _Campaign, ours: np.ndarray, others: pd.DataFrame
    ) -> Any:
        """Estimate the chances of the other fold, where none are known."""
        if log.propensities is not None:
            return np.nan
        model = self.propensity_model
        model = table_logistic_regression() if model is None else clone(model)
        model.fit(log.customers.iloc[ours], log.treated[ours])
        found = model.predict_proba(others)[:, 1]
        return np.clip(found, self.least, 1 - self.least)

    def _beside(
        self, customers: pd.DataFrame, chances: np.ndarray | None
    ) -> pd.DataFrame:
        if not self.add_chances or chances is None:
            return customers
        return customers.assign(**{"without": chances[:, 0], "with": chances[:, 1]})


def _guesses(
    log: _Campaign, chances: np.ndarray, propensities: np.ndarray
) -> np.ndarray:
    """Subtract the predictions, and add what they missed, weighted."""
    without, reached = chances.T
    missed = log.labels - np.where(log.treated == 1, reached, without)
    weights = (log.treated - propensities) / (propensities * (1 - propensities))
    return reached - without + weights * missed

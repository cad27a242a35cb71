"""What the learners of the experiment `targeting` are made of."""

from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from marketllm.baselines import table_lightgbm, table_logistic_regression
from marketllm.datasets import SimulatedCustomers
from marketllm.experiments.case_study.contestants import beside
from marketllm.marketing import HistoryTokenizer, PurchaseIntent

# As in the experiment `customers`, for these tokens.
NETWORK: dict[str, Any] = {
    "n_heads": 2,
    "dropout": 0.0,
    "n_epochs": 12,
    "learning_rate": 6e-3,
}


class Summary(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Put counts of events and weights of words beside a customer's attributes.

    Parameters
    ----------
    counts : DataFrame
        Events of each kind, one row a customer, indexed by ``customer``.
    """

    def __init__(self, counts: pd.DataFrame) -> None:
        self.counts = counts

    def fit(self, customers: pd.DataFrame, labels: Any = None) -> "Summary":
        """Learn the words.

        Parameters
        ----------
        customers : DataFrame
            Training customers.
        labels : object
            Not looked at.

        Returns
        -------
        Summary
        """
        self.words_ = TfidfVectorizer(min_df=5, sublinear_tf=True)
        self.words_.fit(customers["text"])
        return self

    def transform(self, customers: pd.DataFrame) -> pd.DataFrame:
        """Give the wide table.

        Parameters
        ----------
        customers : DataFrame
            Any customers of the counts.

        Returns
        -------
        DataFrame
        """
        counts = self.counts.loc[customers["customer"]].reset_index(drop=True)
        table = pd.concat([customers.reset_index(drop=True), counts], axis=1)
        return beside(table, self.words_.transform(customers["text"]).toarray(), "word")


class Reader(PurchaseIntent):
    """Our network; a fifth of its customers chooses the epoch, and is not trained on.

    Parameters
    ----------
    kind, tokenizer, **settings : object
        As for `PurchaseIntent`.
    """

    def __init__(
        self,
        kind: Any = "transformer",
        tokenizer: HistoryTokenizer | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(kind, tokenizer, **settings)

    def fit(
        self,
        customers: pd.DataFrame,
        labels: Collection[Any],
        events: pd.DataFrame | None = None,
        until: Any = None,
        validation: Any = None,
    ) -> "Reader":
        """Train, and keep the best epoch.

        Parameters
        ----------
        customers, labels, events, until : object
            As for `PurchaseIntent`.
        validation : object
            Not used: the fifth is cut off here.

        Returns
        -------
        Reader
        """
        truth = np.asarray(labels)
        is_held = np.arange(len(truth)) % 5 == 4  # customers stand in no order
        super().fit(
            customers[~is_held],
            truth[~is_held],
            events,
            until,
            (customers[is_held], truth[is_held]),
        )
        return self


@cache
def counts(shop: SimulatedCustomers) -> pd.DataFrame:
    """Count each customer's events by kind.

    Parameters
    ----------
    shop : SimulatedCustomers
        With its events.

    Returns
    -------
    DataFrame
    """
    events = shop.data.events
    if events is None:
        raise ValueError("the shop has 0 events, expected some: keep data.events.")
    return pd.crosstab(events["customer"], events["kind"]).add_prefix("n_")


def on_table(shop: SimulatedCustomers, model: Any) -> Pipeline:
    """Let a model of tables read this shop's customers.

    Parameters
    ----------
    shop : SimulatedCustomers
        With its events.
    model : estimator
        A classifier or regressor.

    Returns
    -------
    Pipeline
        Not fitted.
    """
    return Pipeline([("summary", Summary(counts(shop))), ("model", model)])


def classifier(shop: SimulatedCustomers, base: str, seed: int) -> Any:
    """Make the model that predicts purchases.

    Parameters
    ----------
    shop : SimulatedCustomers
        With its events.
    base : {"logistic", "lightgbm", "attributes", "transformer"}
        Which one; "attributes" is LightGBM on the attributes alone.
    seed : int
        Of the model.

    Returns
    -------
    estimator
        Not fitted.
    """
    if base == "transformer":
        return Reader(tokenizer=HistoryTokenizer(gaps=False), seed=seed, **NETWORK)
    if base == "attributes":
        return table_lightgbm(seed)
    model = table_lightgbm(seed) if base == "lightgbm" else table_logistic_regression()
    return on_table(shop, model)


def regressor(shop: SimulatedCustomers, base: str, seed: int) -> Pipeline:
    """Make the model that predicts effects: ridge regression, or LightGBM.

    Parameters
    ----------
    shop : SimulatedCustomers
        With its events.
    base : str
        As for `classifier`; the Transformer's is LightGBM.
    seed : int
        Of the model.

    Returns
    -------
    Pipeline
        Not fitted; the settings of LightGBM are those of `table_lightgbm`.
    """
    if base == "logistic":
        pipeline = table_logistic_regression().set_params(classify=Ridge())
    else:
        from lightgbm import LGBMRegressor

        pipeline = table_lightgbm(seed)
        settings = pipeline.named_steps["classify"].get_params()
        pipeline.set_params(classify=LGBMRegressor(**settings))
    if base == "attributes":
        return pipeline
    return make_pipeline(Summary(counts(shop)), pipeline)

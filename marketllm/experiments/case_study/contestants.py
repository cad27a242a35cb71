"""The classical models of the experiment `customers`, each with the same two steps.

A learner is given training customers, settings and a seed, and returns a scorer: a
function that gives other customers a score. So every model is timed in the same way,
from the table to the score.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from marketllm.baselines import (
    BGNBD,
    majority,
    naive_bayes,
    rfm,
    table_lightgbm,
    table_logistic_regression,
    table_naive_bayes,
)
from marketllm.datasets import group_folds
from marketllm.evaluation import auc

Numbers = NDArray[Any]
Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Customers:
    """Customers of one data set, or some of them.

    Parameters
    ----------
    table : DataFrame
        One row a customer, with the column ``label``.
    groups : ndarray of shape (N,)
        Rows with the same value must stay together.
    events : DataFrame, optional
        Their dated events.
    until : str, optional
        The last day that is known.
    truth : DataFrame, optional
        What nobody knows of real customers: columns ``rule`` and ``chance``.
    """

    table: pd.DataFrame
    groups: Numbers
    events: pd.DataFrame | None = None
    until: str | None = None
    truth: pd.DataFrame | None = None

    @property
    def labels(self) -> Numbers:
        """The classes, 0 or 1, shape (N,)."""
        return self.table["label"].to_numpy()

    def __len__(self) -> int:
        """Count the customers."""
        return len(self.table)

    def take(self, rows: Numbers) -> "Customers":
        """Keep some of the customers, with their own events.

        Parameters
        ----------
        rows : ndarray of int
            Which ones, in this order.

        Returns
        -------
        Customers
        """
        table = self.table.iloc[rows].reset_index(drop=True)
        events = self.events
        if events is not None:
            events = events[events["customer"].isin(table["customer"])]
        truth = self.truth
        if truth is not None:
            truth = truth.iloc[rows].reset_index(drop=True)
        return Customers(table, self.groups[rows], events, self.until, truth)

    def shuffled(self, seed: int) -> "Customers":
        """Give the labels to other customers, at random.

        Parameters
        ----------
        seed : int
            Fixes who gets which.

        Returns
        -------
        Customers
        """
        labels = np.random.default_rng(seed).permutation(self.labels)
        return replace(self, table=self.table.assign(label=labels))


Scorer = Callable[[Customers], Numbers]
Learner = Callable[[Customers, Settings, int], Scorer]


def features(customers: Customers) -> pd.DataFrame:
    """Sum each customer up in one row of numbers and names.

    Purchases become recency, frequency and money; other events are counted by kind;
    attributes stay as they are.

    Parameters
    ----------
    customers : Customers
        Any customers.

    Returns
    -------
    DataFrame
        One row a customer, in the same order.
    """
    table, events = customers.table, customers.events
    if events is None:
        return table
    if customers.until is not None:
        found = rfm(events, customers.until).loc[table["customer"]]
        return found.reset_index(drop=True)
    counts = pd.crosstab(events["customer"], events["kind"])
    counts = counts.reindex(table["customer"], fill_value=0).reset_index(drop=True)
    return pd.concat([table, counts.add_prefix("n_")], axis=1)


def texts_of(customers: Customers) -> list[str] | None:
    """Give the customers' messages.

    Parameters
    ----------
    customers : Customers
        Any customers.

    Returns
    -------
    list of str or None
        None where they wrote none.
    """
    table = customers.table
    return table["text"].tolist() if "text" in table else None


def beside(table: pd.DataFrame, columns: Numbers, name: str) -> pd.DataFrame:
    """Put columns of numbers beside the features.

    Parameters
    ----------
    table : DataFrame
        The features of N customers.
    columns : ndarray of shape (N, F)
        More of them.
    name : str
        The new columns are called by it and a number.

    Returns
    -------
    DataFrame
    """
    names = [f"{name} {place}" for place in range(columns.shape[1])]
    return pd.concat([table, pd.DataFrame(columns, columns=names)], axis=1)


def regression(table: pd.DataFrame, train: Customers, settings: Settings) -> Any:
    """Fit a logistic regression whose C five folds of the training rows choose.

    Parameters
    ----------
    table : DataFrame
        The features of the training customers.
    train : Customers
        Those customers.
    settings : dict
        ``candidates``, the values of C.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted.
    """
    folds = group_folds(train.labels, train.groups, 5)

    def mean_auc(c: float) -> float:
        found = []
        for ours, theirs in folds:
            model = table_logistic_regression(c)
            model.fit(table.iloc[ours], train.labels[ours])
            scores = model.predict_proba(table.iloc[theirs])[:, 1]
            found.append(auc(train.labels[theirs], scores))
        return float(np.mean(found))

    best = max(settings["candidates"], key=mean_auc)
    return table_logistic_regression(best).fit(table, train.labels)


def _table(build: Callable[[int], Any] | None = None) -> Learner:
    """Let a pipeline learn from the features and, where there are any, the words.

    Without a pipeline it is the logistic regression.
    """

    def learn(train: Customers, settings: Settings, seed: int) -> Scorer:
        weigh = TfidfVectorizer(min_df=5, sublinear_tf=True)
        texts = texts_of(train)
        if texts is not None:
            weigh.fit(texts)

        def see(customers: Customers) -> pd.DataFrame:
            found, own = features(customers), texts_of(customers)
            if settings.get("rule") and customers.truth is not None:
                found = found.assign(rule=customers.truth["rule"])
            if own is None:
                return found
            return beside(found, weigh.transform(own).toarray(), "word")

        if build is None:
            model = regression(see(train), train, settings)
        else:
            model = build(seed).fit(see(train), train.labels)
        return lambda customers: model.predict_proba(see(customers))[:, 1]

    return learn


def _log_odds(chances: Any) -> Numbers:
    bounded = np.clip(chances, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _majority(train: Customers, settings: Settings, seed: int) -> Scorer:
    model = majority().fit(train.table, train.labels)
    return lambda customers: model.predict_proba(customers.table)[:, 1]


def _naive_bayes(train: Customers, settings: Settings, seed: int) -> Scorer:
    """Multiply what the table says by what the words say; the prior counts once."""
    table = table_naive_bayes().fit(features(train), train.labels)
    texts = texts_of(train)
    words = naive_bayes().fit(texts, train.labels) if texts is not None else None
    prior = _log_odds(train.labels.mean())

    def score(customers: Customers) -> Numbers:
        odds = _log_odds(table.predict_proba(features(customers))[:, 1])
        own = texts_of(customers)
        if words is not None and own is not None:
            odds = odds + _log_odds(words.predict_proba(own)[:, 1]) - prior
        return 1 / (1 + np.exp(-odds))

    return score


def _bgnbd(train: Customers, settings: Settings, seed: int) -> Scorer:
    """Expect purchases; no label is looked at."""

    def summed(customers: Customers) -> pd.DataFrame:
        if customers.events is None or customers.until is None:
            raise ValueError("BG/NBD needs purchases and a last day, found None.")
        return rfm(customers.events, customers.until).loc[customers.table["customer"]]

    model = BGNBD().fit(summed(train))
    return lambda customers: model.expected_purchases(
        summed(customers), settings["days"]
    )


def _known(customers: Customers, column: str) -> Numbers:
    if customers.truth is None:
        raise ValueError(f"{column} is known of simulated customers only, found None.")
    return customers.truth[column].to_numpy()


def _rule(train: Customers, settings: Settings, seed: int) -> Scorer:
    """Look whether the pair is there, and give the share of label 1 among those."""
    has = _known(train, "rule") == 1
    chances = np.array([train.labels[~has].mean(), train.labels[has].mean()])
    return lambda customers: chances[_known(customers, "rule").astype(int)]


def _ceiling(train: Customers, settings: Settings, seed: int) -> Scorer:
    return lambda customers: _known(customers, "chance")


CLASSICAL: Mapping[str, Learner] = {
    "majority": _majority,
    "naive_bayes": _naive_bayes,
    "logistic_regression": _table(),
    "lightgbm": _table(table_lightgbm),
    "bgnbd": _bgnbd,
    "rule": _rule,
    "logistic_regression_and_rule": _table(),
    "ceiling": _ceiling,
}

"""Gaps in a table of customers: made on purpose, and filled in seven ways."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from marketllm.baselines import table_lightgbm, table_logistic_regression
from marketllm.datasets import group_folds, load_churn
from marketllm.evaluation import auc

Numbers = Any
# Share of the cells, and which ones.
GAPS = (
    (0.0, "at random"),
    (0.1, "at random"),
    (0.3, "at random"),
    (0.3, "by value"),
)
WAYS = (
    "drop rows",
    "zero",
    "row above",
    "median of all",
    "median of train",
    "median and flag",
    "left alone",
)
LIKELY = 1.8  # times the share: gaps in the upper half of a column, "by value"


def _is_number(column: pd.Series) -> bool:
    """Tell numbers from categories."""
    return bool(pd.api.types.is_numeric_dtype(column))


def make_gaps(
    table: pd.DataFrame, share: float, mechanism: str, seed: int
) -> pd.DataFrame:
    """Empty cells of a table.

    Parameters
    ----------
    table : DataFrame
        Attributes, one row a customer.
    share : float
        Share of the cells that are emptied.
    mechanism : {"at random", "by value"}
        Every cell alike; or, in columns of numbers, values above the median nine
        times as often as the others: people with a high income do not tell it.
    seed : int
        Fixes the cells.

    Returns
    -------
    DataFrame
        A copy with the gaps.

    Raises
    ------
    ValueError
        If there is no such mechanism.

    References
    ----------
    Rubin (1976), Inference and missing data.
    """
    if mechanism not in ("at random", "by value"):
        raise ValueError(
            f"mechanism is {mechanism!r}; choose 'at random' or 'by value'."
        )
    chance = np.random.default_rng(seed).random(table.shape)
    limit = np.full(table.shape, share)
    if mechanism == "by value":
        for place, name in enumerate(table):
            if _is_number(table[name]):
                ranks = table[name].rank(method="first", pct=True).to_numpy()
                likely = np.where(ranks > 0.5, LIKELY, 2 - LIKELY)
                limit[:, place] = share * likely
    return table.mask(chance < limit)


Fill = Callable[[pd.DataFrame], pd.DataFrame]


def filler(known: pd.DataFrame) -> Fill:
    """Learn medians, and the most frequent categories, to fill gaps with.

    Parameters
    ----------
    known : DataFrame
        The rows that may be learned from.

    Returns
    -------
    callable
        Fills a table with the same columns.
    """
    values = {
        name: column.median() if _is_number(column) else column.mode().iloc[0]
        for name, column in known.items()
    }
    return lambda table: table.fillna(values)


def _with_zeros(table: pd.DataFrame) -> pd.DataFrame:
    zeros = {name: 0 if _is_number(table[name]) else "0" for name in table}
    return table.fillna(zeros)


def _with_flags(table: pd.DataFrame, fill: Fill) -> pd.DataFrame:
    flags = table.isna().astype(int).add_suffix(" missing")
    return pd.concat([fill(table), flags], axis=1)


def fill_gaps(
    way: str, train: pd.DataFrame, test: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill the gaps of both parts in one way.

    Parameters
    ----------
    way : str
        ``"drop rows"``: training rows with a gap go, test rows are filled by the
        median of those that stay, if any. ``"zero"``. ``"row above"``: the value of the
        customer before, in one table of both parts as they stand, what the article
        does; a gap in the first row stays. ``"median of all"``: learned from both
        parts. ``"median of train"``. ``"median and flag"``: and a column for each
        that says where a gap was. ``"left alone"``: the model has to cope.
    train, test : DataFrame
        The two parts, with an index that gives their order in the file.

    Returns
    -------
    tuple of DataFrame
        Both parts again; the training part may have fewer rows.

    Raises
    ------
    ValueError
        If there is no such way.
    """
    if way == "left alone":
        return train, test
    if way == "zero":
        return _with_zeros(train), _with_zeros(test)
    if way == "row above":
        above = pd.concat([train, test]).sort_index().ffill()
        return above.loc[train.index], above.loc[test.index]
    if way == "drop rows":
        whole = train.dropna()
        return whole, filler(whole)(test) if len(whole) else test
    if way in ("median of all", "median of train", "median and flag"):
        fill = filler(pd.concat([train, test]) if way == "median of all" else train)
        if way == "median and flag":
            return _with_flags(train, fill), _with_flags(test, fill)
        return fill(train), fill(test)
    raise ValueError(f"{way!r} is not a way to fill gaps.")


@cache
def _churn() -> tuple[pd.DataFrame, Numbers]:
    data = load_churn()
    table = pd.concat([data.train, data.test], ignore_index=True)
    return table, table.pop("label").to_numpy()


def gaps(share: float, mechanism: str, seed: int) -> dict[str, float]:
    """Empty cells of the churn table, and fill them in each way.

    Parameters
    ----------
    share, mechanism
        As for `make_gaps`.
    seed : int
        Draws the cells and the fifth of the customers to test on.

    Returns
    -------
    dict
        AUC as ``model/way/test``, where the test rows have gaps too, or are whole;
        and how many rows each way trains on.
    """
    table, labels = _churn()
    holed = make_gaps(table, share, mechanism, seed)
    kept, held_out = group_folds(labels, table.index, 5, seed)[0]
    draw: dict[str, float] = {}
    for way in WAYS:
        train, with_gaps = fill_gaps(way, holed.iloc[kept], holed.iloc[held_out])
        whole = fill_gaps(way, holed.iloc[kept], table.iloc[held_out])[1]
        draw[f"rows/{way}"] = float(len(train))
        for name, model in (
            ("logistic", table_logistic_regression()),
            ("lightgbm", table_lightgbm(seed)),
        ):
            known = labels[train.index]
            if len(np.unique(known)) == 2:
                model.fit(train, known)
            for part, test in (("gaps", with_gaps), ("whole", whole)):
                scores = np.zeros(len(test))  # nothing to learn from: all the same
                if len(np.unique(known)) == 2:
                    scores = model.predict_proba(test)[:, 1]
                draw[f"{name}/{way}/{part}"] = auc(labels[held_out], scores)
    return draw

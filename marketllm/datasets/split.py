"""Splits that keep together what belongs together."""

import hashlib
import json
from collections.abc import Collection, Hashable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from marketllm.datasets.card import _plain

Rows = NDArray[np.intp]


def copy_key(text: str) -> str:
    """Reduce a text so that copies of it become equal.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text without differences in spaces or in upper and lower case.
    """
    return " ".join(text.split()).casefold()


def row_groups(frame: pd.DataFrame) -> list[str]:
    """Name each row so that equal rows have equal names, and others have not.

    Rows are equal if all their cells are; missing cells equal each other. Leave out
    the label, and the number of a customer, if rows are to be compared without them.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any table of text, numbers and dates.

    Returns
    -------
    list of str
        A name for each row, to be used as its group in `group_folds`. It depends on
        the row alone, not on where it stands.

    Raises
    ------
    ValueError
        If there are no columns, or a cell is neither text nor a number nor a date.
    """
    if frame.shape[1] == 0:
        raise ValueError("The frame has 0 columns, expected 1 or more to compare.")
    columns = [_plain(str(name), column) for name, column in frame.items()]
    return [
        hashlib.sha256(json.dumps(row).encode("ascii")).hexdigest()
        for row in zip(*columns, strict=True)
    ]


def group_folds(
    labels: Collection[Any], groups: Collection[Any], n_folds: int, seed: int = 0
) -> list[tuple[Rows, Rows]]:
    """Cut rows into folds: whole groups in one fold, each class spread evenly.

    The groups are shuffled, the largest come first, and each goes to the fold that
    has fewest rows of its classes so far. Only whole numbers are compared, so the
    folds are the same on every machine.

    Parameters
    ----------
    labels : array-like of shape (N,)
        The class of each row.
    groups : array-like of shape (N,)
        Rows with the same value stay together: copies of a text, for example.
    n_folds : int
        Number of folds, at least 2.
    seed : int
        Fixes the shuffle.

    Returns
    -------
    list of tuple of ndarray
        For each fold the rows outside it, to train on, and the rows in it.

    Raises
    ------
    ValueError
        If labels and groups differ in number, or there are fewer groups than folds.

    Notes
    -----
    scikit-learn has ``StratifiedGroupKFold`` for this, but before version 1.8 its
    shuffle mixed the groups up (pull request 32540), and readers have older ones.
    """
    values, classes = np.unique(np.asarray(labels), return_inverse=True)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(classes) != len(members):
        raise ValueError(
            f"{len(classes)} labels but {len(members)} groups: give one of each a row."
        )
    if not 2 <= n_folds <= len(names):
        raise ValueError(
            f"n_folds is {n_folds} with {len(names)} groups: give at least 2, and no "
            "more than there are groups."
        )
    counts = np.zeros((len(names), len(values)), dtype=np.int64)
    np.add.at(counts, (members, classes), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    filled = np.zeros((n_folds, len(values)), dtype=np.int64)
    fold_of = np.empty(len(names), dtype=np.int64)
    for group in order:
        of_its_classes, of_all = filled @ counts[group], filled.sum(axis=1)
        fold = np.lexsort((of_all, of_its_classes))[0]  # ties: fewest rows, then first
        fold_of[group] = fold
        filled[fold] += counts[group]
    folds = fold_of[members]
    return [
        (np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
        for fold in range(n_folds)
    ]


def _tied(*columns: Sequence[Hashable]) -> NDArray[np.int32]:
    """Give a number to each group of rows that are tied by a key of any column."""
    n_rows = len(columns[0])
    numbers: dict[tuple[int, Hashable], int] = {}
    rows, nodes = [], []
    for number, column in enumerate(columns):
        for row, key in enumerate(column):
            rows.append(row)
            nodes.append(n_rows + numbers.setdefault((number, key), len(numbers)))
    size = n_rows + len(numbers)
    graph = coo_array((np.ones(len(rows)), (rows, nodes)), shape=(size, size))
    groups: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups[:n_rows]


def _check_fraction(fraction: float) -> None:
    """Refuse a share of the test part that leaves too little on either side."""
    if not 0.05 <= fraction <= 0.95:
        raise ValueError(
            f"test_fraction is {fraction}, expected 0.05 to 0.95. Try 0.2."
        )


def _choose_test(
    name: str,
    labels: Sequence[int],
    groups: Collection[Any],
    fraction: float,
    seed: int,
    what: str,
) -> NDArray[np.bool_]:
    """Choose the test rows: some folds out of all, whole groups only.

    The fraction is rounded to one with a denominator of at most 20. `name` is that
    of the data and `what` that of the groups, for the message.
    """
    _check_fraction(fraction)
    share = Fraction(fraction).limit_denominator(20)
    outcomes, members = np.asarray(labels), np.asarray(groups)
    counts = [len(np.unique(members[outcomes == value])) for value in (0, 1)]
    is_test = np.zeros(len(outcomes), dtype=np.bool_)
    if min(counts) >= share.denominator:
        folds = group_folds(outcomes, members, share.denominator, seed)
        for _, chosen in folds[: share.numerator]:
            is_test[chosen] = True
    if any(len(np.unique(outcomes[side])) < 2 for side in (is_test, ~is_test)):
        raise ValueError(
            f"{name}: too few rows to split: label 0 has {counts[0]} and label 1 has "
            f"{counts[1]} separate groups ({what}), expected at least "
            f"{share.denominator} of each for test_fraction={fraction}. Add rows or "
            "choose a fraction such as 0.5."
        )
    return is_test


def _parts(
    frame: pd.DataFrame, is_test: NDArray[np.bool_]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the rows to train on and the rows to test on, each numbered from 0."""
    train, test = frame[~is_test], frame[is_test]
    return train.reset_index(drop=True), test.reset_index(drop=True)


def _choose_latest(
    name: str, dates: "pd.Series[Any]", fraction: float
) -> NDArray[np.bool_]:
    """Choose the rows of the latest days, nearest to a fraction of all rows."""
    days = dates.dt.normalize()
    counts = days.value_counts().sort_index()
    if len(counts) < 2:
        raise ValueError(
            f"{name}: all dates are {days.iloc[0]:%Y-%m-%d}, expected 2 or more days "
            "to split by time. Leave date= out or add rows."
        )
    n_later = counts[::-1].cumsum()[::-1].iloc[1:]  # rows from each day on
    first = (n_later - fraction * len(dates)).abs().idxmin()
    return (days >= first).to_numpy()

"""Splits that keep together what belongs together."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

"""Rated sentences, their raters, and clauses that we have read."""

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marketllm.datasets import (
    Dataset,
    group_folds,
    load_fine_food_reviews,
    load_rated_sentences,
)
from marketllm.datasets.rated_sentences import _RATINGS, _TEXTS, _home, _read
from marketllm.experiments.applications.clauses import CLAUSES
from marketllm.experiments.frozen import all_reviews
from marketllm.marketing.sentiment import split_clauses


@cache
def sentences() -> Dataset:
    """Load the rated sentences, once a process.

    Returns
    -------
    Dataset
    """
    return load_rated_sentences()


def validation_cut() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut a fifth of the training reviews off; sentences of a review stay together.

    Returns
    -------
    tuple of DataFrame
        The sentences to train on and those to validate with.
    """
    train = sentences().train
    kept, held_out = group_folds(np.zeros(len(train)), train["review"], 5)[0]
    return train.iloc[kept], train.iloc[held_out]


@cache
def clauses() -> tuple[str, ...]:
    """Give the clauses that we have read, in the order of `CLAUSES`.

    Returns
    -------
    tuple of str
    """
    texts = load_fine_food_reviews().train["text"]
    return tuple(
        split_clauses(texts[row])[number]
        for rows in CLAUSES.values()
        for row, number, _ in rows
    )


def reviews_of(product: str) -> list[str]:
    """Give the fine-food reviews, of both parts, that name a thing at least twice.

    Parameters
    ----------
    product : str
        One of `PRODUCTS`.

    Returns
    -------
    list of str
        In the order of the parts.
    """
    texts = all_reviews()[0]["text"]
    return texts[texts.str.lower().str.count(rf"\b{product}\b") >= 2].tolist()


def ratings(part: pd.DataFrame) -> NDArray[np.int64]:
    """Read the single ratings of some sentences.

    Parameters
    ----------
    part : DataFrame
        The training or the test part.

    Returns
    -------
    ndarray of shape (N, 20)
        Whole numbers from -4 to 4. A column need not be one person throughout.
    """
    files = _read(_home())
    names = [
        (name, text)
        for line in files[_TEXTS].decode("utf-8").split("\r\n")
        for name, _, text in [line.split("\t")]
    ]
    given = {}
    for line in files[_RATINGS].decode("utf-8-sig").split("\r\n"):
        name, _, _, each = line.split("\t")
        given[name] = json.loads(each)
    reviews = set(part["review"])
    kept = [(n, t) for n, t in names if int(n.partition("_")[0]) in reviews]
    if [text for _, text in kept] != part["text"].tolist():
        raise ValueError("the sentences of the part and of the file differ in order.")
    return np.array([given[name] for name, _ in kept])


def agreement() -> dict[str, Any]:
    """Tell how far people agree about the test sentences.

    Returns
    -------
    dict
        Squared errors, variances, and shares of ratings and of sentences.
    """
    each = ratings(sentences().test)
    n_people = each.shape[1]
    others = (each.sum(axis=1, keepdims=True) - each) / (n_people - 1)
    mean = each.mean(axis=1)
    both = (each.max(axis=1) > 0) & (each.min(axis=1) < 0)
    clear = np.abs(others) >= 0.5
    side = np.sign(each) * np.sign(others)
    pairs = [np.corrcoef(a, b)[0, 1] for a, b in zip(each.T, others.T, strict=True)]
    return {
        "n_raters": n_people,
        "one_against_others_mse": round(float(np.mean((each - others) ** 2)), 4),
        "noise_of_the_mean": round(float(each.var(axis=1, ddof=1).mean()) / 20, 4),
        "variance_of_the_mean": round(float(mean.var()), 4),
        "correlation_one_others": round(float(np.mean(pairs)), 4),
        "share_with_both_signs": round(float(both.mean()), 4),
        "clear_same_side": round(float((side[clear] > 0).mean()), 4),
        "clear_zero": round(float((side[clear] == 0).mean()), 4),
        "clear_other_side": round(float((side[clear] < 0).mean()), 4),
    }

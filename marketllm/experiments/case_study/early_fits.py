"""What is fitted before the split, and how much that flatters."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from marketllm.datasets import load_churn, load_fine_food_reviews
from marketllm.evaluation import auc

Numbers = Any
Task = tuple[Numbers, Numbers, Any]  # inputs, labels, the step that is fitted early

N_FEW = 300  # rows, cut in three
N_NOISE = 2000  # columns of noise, or more words than that
N_BEST = 20  # of which so many are kept


def early_fit(
    inputs: Numbers, labels: Numbers, step: Any, seed: int
) -> dict[str, float]:
    """Fit a step before the split and after it, with logistic regression behind.

    The rows are cut in three: to train, to test, and fresh ones that no step has
    seen in either case. The score on these is what the model is worth.

    Parameters
    ----------
    inputs, labels : array-like of shape (N, ...)
        What the step reads, and the classes, 0 or 1.
    step : transformer of scikit-learn
        Scaler, vectoriser or selection; its ``fit`` is given the labels too.
    seed : int
        Fixes the cut.

    Returns
    -------
    dict
        AUC: ``before/test``, ``before/fresh``, ``after/test``, ``after/fresh``.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    train, test, fresh = np.array_split(order, 3)
    found = {}
    for when in ("before", "after"):
        rows = np.concatenate([train, test]) if when == "before" else train
        step.fit(inputs[rows], labels[rows])
        model = LogisticRegression(max_iter=2000)
        model.fit(step.transform(inputs[train]), labels[train])
        for part, chosen in (("test", test), ("fresh", fresh)):
            scores = model.decision_function(step.transform(inputs[chosen]))
            found[f"{when}/{part}"] = auc(labels[chosen], scores)
    return found


def _some(inputs: Numbers, labels: Numbers, n_rows: int | None, seed: int) -> Any:
    rows = np.random.default_rng(100 + seed).permutation(len(labels))[:n_rows]
    return inputs[rows], labels[rows]


def _churn(n_rows: int | None, seed: int) -> Task:
    data = load_churn()
    table = pd.concat([data.train, data.test])
    numbers = table.drop(columns="label").select_dtypes("number").to_numpy(float)
    step = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return *_some(numbers, table["label"].to_numpy(), n_rows, seed), step


def _texts(step: Any, n_rows: int | None, seed: int) -> Task:
    data = load_fine_food_reviews()
    table = pd.concat([data.train, data.test])
    texts = table["text"].to_numpy(dtype=object)
    return *_some(texts, table["label"].to_numpy(), n_rows, seed), step


def _tfidf(seed: int) -> Task:
    return _texts(TfidfVectorizer(min_df=2, sublinear_tf=True), None, seed)


def _words(seed: int) -> Task:
    step = make_pipeline(CountVectorizer(binary=True), SelectKBest(chi2, k=N_BEST))
    return _texts(step, N_FEW, seed)


def _noise(seed: int) -> Task:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(N_FEW, N_NOISE))
    return inputs, rng.integers(0, 2, N_FEW), SelectKBest(f_classif, k=N_BEST)


def _scaler(seed: int) -> Task:
    return _churn(None, seed)


def _scaler_few(seed: int) -> Task:
    return _churn(N_FEW, seed)


# Name: how many seeds, and what gives the task.
EARLY: dict[str, tuple[int, Callable[[int], Task]]] = {
    "median and scaler, all of churn": (20, _scaler),
    "median and scaler, 300 rows of churn": (50, _scaler_few),
    "weights of words, fine food": (5, _tfidf),
    "best 20 words, 300 rows of fine food": (50, _words),
    "best 20 of 2,000 columns of noise": (50, _noise),
}

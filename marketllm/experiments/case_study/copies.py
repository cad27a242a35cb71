"""The Chinese reviews with their copies, and a lookup table that learns nothing."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from marketllm.datasets import chinese_reviews, copy_key, group_folds
from marketllm.evaluation import accuracy, auc

Numbers = Any
Draw = dict[str, float]

CHARACTERS = {"analyzer": "char", "ngram_range": (1, 3), "min_df": 3}
C = 5.0  # by three folds of the distinct training reviews, among 1, 2, 5, 10, 20


@cache
def raw_reviews() -> tuple[Numbers, Numbers, Numbers]:
    """Read all lines of the Chinese corpus, copies included.

    Returns
    -------
    tuple of ndarray
        Texts, the keys by which copies are equal, and labels.
    """
    rows = [
        (line, label)
        for label, name, expected in chinese_reviews._FILES
        for line in chinese_reviews._lines(name, expected)
    ]
    texts = np.array([text for text, _ in rows], dtype=object)
    keys = np.array([copy_key(text) for text in texts], dtype=object)
    return texts, np.unique(keys, return_inverse=True)[1], np.array(rows)[:, 1] == "1"


class _LookupTable:
    """Learns nothing: gives a copy the label it had, and all others the majority."""

    def fit(self, keys: Numbers, labels: Numbers) -> "_LookupTable":
        """Note how often each text was praise."""
        self.shares = pd.Series(labels).groupby(keys).mean()
        self.majority = float(np.mean(labels) > 0.5)
        return self

    def predict(self, keys: Numbers) -> Numbers:
        """Give the label noted; where the notes are undecided, the majority."""
        shares = self.shares.reindex(keys).to_numpy()
        undecided = np.isnan(shares) | (shares == 0.5)
        return np.where(undecided, self.majority, shares > 0.5).astype(int)


def _classify(texts: Numbers, labels: Numbers, test: Numbers) -> Numbers:
    """Give the probability of praise by TF-IDF on characters."""
    weigh = TfidfVectorizer(sublinear_tf=True, **CHARACTERS)
    model = LogisticRegression(C=C, max_iter=1000)
    model.fit(weigh.fit_transform(texts), labels)
    return model.predict_proba(weigh.transform(test))[:, 1]


def random_rows(seed: int) -> Draw:
    """Split the lines as they are, and tell seen from unseen test lines.

    Parameters
    ----------
    seed : int
        Fixes the split.

    Returns
    -------
    dict
        ``share seen``, and the share right of each model among all, seen and unseen
        lines.
    """
    texts, keys, labels = raw_reviews()
    order = np.random.default_rng(seed).permutation(len(keys))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    seen = np.isin(keys[test], keys[train])
    found: Draw = {"share seen": float(seen.mean())}
    chosen = {
        "lookup": _LookupTable().fit(keys[train], labels[train]).predict(keys[test]),
        "tfidf": _classify(texts[train], labels[train], texts[test]) >= 0.5,
    }
    for name, predicted in chosen.items():
        right = predicted == labels[test]
        found |= {f"random rows/{name}/all": float(right.mean())}
        found |= {f"random rows/{name}/seen": float(right[seen].mean())}
        found |= {f"random rows/{name}/unseen": float(right[~seen].mean())}
    return found


def distinct(seed: int) -> Draw:
    """Test on texts that are new and have one label; vary what is trained on.

    Parameters
    ----------
    seed : int
        Fixes the split.

    Returns
    -------
    dict
        Accuracy and AUC for each way to choose the training lines.
    """
    texts, keys, labels = raw_reviews()
    table = pd.DataFrame({"key": keys, "label": labels})
    both = table.groupby("key")["label"].transform("nunique").to_numpy() > 1
    first = ~table.duplicated("key").to_numpy()
    once = ~table.duplicated().to_numpy()  # a contradictory text: once a label
    clean = np.flatnonzero(first & ~both)
    kept, held_out = group_folds(labels[clean], keys[clean], 5, seed)[0]
    test = clean[held_out]
    outside = ~np.isin(keys, keys[test])
    found: Draw = {}
    for name, rows in {
        "once": clean[kept],
        "copies": np.flatnonzero(outside & ~both),
        "once, contradictions": np.flatnonzero(outside & once),
        "copies, contradictions": np.flatnonzero(outside),
    }.items():
        scores = _classify(texts[rows], labels[rows], texts[test])
        found[f"{name}/accuracy"] = accuracy(labels[test], scores >= 0.5)
        found[f"{name}/auc"] = auc(labels[test], scores)
    table_of_texts = _LookupTable().fit(keys[outside], labels[outside])
    guessed = table_of_texts.predict(keys[test])
    return found | {"lookup/accuracy": accuracy(labels[test], guessed)}


def count_copies() -> dict[str, Any]:
    """Count the copies of the Chinese corpus.

    Returns
    -------
    dict
        Lines, different lines and texts, and those that stand under both labels.
    """
    texts, keys, labels = raw_reviews()
    table = pd.DataFrame({"key": keys, "label": labels})
    both = table.groupby("key")["label"].transform("nunique") > 1
    return {
        "lines": len(texts),
        "different lines": len(set(texts)),
        "different texts": int(table["key"].nunique()),
        "texts with both labels": int(table["key"][both].nunique()),
        "lines of these": int(both.sum()),
        "share of praise": round(float(np.mean(labels)), 4),
    }

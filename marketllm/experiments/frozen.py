"""Reviews read once by a published encoder, and regressions on its vectors."""

import hashlib
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from marketllm.baselines import CANDIDATE_C, tfidf_logistic_regression
from marketllm.batches import pad
from marketllm.datasets import copy_key, group_folds, load_fine_food_reviews
from marketllm.evaluation import auc
from marketllm.explain import residual_stream
from marketllm.models import masked_mean
from marketllm.pretrained import SentenceEncoder, load_minilm

Numbers = NDArray[Any]
WORDS = "tfidf"
POOLING = ("mean", "first")  # over all real tokens, or the vector of [CLS]
SHIPPED = "layer 6, mean"  # what the makers of MiniLM use
CANDIDATES = {WORDS: CANDIDATE_C, "vectors": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)}
LAYERS = [f"layer {layer}, {name}" for name in POOLING for layer in range(7)]
LAYERS.remove("layer 0, first")  # the same for every text: [CLS] at place 0
BATCH_SIZE = 32


@cache
def encoder() -> SentenceEncoder:
    """Load MiniLM, once a process.

    Returns
    -------
    SentenceEncoder
        With the weights it was published with.
    """
    return load_minilm()


def weights_digest(encoder: SentenceEncoder) -> str:
    """Give a SHA-256 of all weights, whatever they are called.

    Parameters
    ----------
    encoder : SentenceEncoder
        A published encoder.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    weights = encoder.model.state_dict().values()
    parts = (hashlib.sha256(weight.numpy().tobytes()).digest() for weight in weights)
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()


@cache
def all_reviews() -> tuple[pd.DataFrame, int]:
    """Load the reviews in one table.

    Returns
    -------
    tuple
        The table, those to train on first, and their number.
    """
    data = load_fine_food_reviews()
    return pd.concat([data.train, data.test], ignore_index=True), len(data.train)


@torch.inference_mode()
def read(texts: Sequence[str]) -> dict[str, Numbers]:
    """Read texts once, and keep a vector for each layer and pooling.

    Parameters
    ----------
    texts : sequence of str
        N texts; short ones are read together.

    Returns
    -------
    dict of str to ndarray of shape (N, D)
        For each name of `LAYERS`; all vectors have length 1.
    """
    minilm = encoder()
    ids = minilm.ids(texts)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    found: dict[str, Numbers] = {}
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        batch = pad([ids[row] for row in rows], minilm.model.config.pad_id)
        real = (batch != minilm.model.config.pad_id).unsqueeze(-1)
        for layer, x in enumerate(residual_stream(minilm.model, batch)):
            pooled = masked_mean(x, real), x[:, 0]
            for name, vectors in zip(POOLING, pooled, strict=True):
                title = f"layer {layer}, {name}"
                if title not in found:
                    found[title] = np.empty((len(ids), x.shape[-1]), np.float32)
                found[title][rows] = F.normalize(vectors, dim=-1).numpy()
    return {way: found[way] for way in LAYERS}


@cache
def all_vectors() -> tuple[dict[str, Numbers], float]:
    """Read all reviews, once a process.

    Returns
    -------
    tuple
        Their vectors as `read` gives them, and how many CPU seconds that took.
    """
    started = time.process_time()
    found = read(all_reviews()[0]["text"].tolist())
    return found, time.process_time() - started


def _see(way: str, ours: Numbers, theirs: Numbers) -> tuple[Any, Any]:
    """Give what a way knows of the rows it learns from, and of others."""
    if way == WORDS:
        texts = all_reviews()[0]["text"]
        weigh = tfidf_logistic_regression()["weigh"]
        return weigh.fit_transform(texts[ours]), weigh.transform(texts[theirs])
    table = all_vectors()[0][way]
    scale = StandardScaler().fit(table[ours].astype(float))
    return scale.transform(table[ours]), scale.transform(table[theirs])


def candidates(way: str) -> tuple[float, ...]:
    """List the values of C that are tried.

    Parameters
    ----------
    way : str
        A name of `LAYERS`, or `WORDS`.

    Returns
    -------
    tuple of float
        As many for the one as for the other.
    """
    return CANDIDATES[WORDS if way == WORDS else "vectors"]


def _regression(way: str, c: float) -> LogisticRegression:
    solver = "lbfgs" if way == WORDS else "newton-cholesky"  # for few, dense columns
    return LogisticRegression(C=c, max_iter=1000, solver=solver)


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def choose(ways: Sequence[str], rows: Numbers) -> tuple[str, float, list[float]]:
    """Choose a way and its C by cross-validation: five folds, copies kept together.

    Parameters
    ----------
    ways : sequence of str
        Names of `LAYERS`, or `WORDS`.
    rows : ndarray of shape (N,)
        The reviews whose labels may be used.

    Returns
    -------
    tuple
        The way and the C with the best mean AUC, and its AUC on each fold.
    """
    table = all_reviews()[0].iloc[rows]
    labels = table["label"].to_numpy()
    folds = group_folds(labels, table["text"].map(copy_key), 5)
    found: dict[tuple[str, float], list[float]] = {}
    for way in ways:
        for kept, held_out in folds:
            ours, theirs = _see(way, rows[kept], rows[held_out])
            for c in candidates(way):
                model = _regression(way, c).fit(ours, labels[kept])
                scores = model.decision_function(theirs)
                value = auc(labels[held_out], scores)
                found.setdefault((way, c), []).append(round(value, 4))
    way, c = max(found, key=lambda key: np.mean(found[key]))
    return way, c, found[way, c]


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def score(ways: Sequence[str], rows: Numbers) -> tuple[Numbers, str, float]:
    """Learn from some reviews, and score the test reviews.

    Parameters
    ----------
    ways : sequence of str
        What `choose` may choose from.
    rows : ndarray of shape (N,)
        The reviews to learn from.

    Returns
    -------
    tuple
        Log-odds of the test reviews, and the way and the C that were chosen.
    """
    table, n_train = all_reviews()
    way, c, _ = choose(ways, rows)
    ours, theirs = _see(way, rows, np.arange(n_train, len(table)))
    model = _regression(way, c).fit(ours, table["label"][rows])
    return model.decision_function(theirs), way, c

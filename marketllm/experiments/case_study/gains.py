"""Single runs of the experiment `improving`, and what is computed from several."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from marketllm.evaluation import accuracy, auc, compare_runs, mean_interval
from marketllm.experiments import frozen
from marketllm.experiments.case_study.small_texts import (
    Body,
    drawn,
    pretrained,
    ranks,
    scores,
    tables,
    train,
)
from marketllm.experiments.case_study.tuning import MANY
from marketllm.experiments.review_task import Settings, brief, measure


def start_body(way: str, seed: int, digest: str | None) -> Body | None:
    """Give the body that a network starts from; refuse one that has become another.

    Parameters
    ----------
    way : str
        "pretrained", or anything else for random weights.
    seed : int
        Which pretrained body.
    digest : str or None
        What the body had when the file was begun.

    Returns
    -------
    Body or None
        Tokenizer and weights; None for random weights.

    Raises
    ------
    ValueError
        If this machine makes other weights than the file was begun with.
    """
    if way != "pretrained":
        return None
    body, facts = pretrained(seed)
    if facts["weights"] != digest:
        raise ValueError(
            f"body {seed} has the digest {facts['weights']} now, but had {digest} when "
            "the file was begun: another processor or other packages. Begin again "
            "with another --folder."
        )
    return body


def learn(
    settings: Settings,
    n_labels: int,
    seed: int,
    extra: int = 0,
    body: Callable[[], Body | None] = lambda: None,
    validate: bool = False,
    keep_scores: bool = True,
) -> dict[str, Any]:
    """Train on drawn reviews, and measure on the test part or the validation part.

    Parameters
    ----------
    settings : dict
        Of the network and its training.
    n_labels : int
        How many reviews are drawn.
    seed : int
        Fixes the draw and the weights.
    extra : int
        Reviews that are drawn beside, the first ones staying the same.
    body : callable
        Returns what to start from, or None.
    validate : bool
        Whether to learn from and to measure on parts of the training part.
    keep_scores : bool
        Whether a run with all labels keeps its scores.

    Returns
    -------
    dict
        Accuracy, AUC, CPU seconds; with all labels also scores and ranks.
    """
    ours, theirs = ("kept", "held out") if validate else ("train", "test")
    table, scored = tables()[ours], tables()[theirs]
    start = body()
    started = time.process_time()
    rows = drawn(table, n_labels, seed, extra)
    trained = train(settings, table.iloc[rows], seed, start)
    facts: dict[str, Any] = {"n_labels": len(rows)}
    facts["seconds"] = round(time.process_time() - started, 1)
    found = scores(trained, scored["text"])
    whole = not validate and n_labels == MANY
    if whole:
        ids = max(map(trained[1].encode, scored["text"]), key=len)
        facts |= ranks(trained[0], torch.tensor([ids[: settings["max_len"]]]))
    judge = measure if whole and keep_scores else brief
    return facts | judge(scored["label"], found)


def learn_words(n_labels: int, seed: int) -> dict[str, Any]:
    """Do the same with TF-IDF and logistic regression.

    Parameters
    ----------
    n_labels : int
        How many reviews are drawn.
    seed : int
        Fixes the draw.

    Returns
    -------
    dict
        Accuracy, AUC, the strength that was chosen, CPU seconds.
    """
    rows = drawn(tables()["train"], n_labels, seed)
    started = time.process_time()
    log_odds, _, c = frozen.score([frozen.WORDS], np.array(rows))
    spent = round(time.process_time() - started, 1)
    facts = {"n_labels": len(rows), "c": c, "seconds": spent}
    judge = measure if n_labels == MANY else brief
    return facts | judge(tables()["test"]["label"], expit(log_odds))


def average(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average runs: mean, low end and high end of the 95% interval by t.

    Parameters
    ----------
    runs : sequence of mapping
        Each with ``accuracy`` and ``auc``.

    Returns
    -------
    dict
        ``n_runs``, and for each metric the three numbers.
    """
    found: dict[str, Any] = {"n_runs": len(runs)}
    for metric in ("accuracy", "auc"):
        values = [float(np.ravel(run[metric])[0]) for run in runs]
        interval = mean_interval(values)
        ends = (interval.estimate, interval.low, interval.high)
        found[metric] = [round(end, 4) for end in ends]
    return found


def compare(first: Sequence[Any], second: Sequence[Any]) -> dict[str, Any]:
    """Compare runs that kept their scores: first minus second.

    Parameters
    ----------
    first, second : sequence of dict
        Runs on the test part.

    Returns
    -------
    dict
        For each metric the difference with its interval, and p.
    """
    labels = tables()["test"]["label"].to_numpy()
    found: dict[str, Any] = {}
    for metric in (accuracy, auc):
        columns = [
            np.array([run["scores"] for run in runs]) for runs in (first, second)
        ]
        if metric is accuracy:
            columns = [(column >= 0.5).astype(int) for column in columns]
        columns = [column[0] if len(column) == 1 else column for column in columns]
        test = compare_runs(metric, labels, columns[0], columns[1])
        ends = (test.difference.estimate, test.difference.low, test.difference.high)
        found[metric.__name__] = [round(end, 4) for end in ends]
        found[f"{metric.__name__} p"] = float(f"{test.p_value:.3g}")
    return found


def gain(first: Sequence[Any], second: Sequence[Any]) -> dict[str, Any]:
    """Average the differences of pairs of runs: first minus second.

    Parameters
    ----------
    first, second : sequence of dict
        Runs in the same order: a pair shares its draw of labels.

    Returns
    -------
    dict
        As of `average`.
    """
    pairs = [
        {m: float(np.ravel(a[m])[0] - np.ravel(b[m])[0]) for m in ("accuracy", "auc")}
        for a, b in zip(first, second, strict=True)
    ]
    return average(pairs)

"""Single runs of the experiment `improving`, and what is computed from several."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from marketllm.evaluation import accuracy, auc, compare_runs, mean_interval
from marketllm.experiments import frozen
from marketllm.experiments.review_task import Settings, brief, measure
from marketllm.experiments.small_texts import (
    Body,
    drawn,
    pretrained,
    ranks,
    scores,
    tables,
    train,
)
from marketllm.experiments.tuning import MANY


def _body(way: str, seed: int, digest: str | None) -> Body | None:
    """Give the body that a network starts from; refuse one that has become another."""
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


def _learn(
    settings: Settings,
    n_labels: int,
    seed: int,
    extra: int = 0,
    body: Callable[[], Body | None] = lambda: None,
    validate: bool = False,
    keep_scores: bool = True,
) -> dict[str, Any]:
    """Train on drawn reviews, and measure on the test part or the validation part."""
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


def _words(n_labels: int, seed: int) -> dict[str, Any]:
    rows = drawn(tables()["train"], n_labels, seed)
    started = time.process_time()
    log_odds, _, c = frozen.score([frozen.WORDS], np.array(rows))
    spent = round(time.process_time() - started, 1)
    facts = {"n_labels": len(rows), "c": c, "seconds": spent}
    judge = measure if n_labels == MANY else brief
    return facts | judge(tables()["test"]["label"], expit(log_odds))


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average runs: mean, low end and high end of the 95% interval by t."""
    found: dict[str, Any] = {"n_runs": len(runs)}
    for metric in ("accuracy", "auc"):
        values = [float(np.ravel(run[metric])[0]) for run in runs]
        interval = mean_interval(values)
        ends = (interval.estimate, interval.low, interval.high)
        found[metric] = [round(end, 4) for end in ends]
    return found


def _compare(first: Sequence[Any], second: Sequence[Any]) -> dict[str, Any]:
    """Compare runs that kept their scores: first minus second."""
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


def _gain(first: Sequence[Any], second: Sequence[Any]) -> dict[str, Any]:
    """Average the differences of pairs of runs: first minus second."""
    pairs = [
        {m: float(np.ravel(a[m])[0] - np.ravel(b[m])[0]) for m in ("accuracy", "auc")}
        for a, b in zip(first, second, strict=True)
    ]
    return _summary(pairs)

"""The verdict: paired tests over the scores of the experiments that went before.

Nothing is trained here. The scores of `texts`, `minilm`, `vectors` and `customers`
are read from their files. In each data set every model is compared with the best
classical one: best on the rows that are scored, which favours it. The p-values of all
these comparisons are corrected together.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketllm.datasets import load_chinese_reviews, load_fine_food_reviews
from marketllm.evaluation import (
    accuracy,
    auc,
    average_precision,
    brier,
    compare_runs,
    holm,
    lift,
)
from marketllm.experiments.case_study.four_sets import ATTRIBUTES, data, parts_of
from marketllm.experiments.runs import Experiment, Run, load

Numbers = NDArray[Any]
SETS = ("fine_food", "chinese", "cdnow", "churn", "caravan", "simulated")
_TEXT = ("majority", "naive_bayes", "tfidf_logistic_regression", "text_lightgbm")
_TABLE = ("majority", "naive_bayes", "logistic_regression", "lightgbm")
CLASSICAL = {
    "fine_food": _TEXT,
    "chinese": _TEXT,
    "cdnow": (*_TABLE, "bgnbd"),
    "churn": _TABLE,
    "caravan": _TABLE,
    "simulated": _TABLE,
}
# They know what no model may know, and are in no comparison.
KNOWING = ("rule", "logistic_regression_and_rule", "ceiling")
NO_CHANCE = ("bgnbd",)  # expected purchases: no threshold, no Brier score
# Runs of other experiments on the fine-food reviews.
ELSEWHERE = {
    "minilm_tuned": ("minilm", "4000 labels"),
    "minilm_frozen": ("vectors", "best layer"),
    "minilm_frozen_and_tfidf": ("vectors", "both"),
}
N_RESAMPLES = 400
N_LABELS = 4000


def _results(name: str) -> dict[str, Any]:
    return {title: run["result"] for title, run in load(name)["runs"].items()}


@cache
def labels_of(name: str) -> Numbers:
    """Give the classes of the rows that are scored in a data set.

    Parameters
    ----------
    name : str
        One of `SETS`.

    Returns
    -------
    ndarray of shape (N,)
    """
    if name in ATTRIBUTES:
        return data(name)[0].labels
    if name in ("cdnow", "simulated"):
        return parts_of(name)[1].labels
    loaded = load_fine_food_reviews if name == "fine_food" else load_chinese_reviews
    return loaded().test["label"].to_numpy()


def runs_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """Collect the runs of each model on a data set.

    Parameters
    ----------
    name : str
        One of `SETS`.

    Returns
    -------
    dict of str to list of dict
        The results of a model, one for each seed.
    """
    texts = name in ("fine_food", "chinese")
    found: dict[str, list[dict[str, Any]]] = {}
    for title, result in _results("texts" if texts else "customers").items():
        if title.startswith(f"{name}/"):
            found.setdefault(title.split("/")[1], []).append(result)
    if name == "fine_food":
        for model, (book, start) in ELSEWHERE.items():
            others = _results(book)
            titles = [t for t in others if t == start or f"{start}/" in t]
            found[model] = [others[title] for title in titles]
            if "reading" in others:  # the time that MiniLM reads is most of it
                spent = others["reading"]["cpu_seconds_per_1000"]
                times = {"cpu_seconds_to_train": spent * N_LABELS / 1000}
                times["cpu_seconds_per_1000"] = spent
                found[model] = [r | times for r in found[model]]
    return found


def scores_of(runs: list[dict[str, Any]]) -> Numbers:
    """Put the scores of a model's runs into a table.

    Parameters
    ----------
    runs : list of dict
        From `runs_of`.

    Returns
    -------
    ndarray of shape (S, N) or (N,)
        One row a run; a model that ran once has only one axis.
    """
    table = np.array([run["scores"] for run in runs])
    return table[0] if len(table) == 1 else table


def _ends(found: Any, shift: float = 0.0) -> list[float]:
    interval = found.difference
    ends = (interval.estimate, interval.low, interval.high)
    return [round(end + shift, 4) for end in ends]


def _classes(scores: Numbers) -> Numbers:
    return (scores >= 0.5).astype(int)


def _measure(name: str, model: str) -> dict[str, Any]:
    """Average each metric over the runs, with the interval of the AUC."""
    labels, runs = labels_of(name), runs_of(name)[model]
    scores = scores_of(runs)
    metrics = {"auc": auc, "average_precision": average_precision, "lift": lift}
    classes = {} if model in NO_CHANCE else {"accuracy": accuracy, "brier": brier}
    found: dict[str, Any] = {"n_runs": len(runs)}
    for key, metric in (metrics | classes).items():
        rows = [_classes(r) if key == "accuracy" else r for r in np.atleast_2d(scores)]
        values = [float(metric(labels, row)) for row in rows]
        found[key] = round(float(np.mean(values)), 4)
        found[f"{key} of runs"] = [round(value, 4) for value in values]
    # Equal scores have an AUC of one half in any draw of the rows.
    nothing = np.zeros(len(labels))
    against = compare_runs(auc, labels, scores, nothing, N_RESAMPLES)
    found["auc interval"] = _ends(against, 0.5)
    for key in ("cpu_seconds_to_train", "cpu_seconds_per_1000"):
        found[key] = round(float(np.mean([run[key] for run in runs])), 3)
    return found


def _compare(name: str, model: str, best: str) -> dict[str, Any]:
    """Compare a model with the best classical one: first minus second."""
    labels, runs = labels_of(name), runs_of(name)
    ours, theirs = scores_of(runs[model]), scores_of(runs[best])
    found = compare_runs(auc, labels, ours, theirs, N_RESAMPLES)
    result: dict[str, Any] = {"auc": _ends(found), "p": found.p_value}
    if not {model, best} & set(NO_CHANCE):
        pair = _classes(ours), _classes(theirs)
        result["accuracy"] = _ends(compare_runs(accuracy, labels, *pair, N_RESAMPLES))
    return result


def _corrected(results: Mapping[str, float]) -> dict[str, Any]:
    return {"p": dict(zip(results, holm(list(results.values())), strict=True))}


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the metrics, then the comparisons, then their correction."""
    p_values = {}
    for name in SETS:
        models = runs_of(name)
        for model in models:
            title, config = f"{name}/{model}", {"data": name, "model": model}
            yield Run(title, config, partial(_measure, name, model))
        best = max((finished[f"{name}/{m}"]["auc"], m) for m in CLASSICAL[name])[1]
        for model in models:
            if model == best or model in KNOWING:
                continue
            title = f"{name}/{model} minus {best}"
            config = {"data": name, "model": model, "best": best}
            yield Run(title, config, partial(_compare, name, model, best))
            p_values[title] = finished[title]["p"]
    yield Run("holm", {"n_tests": len(p_values)}, partial(_corrected, p_values))


def _fingerprints() -> dict[str, str]:
    """Tell the files by what they hold."""
    found = {}
    for name in ("texts", "minilm", "vectors", "customers"):
        text = json.dumps(_results(name), sort_keys=True)
        found[name] = hashlib.sha256(text.encode()).hexdigest()
    return found


VERDICT = Experiment(
    name="verdict",
    about="paired tests of all models on texts and customers, corrected together",
    fingerprints=_fingerprints,
    runs=_plan,
)

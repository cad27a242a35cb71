"""Data quality: what copies, gaps, wrong labels and fitting too early do to a score.

Each fault is put into the training part alone, or removed from it, with everything
else left as it was, and judged on a test part without it: no copy of a training
row, no wrong label. Beside it stands the score that a user with the fault in both
parts would have seen. Seeds are splits (Chinese reviews, churn, fine food) or new
customers (simulated); differences are taken within a seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from marketllm.datasets import (
    fingerprint,
    load_chinese_reviews,
    load_churn,
    load_fine_food_reviews,
)
from marketllm.evaluation import mean_interval
from marketllm.experiments.case_study.copies import (
    CHARACTERS,
    C,
    count_copies,
    distinct,
    random_rows,
)
from marketllm.experiments.case_study.early_fits import EARLY, early_fit
from marketllm.experiments.case_study.faults import (
    COPIES,
    NOISE,
    SIMULATED,
    SUSPECT,
    copies,
    noise,
)
from marketllm.experiments.case_study.gaps import GAPS, WAYS, gaps
from marketllm.experiments.runs import Experiment, Run

Draw = dict[str, float]
SEEDS = (0, 1, 2, 3, 4)


def summary(
    draws: Sequence[Draw], pairs: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Average the draws, and the differences within them, with intervals by t.

    Parameters
    ----------
    draws : sequence of dict
        One a seed; all with the same names.
    pairs : mapping
        Name of a difference to the names of what is subtracted: first minus second.

    Returns
    -------
    dict
        ``values``: each name's numbers, one a seed; ``mean`` and ``difference``:
        mean, low end and high end of the 95% interval.
    """
    values = {name: [float(draw[name]) for draw in draws] for name in draws[0]}

    def ends(numbers: Sequence[float]) -> list[float]:
        found = mean_interval(numbers)
        return [round(end, 5) for end in (found.estimate, found.low, found.high)]

    return {
        "values": {name: np.round(row, 5).tolist() for name, row in values.items()},
        "mean": {name: ends(row) for name, row in values.items()},
        "difference": {
            name: ends(np.subtract(values[first], values[second]).tolist())
            for name, (first, second) in pairs.items()
        },
    }


def _against(draw: Draw, clean: str) -> dict[str, tuple[str, str]]:
    """Pair each name with that of the clean treatment: model/treatment/metric."""
    parts = [name.split("/") for name in draw if name.count("/") == 2]
    return {
        f"{model}/{way} minus {clean}/{metric}": (
            f"{model}/{way}/{metric}",
            f"{model}/{clean}/{metric}",
        )
        for model, way, metric in parts
        if way != clean and f"{model}/{clean}/{metric}" in draw
    }


def _chinese(seed: int) -> Draw:
    return random_rows(seed) | distinct(seed)


def _chinese_summary(finished: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    draws = [finished[f"chinese/{seed}"] for seed in SEEDS]
    pairs = {
        f"{fault} minus once, {metric}": (f"{fault}/{metric}", f"once/{metric}")
        for fault in ("copies", "once, contradictions", "copies, contradictions")
        for metric in ("accuracy", "auc")
    }
    pairs["inflation, tfidf"] = ("random rows/tfidf/all", "once/accuracy")
    pairs["inflation, lookup"] = ("random rows/lookup/all", "lookup/accuracy")
    return summary(draws, pairs)


def _simulated(kind: str) -> dict[str, Any]:
    """Carry out one kind of fault with all seeds, against the clean training part."""
    work, clean = {"copies": (copies, "none"), "noise": (noise, "0.0")}[kind]
    draws = [work(seed) for seed in SEEDS]
    pairs = _against(draws[0], clean)
    if kind == "noise":
        for share in NOISE:
            for metric in ("accuracy", "auc", "brier"):
                pairs[f"suspects dropped minus kept/{share}/{metric}"] = (
                    f"suspects dropped/{share}/{metric}",
                    f"logistic/{share}/{metric}",
                )
    return summary(draws, pairs)


def _gaps(share: float, mechanism: str) -> dict[str, Any]:
    draws = [gaps(share, mechanism, seed) for seed in SEEDS]
    return summary(draws, _against(draws[0], "median of train"))


def _early(name: str) -> dict[str, Any]:
    n_seeds, task = EARLY[name]
    draws = [early_fit(*task(seed), seed) for seed in range(n_seeds)]
    pairs = {
        "before minus after, test": ("before/test", "after/test"),
        "before minus after, fresh": ("before/fresh", "after/fresh"),
        "test minus fresh, before": ("before/test", "before/fresh"),
        "test minus fresh, after": ("after/test", "after/fresh"),
    }
    return summary(draws, pairs)


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the Chinese corpus, copies, gaps, wrong labels, and early fits."""
    yield Run("facts", {"part": "all lines"}, count_copies)
    settings: dict[str, Any] = {"characters": CHARACTERS, "c": C}
    for seed in SEEDS:
        work = partial(_chinese, seed)
        yield Run(f"chinese/{seed}", settings | {"seed": seed}, work)
    work = partial(_chinese_summary, finished)
    yield Run("chinese", {"seeds": SEEDS}, work)
    simulated = {"seeds": SEEDS, "simulated": SIMULATED}
    yield Run("copies", simulated | {"copies": COPIES}, partial(_simulated, "copies"))
    for share, mechanism in GAPS:
        config = {"seeds": SEEDS, "share": share, "mechanism": mechanism, "ways": WAYS}
        yield Run(
            f"gaps/{share}, {mechanism}", config, partial(_gaps, share, mechanism)
        )
    config = simulated | {"shares": NOISE, "suspect": SUSPECT}
    yield Run("noise", config, partial(_simulated, "noise"))
    for name, (n_seeds, _) in EARLY.items():
        yield Run(f"early/{name}", {"n_seeds": n_seeds}, partial(_early, name))


def _fingerprints() -> dict[str, str]:
    found = {}
    for name, load in (
        ("chinese", load_chinese_reviews),
        ("churn", load_churn),
        ("fine food", load_fine_food_reviews),
    ):
        data = load()
        for part in ("train", "test"):
            found[f"{name}, {part}"] = fingerprint(getattr(data, part))
    return found


DATA_QUALITY = Experiment(
    name="data_quality",
    about="copies, gaps, wrong labels and early fits: each fault by itself, judged on "
    "clean test data",
    fingerprints=_fingerprints,
    runs=_plan,
)

"""Which model can use two events far apart: the distance dial, with the truth known.

The label of a simulated customer hangs on one thing: whether a visit stands exactly
so many events after an offer. Another pair stands at another distance beside it, and
every customer has as many offers and visits, so counts and places tell nothing. Half
of the customers have the pair; the chance of label 1 is 0.9 with it and else 0.1.

Each seed draws new customers, to train and to test, and new first weights: intervals
over seeds cover both. All models of a seed see the same customers, and the luck of
the labels is the same at each distance. 500 further customers choose the epoch of a
network, the number of trees, and C. The learning rate of each network was chosen on a
draw of its own, at one distance; the tries are in the file.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, norm, rankdata
from threadpoolctl import threadpool_limits

from marketllm.datasets import (
    SimulatedCustomers,
    distance_dial,
    fingerprint,
    simulate_customers,
)
from marketllm.evaluation import accuracy, auc, holm, mean_interval
from marketllm.experiments.case_study.distance_models import (
    N_CHOOSE,
    N_TEST,
    N_TRAIN,
    TABLES,
    Numbers,
    Scores,
    draw,
    network,
    numbered,
)
from marketllm.experiments.review_task import brief
from marketllm.experiments.runs import Experiment, Run
from marketllm.marketing import SequenceClassifier

GAPS = (1, 4, 12, 32)
SEEDS = (0, 1, 2, 3, 4)
TRY_GAP, TRY_SEED = 4, 100  # a draw that no result comes from
RATES = (0.002, 0.005)
DEPTH_GAP = 12
SHARED = {"d_model": 32, "n_heads": 2, "dropout": 0.0, "n_epochs": 10}
NETWORKS: dict[str, dict[str, Any]] = {
    "rnn": {"kind": "rnn"},
    "lstm": {"kind": "lstm"},
    "transformer, rotary": {"positions": "rotary"},
    "transformer, sinusoidal": {"positions": "sinusoidal"},
    "transformer, learned": {"positions": "learned"},
    "transformer, none": {"positions": "none"},
}
# Deeper, or longer: the name of the network, and what is different.
Variants = dict[str, tuple[str, dict[str, Any]]]
DEEPER: Variants = {
    "lstm, 30 epochs": ("lstm", {"n_epochs": 30}),
    "transformer, rotary, 2 blocks": ("transformer, rotary", {"n_layers": 2}),
    "transformer, learned, 2 blocks": ("transformer, learned", {"n_layers": 2}),
}
N_REDRAWS = 500


def _learn(work: Callable[..., Scores], gap: int, seed: int) -> dict[str, Any]:
    """Let one model learn a draw, and judge it on the new customers of that draw."""
    customers, train, test = draw(gap, seed)
    labels = customers.data.train["label"].to_numpy()
    with threadpool_limits(1):
        started = time.process_time()
        scores, facts = work(train, labels, test)
        seconds = time.process_time() - started
    return judge(customers, scores) | facts | {"cpu_seconds": round(seconds, 2)}


def judge(customers: SimulatedCustomers, scores: Numbers) -> dict[str, Any]:
    """Compare scores of the test customers with the best that can be done.

    Labels are drawn after all else. So whatever a model that has not seen them
    predicts, where it decides against the best rule it is right with the known
    chance 1 - max(p, 1 - p) alone; and how far its AUC lies from that of p follows a
    law that redrawn labels show. Who is right more often than so has seen labels.

    Parameters
    ----------
    customers : SimulatedCustomers
        The draw.
    scores : ndarray of shape (N,)
        Higher for class 1; 0.5 is the threshold.

    Returns
    -------
    dict
        Accuracy, AUC, both minus those of the best rule on these labels, how often
        the two decide otherwise, how often the model is right then, and the distance
        of its AUC from what the truth allows, in standard deviations.
    """
    labels = customers.data.test["label"].to_numpy()
    p = np.asarray(customers.probabilities["test"])
    ceiling = customers.ceiling("test")
    rounded = np.round(np.asarray(scores, dtype=float), 6)
    chosen = (rounded >= 0.5).astype(int)
    otherwise = chosen != (p >= 0.5)
    found: dict[str, Any] = brief(labels, rounded)
    exact = accuracy(labels, chosen), auc(labels, rounded)
    return found | {
        "accuracy_minus_ceiling": round(exact[0] - ceiling.realised_accuracy, 4),
        "auc_minus_ceiling": round(exact[1] - ceiling.realised_auc, 4),
        "n_otherwise": int(otherwise.sum()),
        "n_right_then": int((otherwise & (chosen == labels)).sum()),
        "auc_z": round(_auc_z(labels, p, rounded), 3),
    }


def _auc_z(labels: Numbers, p: Numbers, scores: Numbers) -> float:
    """Place AUC of the scores minus AUC of p among those of redrawn labels."""
    rng = np.random.default_rng(0)
    ranks = rankdata(scores) - rankdata(p)

    def difference(drawn: Numbers) -> float:
        n_ones = drawn.sum()
        return float(ranks @ drawn / (n_ones * (len(drawn) - n_ones)))

    redrawn = [difference(rng.random(len(p)) < p) for _ in range(N_REDRAWS)]
    spread = float(np.std(redrawn, ddof=1))
    # A model that ranks as p does cannot differ from it.
    return (difference(labels) - float(np.mean(redrawn))) / spread if spread else 0.0


def _ceiling(gap: int, seed: int) -> dict[str, Any]:
    """Tell the best possible scores of a draw, and those of the rule that knows it."""
    customers, _, _ = draw(gap, seed)
    found = customers.ceiling("test")
    names = ("accuracy", "auc", "realised_accuracy", "realised_auc")
    rule = judge(customers, customers.rule("test"))
    return {name: round(getattr(found, name), 4) for name in names} | {"rule": rule}


def _summary(results: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Average over seeds, and test all models at once for knowing too much."""
    found: dict[str, Any] = {}
    for name, runs in results.items():
        n, right = (sum(r[k] for r in runs) for k in ("n_otherwise", "n_right_then"))
        z = sum(run["auc_z"] for run in runs) / len(runs) ** 0.5
        found[name] = {"p_accuracy": float(binom.sf(right - 1, n, 0.1))}
        found[name] |= {"p_auc": float(norm.sf(z))}
        for key in ("accuracy", "auc"):
            for metric in (key, f"{key}_minus_ceiling"):
                mean = mean_interval([run[metric] for run in runs])
                ends = (mean.estimate, mean.low, mean.high)
                found[name][metric] = [round(end, 4) for end in ends]
    tests = [(name, key) for name in found for key in ("p_accuracy", "p_auc")]
    corrected = holm([found[name][key] for name, key in tests])
    for (name, key), p in zip(tests, corrected, strict=True):
        found[name][key] = round(found[name][key], 5)
        found[name][f"{key}_holm"] = round(p, 5)
    return found


def _probe() -> dict[str, Any]:
    """Keep a few scores of a short run, so that a test can repeat them in seconds."""
    customers = simulate_customers(distance_dial(DEPTH_GAP, 400, 8), TRY_SEED)
    settings = _settings("transformer, rotary", RATES[1], 0, {"n_epochs": 1})
    events = numbered(customers)
    model = SequenceClassifier(int(events.max()) + 1, events.shape[1], **settings)
    model.fit(events[:400].tolist(), customers.data.train["label"].tolist())
    scores = model.predict_proba(events[400:].tolist())[:, 1]
    return {"scores": scores.round(4).tolist()}


def _sizes(gap: int, seed: int) -> dict[str, Any]:
    return {
        "gap": gap,
        "seed": seed,
        "n_train": N_TRAIN,
        "n_choose": N_CHOOSE,
        "n_test": N_TEST,
    }


def _settings(
    name: str, rate: float, seed: int, more: Mapping[str, Any]
) -> dict[str, Any]:
    own = SHARED | NETWORKS[name] | {"learning_rate": rate, "seed": seed}
    return own | dict(more)


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the tries, then each distance with each seed, depth, and the summary."""
    yield Run("probe", {"gap": DEPTH_GAP, "seed": TRY_SEED}, _probe)
    for name in NETWORKS:
        for rate in RATES:
            settings = _settings(name, rate, TRY_SEED, {})
            yield Run(
                f"try/{name}/{rate}",
                _sizes(TRY_GAP, TRY_SEED) | settings,
                partial(_learn, partial(network, settings), TRY_GAP, TRY_SEED),
            )
    best = {
        name: max(RATES, key=lambda rate: finished[f"try/{name}/{rate}"]["auc"])
        for name in NETWORKS
    }
    cells: dict[str, list[str]] = {}
    for gap in GAPS:
        for seed in SEEDS:
            sizes = _sizes(gap, seed)
            yield Run(f"ceiling/{gap}/{seed}", sizes, partial(_ceiling, gap, seed))
            works: dict[str, tuple[dict[str, Any], Callable[..., Scores]]] = {}
            for name, work in TABLES.items():
                works[name] = ({}, work)
            variants: Variants = {name: (name, {}) for name in NETWORKS}
            if gap == DEPTH_GAP:
                variants |= DEEPER
            else:  # without positions one distance is as good as another
                del variants["transformer, none"]
            for name, (base, more) in variants.items():
                settings = _settings(base, best[base], seed, more)
                works[name] = (settings, partial(network, settings))
            for name, (settings, work) in works.items():
                run = f"{name}/{gap}/{seed}"
                cells.setdefault(f"{name}/{gap}", []).append(run)
                yield Run(run, sizes | settings, partial(_learn, work, gap, seed))
    results = {
        cell: [finished[name] for name in names] for cell, names in cells.items()
    }
    yield Run("summary", {"n_seeds": len(SEEDS)}, partial(_summary, results))


def _fingerprints() -> dict[str, str]:
    """Tell the data by a small draw, which shows a change of the generator."""
    data = simulate_customers(distance_dial(DEPTH_GAP, 20, 20), seed=0).data
    parts = {"train": data.train, "test": data.test, "events": data.events}
    return {name: fingerprint(pd.DataFrame(part)) for name, part in parts.items()}


DISTANCE = Experiment(
    name="distance",
    about="a label that hangs on two events: which model reaches how far",
    fingerprints=_fingerprints,
    runs=_plan,
)

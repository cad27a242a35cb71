"""Does the large model win on customers: many models, four sets of customers.

CDNOW asks who buys again, on one split by customer. The insurer's households and the
telephone customers have attributes only and are judged by five-fold cross-validation,
repeated five times with other folds. Of the simulated customers everything is known:
attributes, events, a message, and the chance of each label. So there is a ceiling.

Nothing is chosen on rows that are scored. Each run of a network sets a fifth of its
own training rows aside: they choose the rate, where there are two, and the epoch.
Labels that were shuffled before anything is learned give each model a run that must
end at chance.

The settings of the simulation, and the batches and epochs of the networks on
Caravan, were changed once after scores on the test part had been seen. So the frozen
settings are tried again on simulated customers that nobody had seen, "fresh".

Scores are those of the test part, in its order. In cross-validation they are those
of all rows, each from the fold that had not seen it: training part, then test part.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from marketllm.datasets import fingerprint, group_folds
from marketllm.experiments.case_study.contestants import Customers, Settings
from marketllm.experiments.case_study.four_sets import ATTRIBUTES, data, parts_of
from marketllm.experiments.case_study.readers import LEARNERS, Network
from marketllm.experiments.frozen import encoder, weights_digest
from marketllm.experiments.review_task import brief
from marketllm.experiments.runs import Experiment, Run

SEEDS = (0, 1, 2, 3, 4)
N_FOLDS = 5
DAYS = 273  # from there to the end of the log
PENALTIES = {"candidates": (0.003, 0.01, 0.03, 0.1, 1.0)}
# Models that draw nothing at random are fitted once on a fixed split.
CLASSICAL: dict[str, Settings] = {
    "majority": {},
    "naive_bayes": {},
    "logistic_regression": PENALTIES,
}
ONCE: dict[str, dict[str, Settings]] = {
    "cdnow": CLASSICAL | {"bgnbd": {"days": DAYS}},
    "simulated": CLASSICAL
    | {
        "rule": {},
        "logistic_regression_and_rule": PENALTIES | {"rule": True},
        "ceiling": {},
        "minilm_frozen": {"candidates": (0.001, 0.003, 0.01, 0.03)},
    },
}
# A thousand messages, for time; the rate is that of the experiment `minilm`.
TUNED: Settings = {"rate": 5e-5, "n_epochs": 2, "n_labels": 1000}
NETWORKS: dict[str, Settings] = {
    "transformer": {"kind": "transformer"},
    "lstm": {"kind": "lstm"},
    "rnn": {"kind": "rnn"},
    "pretrained": {"kind": "transformer", "n_pretraining": 3},
}
# Tried again on customers with another seed.
FRESH = ("ceiling", "logistic_regression", "lightgbm", "transformer", "lstm")
SHARED: dict[str, Settings] = {
    "cdnow": {
        "tokens": {"max_events": 16},
        "d_model": 16,
        "batch_size": 128,
        "n_epochs": 6,
        "rates": (1e-3, 3e-3),
    },
    "simulated": {
        "tokens": {"gaps": False},
        "d_model": 32,
        "n_heads": 2,
        "dropout": 0.0,
        "n_epochs": 12,
        "rates": (6e-3,),
    },
    "churn": {
        "tokens": {},
        "d_model": 16,
        "batch_size": 128,
        "n_epochs": 6,
        "rates": (3e-3,),
    },
    "caravan": {
        "tokens": {},
        "d_model": 16,
        "batch_size": 32,
        "n_epochs": 4,
        "rates": (3e-3,),
    },
}


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _learn(
    model: str, settings: Settings, seed: int, train: Customers, scored: Customers
) -> tuple[np.ndarray, float, float, dict[str, Any]]:
    """Give the scores, the CPU seconds of learning and of scoring, what was chosen."""
    started = time.process_time()
    score = LEARNERS[model](train, settings, seed)
    learned = time.process_time()
    scores = score(scored)
    spent = time.process_time() - learned
    chosen: dict[str, Any] = {}
    if isinstance(score, Network):
        chosen["learning_rate"] = score.model.learning_rate
        chosen["best_epoch"] = score.model.history_.best_epoch
    return scores, learned - started, spent, chosen


def _found(
    model: str, labels: np.ndarray, scores: np.ndarray, to_train: float, to_score: float
) -> dict[str, Any]:
    rounded = scores.round(4)
    measured = brief(labels, rounded)
    if model == "bgnbd":  # expected purchases have no threshold
        del measured["accuracy"]
    return measured | {
        "cpu_seconds_to_train": round(to_train, 2),
        "cpu_seconds_per_1000": round(1000 * to_score / len(labels), 3),
        "scores": rounded.tolist(),
    }


def _once(
    name: str, model: str, settings: Settings, seed: int, shuffled: bool
) -> dict[str, Any]:
    train, test = parts_of(name, shuffled)
    scores, to_train, to_score, chosen = _learn(model, settings, seed, train, test)
    return _found(model, test.labels, scores, to_train, to_score) | chosen


def _folds(name: str, model: str, settings: Settings, repeat: int) -> dict[str, Any]:
    """Score each row by a model that has not seen it; times are means of a fit."""
    customers, _ = data(name)
    scores = np.empty(len(customers))
    times = []
    folds = group_folds(customers.labels, customers.groups, N_FOLDS, repeat)
    for fold, (ours, theirs) in enumerate(folds):
        parts = customers.take(ours), customers.take(theirs)
        seed = N_FOLDS * repeat + fold
        scores[theirs], *spent, _ = _learn(model, settings, seed, *parts)
        times.append(spent)
    to_train, to_score = np.array(times).T
    return _found(
        model, customers.labels, scores, float(to_train.mean()), float(to_score.sum())
    )


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the fixed splits, the repeated folds, MiniLM, and the shuffled labels."""

    def run(name: str, model: str, settings: Settings, seed: int) -> Run:
        config = {"data": name, "model": model, "part": "test", "seed": seed}
        work = partial(_once, name, model, settings, seed, False)
        return Run(f"{name}/{model}/{seed}", config | settings, work)

    for name, models in ONCE.items():
        for model, settings in models.items():
            yield run(name, model, settings, 0)
        for seed in SEEDS:
            yield run(name, "lightgbm", {}, seed)
    for name in ("simulated", "cdnow"):
        for model, network in NETWORKS.items():
            for seed in SEEDS:
                yield run(name, model, SHARED[name] | network, seed)
    for name in ATTRIBUTES:
        folded = CLASSICAL | {"lightgbm": {}}
        for model, network in NETWORKS.items():
            folded = folded | {model: SHARED[name] | network}
        for model, settings in folded.items():
            for repeat in SEEDS:
                config = {"data": name, "model": model, "n_folds": N_FOLDS}
                config |= {"repeat": repeat} | settings
                work = partial(_folds, name, model, settings, repeat)
                yield Run(f"{name}/{model}/{repeat}", config, work)
    for seed in SEEDS:
        yield run("simulated", "minilm_tuned", TUNED, seed)
    for model in LEARNERS:
        name = "cdnow" if model == "bgnbd" else "small"
        source = "cdnow" if model == "bgnbd" else "simulated"
        settings = (ONCE[source] | {"minilm_tuned": TUNED}).get(model, {})
        if model in NETWORKS:
            settings = SHARED[source] | NETWORKS[model]
        config = {"data": name, "model": model, "labels": "shuffled", "seed": 0}
        work = partial(_once, name, model, settings, 0, True)
        yield Run(f"shuffled/{model}", config | settings, work)
    for model in FRESH:
        if model in NETWORKS:
            for seed in SEEDS:
                yield run("fresh", model, SHARED["simulated"] | NETWORKS[model], seed)
        else:
            yield run("fresh", model, ONCE["simulated"].get(model, {}), 0)


def _fingerprints() -> dict[str, str]:
    found = {}
    for name in ("cdnow", *ATTRIBUTES, "simulated"):  # "fresh": another seed
        customers, _ = data(name)
        found[name] = fingerprint(customers.table)
        if customers.events is not None:
            found[f"{name}, events"] = fingerprint(customers.events)
    return found | {"minilm": weights_digest(encoder())}


CUSTOMERS = Experiment(
    name="customers",
    about="classical models, small networks and MiniLM on four sets of customers",
    fingerprints=_fingerprints,
    runs=_plan,
)

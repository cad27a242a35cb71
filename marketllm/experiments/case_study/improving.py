"""Improving a model: more labels, a longer search, pretraining, heads, mixtures.

On the fine-food reviews TF-IDF and a small Transformer learn from 100 to 4,000
labels, drawn five times, the Transformer also after it has read all training texts
without their labels. A search with Optuna looks for better settings, with 4,000
labels and with 400. Heads are varied at the same width. On simulated customers the
scores of text, attributes and events are put together.

Nothing is chosen on the test part. Where the search shows what choosing on it would
have claimed, that is said.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from marketllm.datasets import fingerprint
from marketllm.experiments import frozen
from marketllm.experiments.case_study import mixtures
from marketllm.experiments.case_study.gains import (
    average,
    compare,
    gain,
    learn,
    learn_words,
    start_body,
)
from marketllm.experiments.case_study.small_texts import (
    DEFAULT,
    PRETRAINING,
    pretrained,
    tables,
)
from marketllm.experiments.case_study.tuning import FEW, LONGEST, MANY, RANGES, search
from marketllm.experiments.review_task import Settings
from marketllm.experiments.runs import Experiment, Run

SEEDS = (0, 1, 2, 3, 4)
# Labels, and the numbers of epochs that are tried with them.
EPOCHS = {
    100: (10, 30),
    200: (8, 20),
    400: (6, 15),
    1000: (4, 8),
    4000: (2, 3),
}
NETWORKS = ("scratch", "pretrained")
MORE = 200  # labels beside the few
TRIALS = {MANY: 16, FEW: 10}
FEW_SEEDS = SEEDS
HEADS = {"reviews": (1, 4, 16), "customers": (1, 2, 8)}
MIXTURES = SEEDS


def _net(
    name: str,
    finished: Mapping[str, dict[str, Any]],
    way: str,
    settings: Settings,
    n_labels: int,
    seed: int,
    **options: Any,
) -> Run:
    part = "validation" if options.get("validate") else "test"
    config = {"part": part, "way": way, "n_labels": n_labels, "seed": seed}
    config |= options | {"settings": settings}
    digest = finished.get(f"pretrain/{seed}", {}).get("weights")
    body = partial(start_body, way, seed, digest)
    work = partial(learn, settings, n_labels, seed, body=body, **options)
    return Run(name, config, work)


def _about(name: str, how: Callable[..., Any], *groups: list[dict[str, Any]]) -> Run:
    config = {"part": "test", "n_runs": [len(group) for group in groups]}
    return Run(f"summary/{name}", config, partial(how, *groups))


def _epochs(finished: Mapping[str, dict[str, Any]], way: str, n_labels: int) -> int:
    """Choose by the mean AUC of the tries."""

    def mean(n_epochs: int) -> float:
        title = f"search/{way}, {n_labels} labels, {n_epochs} epochs"
        runs = [finished[name]["auc"] for name in finished if name.startswith(title)]
        return float(np.mean(runs))

    return max(EPOCHS[n_labels], key=mean)


def _curves(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give TF-IDF and both networks, with more and more labels."""
    for seed in SEEDS:
        config: Settings = {"part": "training texts", "seed": seed}
        config |= {"settings": PRETRAINING, "sizes": DEFAULT}
        work = partial(lambda seed: pretrained(seed)[1], seed)
        yield Run(f"pretrain/{seed}", config, work)
    for n_labels, tried in EPOCHS.items():
        title = f"tfidf, {n_labels} labels"
        # With all labels there is one draw, and nothing in it is random.
        names = [f"{title}/{seed}" for seed in SEEDS[: 1 if n_labels == MANY else None]]
        for seed, name in enumerate(names):
            config = {"part": "test", "n_labels": n_labels, "seed": seed}
            config |= {"candidates": frozen.CANDIDATES[frozen.WORDS]}
            yield Run(name, config, partial(learn_words, n_labels, seed))
        if len(names) > 1:
            yield _about(title, average, [finished[name] for name in names])
        for way in NETWORKS:
            title = f"{way}, {n_labels} labels"
            for n_epochs in tried:
                settings = DEFAULT | {"n_epochs": n_epochs}
                for seed in range(2 if n_labels <= FEW else 1):
                    name = f"search/{title}, {n_epochs} epochs/{seed}"
                    few = n_labels * 4 // 5
                    yield _net(name, finished, way, settings, few, seed, validate=True)
            settings = DEFAULT | {"n_epochs": _epochs(finished, way, n_labels)}
            names = [f"{title}/{seed}" for seed in SEEDS]
            for seed, name in enumerate(names):
                yield _net(name, finished, way, settings, n_labels, seed)
            yield _about(title, average, [finished[name] for name in names])
        pair = [
            [finished[f"{w}, {n_labels} labels/{s}"] for s in SEEDS] for w in NETWORKS
        ]
        yield _about(f"pretrained minus scratch, {n_labels} labels", gain, *pair[::-1])


def _tuning(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the searches, what was chosen with new seeds, and a few labels more."""

    def default(n_labels: int) -> Settings:
        return DEFAULT | {"n_epochs": _epochs(finished, "scratch", n_labels)}

    for n_labels, seeds in ((MANY, (0,)), (FEW, FEW_SEEDS)):
        for seed in seeds:
            n_trials, keep = TRIALS[n_labels], n_labels == MANY
            config: Settings = {"part": "validation", "n_labels": n_labels}
            config |= {"seed": seed, "n_trials": n_trials, "start": default(n_labels)}
            config |= {"ranges": RANGES, "epochs": LONGEST[n_labels]}
            work = partial(search, default(n_labels), n_labels, seed, n_trials, keep)
            yield Run(f"search/optuna, {n_labels} labels/{seed}", config, work)
    groups: dict[str, list[dict[str, Any]]] = {"default": [], "chosen": []}
    found = finished[f"search/optuna, {MANY} labels/0"]["chosen"]
    for seed in SEEDS:
        name = f"chosen, {MANY} labels/{seed}"
        yield _net(name, finished, "scratch", DEFAULT | found, MANY, seed)
        groups["chosen"].append(finished[name])
        groups["default"].append(finished[f"scratch, {MANY} labels/{seed}"])
    yield _about(f"chosen, {MANY} labels", average, groups["chosen"])
    yield _about("chosen minus default", compare, groups["chosen"], groups["default"])
    groups = {"default": [], "chosen": [], "more": []}
    for seed in FEW_SEEDS:
        found = finished[f"search/optuna, {FEW} labels/{seed}"]["chosen"]
        chosen, more = (
            f"chosen, {FEW} labels/{seed}",
            f"scratch, {FEW + MORE} labels/{seed}",
        )
        yield _net(chosen, finished, "scratch", DEFAULT | found, FEW, seed)
        yield _net(more, finished, "scratch", default(FEW), FEW, seed, extra=MORE)
        for group, name in (("chosen", chosen), ("more", more)):
            groups[group].append(finished[name])
        groups["default"].append(finished[f"scratch, {FEW} labels/{seed}"])
    for name in ("chosen", "more"):
        yield _about(
            f"few: {name} minus default", gain, groups[name], groups["default"]
        )


def _heads(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give more and more heads at the same width."""
    for n_heads in HEADS["reviews"]:
        settings = DEFAULT | {"n_epochs": _epochs(finished, "scratch", MANY)}
        same = n_heads == DEFAULT["n_heads"]
        title = f"scratch, {MANY} labels" if same else f"{n_heads} heads, reviews"
        for seed in SEEDS:
            if not same:
                settings = settings | {"n_heads": n_heads}
                name = f"{title}/{seed}"
                options = {"keep_scores": False}
                yield _net(name, finished, "scratch", settings, MANY, seed, **options)
        runs = [finished[f"{title}/{seed}"] for seed in SEEDS]
        yield _about(f"{n_heads} heads, reviews", average, runs)
    for n_heads in HEADS["customers"]:
        title = f"{n_heads} heads, customers"
        for seed in SEEDS:
            config: Settings = {"part": "test", "n_heads": n_heads, "seed": seed}
            config |= mixtures.NETWORK | mixtures.SIZES | {"gap": mixtures.GAP}
            config |= {"n_heads": n_heads}
            work = partial(mixtures.heads_on_customers, n_heads, seed)
            yield Run(f"{title}/{seed}", config, work)
        runs = [finished[f"{title}/{seed}"] for seed in SEEDS]
        yield _about(title, average, runs)
    for part, counts in HEADS.items():
        least, most = (
            [finished[f"{n_heads} heads, {part}/{seed}"] for seed in SEEDS]
            for n_heads in (counts[0], counts[-1])
        )
        yield _about(f"most minus one head, {part}", gain, most, least)


def _mixing(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give text, attributes and events: apart, mixed, and in one model."""
    config = mixtures.NETWORK | mixtures.SIZES | mixtures.SHORT | {"gap": mixtures.GAP}
    for seed in MIXTURES:
        settings = config | {"part": "test", "seed": seed, "n_folds": mixtures.N_FOLDS}
        yield Run(f"mixture/{seed}", settings, partial(mixtures.mix, seed))
    runs = [finished[f"mixture/{seed}"] for seed in MIXTURES]
    for way in mixtures.WAYS:
        yield _about(f"mixture, {way}", average, [run[way] for run in runs])


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    for part in (_curves, _tuning, _heads, _mixing):
        yield from part(finished)


def _fingerprints() -> dict[str, str]:
    simulated = mixtures.customers(MIXTURES[0]).data
    return {
        "train": fingerprint(tables()["train"]),
        "test": fingerprint(tables()["test"]),
        "customers": fingerprint(simulated.train),
        "pairs": fingerprint(mixtures.pairs().data.train),
    }


IMPROVING = Experiment(
    name="improving",
    about="what more labels, a longer search, pretraining, heads and mixtures gain",
    fingerprints=_fingerprints,
    runs=_plan,
)

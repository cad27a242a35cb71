"""Whom should the shop write to: uplift learners against known effects.

Learners by base models by seeds, each seed with customers of its own. Nothing is
chosen on customers that are scored: all settings are those of earlier experiments, and
a network sets a fifth of its training customers aside to choose its epoch.

Then rules for whom to treat are judged from the logs of other rules, and compared with
what they are truly worth.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from marketllm.datasets import fingerprint
from marketllm.evaluation import (
    auuc,
    estimated_profit,
    qini,
    true_profit,
    uplift_curve,
    uplift_interval,
)
from marketllm.experiments.applications.campaign_models import (
    NETWORK,
    classifier,
    regressor,
)
from marketllm.experiments.applications.campaigns import (
    LAST_YEAR,
    SHOP,
    Season,
    season,
)
from marketllm.experiments.applications.off_policy import (
    BUDGET,
    REPEATS,
    off_policy,
)
from marketllm.experiments.case_study.contestants import Numbers
from marketllm.experiments.runs import Experiment, Run
from marketllm.marketing import DoublyRobust, TransformedOutcome, TwoModel

SEEDS = (0, 1, 2, 3, 4)
MONEY: dict[str, Any] = {"budget": BUDGET, "margin": 10.0, "cost": 1.5}
GRID = np.linspace(0, 1, 21)
LEARNERS = ("response", "responders", "two_model", "transformed", "doubly_robust")
CONFOUNDED = ("response", "two_model", "transformed", "doubly_robust")
# The network costs ten times as much as all others: it learns from a coin's log only,
# and its model of those who were treated is that inside its two models.
CELLS = [
    *itertools.product(["coin"], ["logistic", "lightgbm"], LEARNERS),
    *itertools.product(["coin"], ["transformer"], [LEARNERS[0], *LEARNERS[2:]]),
    *itertools.product(["likely"], ["logistic", "lightgbm"], CONFOUNDED),
    *itertools.product(["hidden"], ["lightgbm"], CONFOUNDED),
    # Added when the first scores were known: words and counts had made LightGBM worse.
    *itertools.product(
        ["coin"], ["attributes"], [LEARNERS[0], LEARNERS[2], LEARNERS[4]]
    ),
]
Scorer = Callable[[], Numbers]


def _learn(now: Season, firm: str, base: str, learner: str, seed: int) -> Scorer:
    """Train on one log; the function that is returned scores the test part."""
    treated, labels, known = now.train_logs[firm]
    history = {"events": now.shop.data.events} if base == "transformer" else {}
    model = classifier(now.shop, base, seed)
    if learner in ("response", "responders"):
        kept = np.ones_like(treated) if learner == "response" else treated
        rows = np.flatnonzero(kept == 1)
        model.fit(now.train.iloc[rows], labels[rows], **history)
        return lambda: model.predict_proba(now.test, **history)[:, 1]
    if learner == "two_model":
        made: Any = TwoModel(model)
    elif learner == "transformed" and base == "transformer":
        made = TransformedOutcome(model)
    elif learner == "transformed":
        made = TransformedOutcome(regressor(now.shop, base, seed))
    else:
        made = DoublyRobust(
            model,
            regressor(now.shop, base, seed),
            propensity_model=classifier(now.shop, "logistic", seed),
            add_chances=base == "transformer",
            seed=seed,
        )
    # What the firm wrote down; the doubly robust learner has to estimate it there.
    chances = known if firm == "coin" or learner == "transformed" else None
    made.fit(now.train, treated, labels, chances, **history)
    return lambda: np.asarray(made.effect(now.test, **history))


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def _fit(firm: str, base: str, learner: str, seed: int, n: int | None = None) -> Any:
    now = season(seed, n)
    started = time.process_time()
    score = _learn(now, firm, base, learner, seed)
    learned = time.process_time()
    scores = score()
    spent = time.process_time() - learned
    found = _judged(now, scores)
    if learner not in ("response", "responders"):
        off = float(np.sqrt(np.mean((scores - now.effects) ** 2)))
        found |= {"rmse": round(off, 4), "mean": round(float(scores.mean()), 4)}
    return found | {
        "cpu_seconds_to_train": round(learned - started, 2),
        "cpu_seconds_per_1000": round(1000 * spent / len(scores), 3),
    }


def _known(which: str, seed: int, n: int | None = None) -> Any:
    """Judge lists without a model: the true effects, the true chances, the lot."""
    now = season(seed, n)
    scores = {
        "perfect": now.effects,
        "true_response": now.chances[:, 0],
        "true_responders": now.chances[:, 1],
        "random": np.zeros(len(now.test)),
    }[which]
    found = _judged(now, scores)
    if which in ("perfect", "random"):
        guess = (
            scores if which == "perfect" else np.full(len(scores), now.effects.mean())
        )
        off = float(np.sqrt(np.mean((guess - now.effects) ** 2)))
        found |= {"rmse": round(off, 4), "mean": round(float(guess.mean()), 4)}
    return found


def _judged(now: Season, scores: Numbers) -> dict[str, Any]:
    """Compare with the true effects, and with what a campaign by coin would show."""
    treated, labels, _ = now.test_logs["coin"]
    log = (labels, treated, scores)
    profit = true_profit(now.effects, scores, **MONEY)
    best = true_profit(now.effects, now.effects, **MONEY)
    within = uplift_interval(qini, *log)
    area = uplift_interval(auuc, *log)
    curve = uplift_curve(*log)
    top = [true_profit(now.effects, scores, q, 1.0, 0.0) for q in GRID[1:].tolist()]
    flat = bool(np.ptp(scores) == 0)
    return {
        "rank_correlation": _rounded(
            0.0 if flat else spearmanr(scores, now.effects).statistic
        ),
        "qini": [_rounded(v) for v in (within.estimate, within.low, within.high)],
        "auuc": [_rounded(v) for v in (area.estimate, area.low, area.high)],
        "profit": _rounded(profit),
        "share_of_best": _rounded(profit / best),
        "estimated_profit": _rounded(estimated_profit(*log, **MONEY)),
        "added": [0.0, *(_rounded(value) for value in top)],
        "qini_curve": [
            round(value, 2) for value in np.interp(GRID, curve["share"], curve["qini"])
        ],
        "qini_on_likely": _rounded(
            qini(now.test_logs["likely"][1], now.test_logs["likely"][0], scores)
        ),
    }


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    config: dict[str, Any]
    for seed in SEEDS:
        for which in ("perfect", "true_response", "true_responders", "random"):
            config = {"model": which, "seed": seed} | MONEY
            yield Run(f"known/{which}/{seed}", config, partial(_known, which, seed))
    for seed in SEEDS:
        for firm, base, learner in CELLS:
            config = {"log": firm, "base": base, "learner": learner}
            config |= {"seed": seed} | MONEY
            if base == "transformer":
                config |= NETWORK
            work = partial(_fit, firm, base, learner, seed)
            yield Run(f"{firm}/{base}/{learner}/{seed}", config, work)
    for seed in SEEDS:
        config = {"logs": "drawn again", "budget": BUDGET, "seed": seed}
        config |= {"repeats": REPEATS}
        yield Run(f"off-policy/{seed}", config, partial(off_policy, seed))


def _fingerprints() -> dict[str, str]:
    return {
        f"seed {seed}": fingerprint(season(seed).shop.data.train) for seed in SEEDS
    } | {"shop": str(SHOP), "last year": str(LAST_YEAR)}


TARGETING = Experiment(
    name="targeting",
    about="uplift learners against known effects, and off-policy estimates",
    fingerprints=_fingerprints,
    runs=_plan,
)

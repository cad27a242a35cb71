"""What is a rule worth that was never run? Estimates from logs of other rules."""

from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from marketllm.baselines import table_logistic_regression
from marketllm.datasets import run_campaign
from marketllm.evaluation import policy_value
from marketllm.experiments.applications.campaign_models import (
    Summary,
    classifier,
    counts,
)
from marketllm.experiments.applications.campaigns import forecast, season
from marketllm.experiments.case_study.contestants import Numbers
from marketllm.marketing import TwoModel

BUDGET = 0.2
REPEATS = 20  # logs that are drawn for each seed and firm


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def off_policy(seed: int, n: int | None = None, repeats: int = REPEATS) -> Any:
    """Judge rules from logs of other rules, again and again, by six estimators.

    Parameters
    ----------
    seed : int
        Which season.
    n : int, optional
        Customers in each part; fewer for tests.
    repeats : int
        Logs that are drawn of each firm.

    Returns
    -------
    dict
        The rules' true values; for each firm, rule and estimator the mean error, the
        root of the mean squared error, and how often the interval held the value.
    """
    now = season(seed, n)
    learner = TwoModel(classifier(now.shop, "lightgbm", seed))
    learner.fit(now.train, *now.train_logs["coin"][:2])
    expected = learner.chances(now.test)
    table = Summary(counts(now.shop)).fit_transform(now.test)
    likely = forecast(now.shop, now.test, n)
    rules = {
        "everybody": np.ones(len(now.test)),
        "nobody": np.zeros(len(now.test)),
        "likely_buyers": _top(likely),
        "persuadable": _top(expected[:, 1] - expected[:, 0]),
    }
    values = {
        name: float(np.mean(now.chances[:, 0] + rule * now.effects))
        for name, rule in rules.items()
    }
    rows = []
    for firm in now.test_logs:
        known = now.test_logs[firm][2]
        for repeat in range(repeats):
            log = run_campaign(now.shop, known, "test", 1000 * (seed + 1) + repeat)
            rows += _estimates(table, firm, log, known, rules, expected)
    names = sorted({row[:3] for row in rows})
    table = {}
    for name in names:
        found = np.array([row[3:] for row in rows if row[:3] == name])
        truth = values[name[1]]
        table["/".join(name)] = {
            "error": round(float(found[:, 0].mean() - truth), 4),
            "rmse": round(float(np.mean((found[:, 0] - truth) ** 2) ** 0.5), 4),
            "held": int(np.sum((found[:, 1] <= truth) & (truth <= found[:, 2]))),
        }
    return {
        "repeats": repeats,
        "values": {name: round(value, 4) for name, value in values.items()},
        "estimates": table,
    }


def _estimates(
    table: pd.DataFrame,
    firm: str,
    log: tuple[Numbers, Numbers],
    known: Numbers,
    rules: dict[str, Numbers],
    expected: Numbers,
) -> list[tuple[Any, ...]]:
    """Give rows of (firm, rule, estimator, estimate, low, high)."""
    treated, labels = log
    half = np.arange(len(treated)) % 2 == 0
    guessed = np.empty(len(treated))
    for ours in (half, ~half):
        fitted = table_logistic_regression().fit(table[ours], treated[ours])
        guessed[~ours] = fitted.predict_proba(table[~ours])[:, 1]
    guessed = np.clip(guessed, 0.01, 0.99)
    # Forecasts that are wrong on purpose: everybody the same.
    coarse = np.tile(
        [labels[treated == arm].mean() for arm in (0, 1)], (len(labels), 1)
    )
    rows = []
    for name, rule in rules.items():
        agrees = (treated == rule).astype(float)
        kept = labels[agrees == 1]
        spread = 1.96 * kept.std() / np.sqrt(len(kept))
        plain = (kept.mean(), kept.mean() - spread, kept.mean() + spread)
        rows.append((firm, name, "plain mean", *plain))
        for title, chances, forecasts in (
            ("ipw, known", known, None),
            ("ipw, estimated", guessed, None),
            ("dr, known", known, expected),
            ("dr, estimated", guessed, expected),
            ("dr, poor forecasts", known, coarse),
        ):
            value = policy_value(labels, treated, chances, rule, forecasts)
            rows.append((firm, name, title, value.estimate, value.low, value.high))
    return rows


def _top(scores: Numbers) -> Numbers:
    """Treat the budget's share with the highest scores."""
    n = round(BUDGET * len(scores))
    chosen = np.zeros(len(scores))
    chosen[np.argsort(-scores, kind="stable")[:n]] = 1
    return chosen

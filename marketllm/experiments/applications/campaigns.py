"""The campaigns of the experiment `targeting`.

The shop is that of the chapter on purchase intent, with the campaign's effect at
strength 1. Each seed has customers of its own. Three firms treat them:

- "coin" throws a fair coin;
- "likely" treats likely buyers: the more likely by its own forecast, which reads
  attributes, counts of events and words, the larger the chance;
- "hidden" does so by a chance that nobody's columns hold: the true one.

Who is scored was always treated by a coin.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.pipeline import Pipeline

from marketllm.baselines import table_logistic_regression
from marketllm.datasets import (
    SimulatedCustomers,
    SimulationConfig,
    campaign_chances,
    run_campaign,
    simulate_customers,
)
from marketllm.experiments.applications.campaign_models import counts, on_table
from marketllm.experiments.case_study.contestants import Numbers

SHOP = SimulationConfig(
    n_train=10_000,
    n_test=10_000,
    n_events=16,
    gap=4,
    base_rate=0.5,
    event_signal=5.0,
    treatment_effect=1.0,
)
FIRST_SEED = 100  # the chapters look at the shop of seed 0
LAST_YEAR = 99
STEEPNESS, LEAST = 1.5, 0.05


@dataclass(frozen=True, eq=False)
class Season:
    """Customers of one seed: a campaign to learn from, another to be judged by.

    Attributes
    ----------
    shop : SimulatedCustomers
        All of them, with the truth.
    train, test : DataFrame
        Customers, without treatment and label.
    chances : ndarray of shape (N, 2)
        Of the test part, without the campaign and with it.
    test_logs, train_logs : dict
        For each firm who was treated, who bought, and the chance to be treated.
    """

    shop: SimulatedCustomers
    train: pd.DataFrame
    test: pd.DataFrame
    chances: Numbers
    test_logs: dict[str, tuple[Numbers, Numbers, Numbers]]
    train_logs: dict[str, tuple[Numbers, Numbers, Numbers]]

    @property
    def effects(self) -> Numbers:
        """The true effects of the test part."""
        return self.chances[:, 1] - self.chances[:, 0]


@cache
def season(seed: int, n: int | None = None) -> Season:
    """Draw the customers of one seed and run the three campaigns on both parts.

    Parameters
    ----------
    seed : int
        Other customers and lots for each.
    n : int, optional
        Customers in each part; fewer for tests.

    Returns
    -------
    Season
    """
    shop = simulate_customers(_shop(n), FIRST_SEED + seed)
    parts = {
        name: frame.drop(columns=["treated", "label"])
        for name, frame in (("train", shop.data.train), ("test", shop.data.test))
    }
    logs: dict[str, dict[str, Any]] = {}
    for offset, (name, people) in enumerate(parts.items()):
        without = campaign_chances(shop, name)[:, 0]
        chances = {
            "coin": np.full(len(people), 0.5),
            "likely": _propensities(forecast(shop, people, n)),
            "hidden": _propensities(without),
        }
        logs[name] = {
            firm: (*run_campaign(shop, known, name, 10 * seed + offset), known)
            for firm, known in chances.items()
        }
    return Season(
        shop,
        parts["train"],
        parts["test"],
        campaign_chances(shop, "test"),
        logs["test"],
        logs["train"],
    )


def forecast(
    shop: SimulatedCustomers, people: pd.DataFrame, n: int | None = None
) -> Numbers:
    """Forecast as the firm does, from last year's customers, none of them treated.

    Parameters
    ----------
    shop : SimulatedCustomers
        This year's.
    people : DataFrame
        Customers of it.
    n : int, optional
        As for `season`.

    Returns
    -------
    ndarray
        Chances to buy.
    """
    return (
        _last_year(n)
        .set_params(summary__counts=counts(shop))
        .predict_proba(people)[:, 1]
    )


@cache
def _last_year(n: int | None) -> Pipeline:
    shop = simulate_customers(_shop(n), LAST_YEAR)
    _, labels = run_campaign(shop, 0.0, "train", LAST_YEAR)
    model = on_table(shop, table_logistic_regression())
    return model.fit(shop.data.train.drop(columns=["treated", "label"]), labels)


def _shop(n: int | None) -> SimulationConfig:
    return SHOP if n is None else replace(SHOP, n_train=n, n_test=n)


def _propensities(chances: Numbers) -> Numbers:
    """Turn forecasts into chances to be treated: likely buyers, but not them alone."""
    odds = logit(np.clip(chances, 1e-3, 1 - 1e-3))
    score = (odds - odds.mean()) / odds.std()
    return np.asarray(np.clip(expit(STEEPNESS * score), LEAST, 1 - LEAST))

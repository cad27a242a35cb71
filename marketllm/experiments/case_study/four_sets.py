"""The customers of the experiment `customers`: four data sets in one form."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from marketllm.datasets import (
    Dataset,
    SimulationConfig,
    buys_again,
    load_caravan,
    load_cdnow,
    load_churn,
    row_groups,
    simulate_customers,
)
from marketllm.experiments.case_study.contestants import Customers

CUTOFF = "1997-09-30"
SIMULATION = SimulationConfig(
    n_train=10_000,
    n_events=16,
    gap=4,
    base_rate=0.4,
    event_signal=5.0,
    attribute_signal=0.8,
    text_signal=0.8,
    label_noise=0.02,
)
SMALL = replace(SIMULATION, n_train=1500, n_test=2000)
N_SHUFFLED = (4000, 2000)  # customers of CDNOW
ATTRIBUTES: dict[str, Callable[[], Dataset]] = {
    "churn": load_churn,
    "caravan": load_caravan,
}


@cache
def data(name: str) -> tuple[Customers, int]:
    """Load customers, once a process.

    Parameters
    ----------
    name : str
        "cdnow", "churn", "caravan", "simulated", "fresh": simulated again with
        another seed, or "small": simulated, fewer.

    Returns
    -------
    tuple
        All customers, those of the training part first, and their number.
    """
    until, truth = None, None
    if name == "cdnow":
        found, until = buys_again(load_cdnow(), CUTOFF), CUTOFF
    elif name in ATTRIBUTES:
        found = ATTRIBUTES[name]()
    else:
        config = SMALL if name == "small" else SIMULATION
        simulated = simulate_customers(config, seed=int(name == "fresh"))
        found = simulated.data
        parts = ("train", "test")
        known = {
            "rule": np.hstack([simulated.rule(part) for part in parts]),
            "chance": np.hstack([simulated.probabilities[part] for part in parts]),
        }
        truth = pd.DataFrame(known)
    table = pd.concat([found.train, found.test], ignore_index=True)
    groups = np.arange(len(table)).astype(str)
    if name in ATTRIBUTES:
        names = [column for column in table if column not in ("customer", "label")]
        groups = np.array(row_groups(table[names]))
    customers = Customers(table, groups, found.events, until, truth)
    return customers, len(found.train)


def parts_of(name: str, shuffled: bool = False) -> tuple[Customers, Customers]:
    """Give the training part and the test part.

    Parameters
    ----------
    name : str
        As for `data`.
    shuffled : bool
        Whether labels are given to other customers at random; of CDNOW only some
        customers are kept.

    Returns
    -------
    tuple of Customers
    """
    customers, n_train = data(name)
    first, second = np.arange(n_train), np.arange(n_train, len(customers))
    if shuffled:
        customers = customers.shuffled(0)
        first, second = first[: N_SHUFFLED[0]], second[: N_SHUFFLED[1]]
    return customers.take(first), customers.take(second)

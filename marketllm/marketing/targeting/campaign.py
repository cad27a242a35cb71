"""The log of a campaign, checked: who was treated, who bought, with what chance."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marketllm.baselines.columns import _require_columns
from marketllm.evaluation.metrics import _columns, _only_classes
from marketllm.evaluation.policies import _only_inside
from marketllm.evaluation.uplift import _both_arms

Propensities = float | Collection[Any] | None
ARMS = ("untreated", "treated")


@dataclass(frozen=True, eq=False)
class _Campaign:
    """N customers, the arm and the label of each, and the chance to be treated."""

    customers: pd.DataFrame
    treated: NDArray[np.int64]
    labels: NDArray[np.int64]
    propensities: NDArray[np.float64] | None


def _campaign(
    customers: pd.DataFrame,
    treated: Collection[Any],
    labels: Collection[Any],
    propensities: Propensities,
) -> _Campaign:
    """Check the log of a campaign, and refuse one from which no effect can be told."""
    _table(customers)
    arm, bought = _columns(treated=treated, labels=labels)
    if len(arm) != len(customers):
        raise ValueError(
            f"{len(customers)} customers but {len(arm)} of treated: give one for each."
        )
    _both_arms(arm)
    _only_classes(labels=bought)
    for value, name in enumerate(ARMS):
        outcomes = bought[arm == value]
        if outcomes.min() == outcomes.max():
            raise ValueError(
                f"labels of the {len(outcomes)} {name} customers are all "
                f"{outcomes[0]:g}, expected both 0 and 1: nothing can be learned of "
                "this arm. Wait for more customers."
            )
    known = None
    if propensities is not None:
        known = _known(propensities, len(arm))
    return _Campaign(customers, arm.astype(int), bought.astype(int), known)


def _table(customers: pd.DataFrame) -> None:
    if not isinstance(customers, pd.DataFrame):
        raise ValueError(
            f"customers is a {type(customers).__name__}, expected a pandas.DataFrame "
            "with one row a customer."
        )
    _require_columns("customers", customers)
    if "treated" in customers:
        raise ValueError(
            "customers have a column 'treated', which no model may see here: give it "
            "as treated=, and the others with drop(columns='treated')."
        )


def _known(propensities: float | Collection[Any], n: int) -> NDArray[np.float64]:
    """Give one propensity for each customer."""
    if isinstance(propensities, int | float):
        propensities = np.full(n, float(propensities))
    (known,) = _columns(propensities=propensities)
    if len(known) != n:
        raise ValueError(
            f"{n} customers but {len(known)} propensities: give one for each, or a "
            "single number for all."
        )
    _only_inside(known)
    return known

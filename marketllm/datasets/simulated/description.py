"""The card of simulated customers: what the dials put into the data."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marketllm.datasets.card import DataCard
from marketllm.datasets.simulated.config import SimulationConfig
from marketllm.datasets.simulated.events import _KINDS


def _card(
    config: SimulationConfig, table: pd.DataFrame, originals: NDArray[Any]
) -> DataCard:
    """Describe the data, with all faults that the dials put into them."""
    own = table["customer"].to_numpy() == originals
    faults = [
        "The customers are invented: nothing here says how people behave.",
        "Labels are chance: no model can tell new customers beyond the ceiling.",
    ]
    if config.label_noise:
        faults.append(f"About {config.label_noise:.1%} of the labels are turned round.")
    if config.missing:
        n_empty = int(table.isna().sum().sum())
        faults.append(f"{n_empty:,} attribute cells are empty, each with equal chance.")
    if not own.all():
        split = config.n_train
        n_seen = int(np.isin(originals[split:], originals[:split]).sum())
        faults.append(
            f"{int((~own[:split]).sum()):,} rows in train and "
            f"{int((~own[split:]).sum()):,} in test copy another row under a new "
            f"customer number; {n_seen:,} rows in test have the content of a row in "
            "train."
        )
    return DataCard(
        name="Simulated customers",
        source="drawn by marketllm.datasets.simulate_customers; its text has the rules",
        licence="ours, MIT as the package",
        size=(
            f"{config.n_train:,} customers to train, {config.n_test:,} to test, "
            f"{config.n_events} events each; split at random"
        ),
        fields={
            "customer": "number, no meaning",
            "age": "in years",
            "income": "in euros a year",
            "region": "north, south, east or west",
            "tenure": "months since the first order",
            "device": "phone, desktop or tablet",
            "treated": "1 = got the campaign, drawn by a coin",
            "text": "the customer's last message",
            "label": "1 = buys, 0 = does not",
        },
        known_faults=tuple(faults),
        event_fields={
            "customer": "as in the table",
            "date": "the day; one event a day",
            "kind": ", ".join(_KINDS),
        },
    )

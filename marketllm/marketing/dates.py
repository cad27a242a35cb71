"""Dated events: each customer's own, in order, and the time between two."""

import datetime
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from marketllm.baselines.columns import _require_columns

# A gap is told as people tell it: the first day of each step, and its name.
STEPS = (
    [(days, f"{days} day{'s' * (days != 1)}") for days in range(7)]
    + [(7 * n, f"{n} week{'s' * (n > 1)}") for n in range(1, 9)]
    + [(round(n * 30.44), f"{n} months") for n in range(2, 12)]
    + [(365, "1 year"), (730, "2 years"), (1096, "3 years")]
)
_STARTS = np.array([days for days, _ in STEPS])

Until = str | datetime.date | None


def _last_day(until: str | datetime.date) -> np.datetime64:
    return np.datetime64(pd.Timestamp(until).date(), "D")


def _own_events(
    customers: pd.DataFrame,
    events: pd.DataFrame,
    until: Until,
    columns: Sequence[str] | None,
) -> tuple[pd.DataFrame, Int[np.ndarray, " E"], Int[np.ndarray, " E"]]:
    """Sort the customers' events; also give each one's row of customers, and day."""
    _require_columns("customers", customers, ("customer",))
    _require_columns("events", events, ("customer", "date", *(columns or ())), 0)
    who = pd.Index(customers["customer"])
    if not who.is_unique:
        twice = who[who.duplicated()][0]
        rows = np.flatnonzero(who == twice)[:2].tolist()
        raise ValueError(
            f"customer {twice!r} stands in the rows {rows[0]} and {rows[1]} of "
            "customers: give one row a customer."
        )
    numbers = pd.api.types.is_numeric_dtype
    if len(events) and numbers(who) != numbers(events["customer"]):
        raise ValueError(
            f"customer has the type {who.dtype} in customers and "
            f"{events['customer'].dtype} in events: make both the same, for example "
            "with astype(str)."
        )
    if not pd.api.types.is_datetime64_dtype(events["date"]):
        raise ValueError(
            f"date has the type {events['date'].dtype}: give dates without a time "
            "zone; pandas.to_datetime makes them."
        )
    places = who.get_indexer(pd.Index(events["customer"]))
    own, places = events[places >= 0], places[places >= 0]
    dates = own["date"].to_numpy()
    if np.isnat(dates).any():
        name = own["customer"].to_numpy()[np.isnat(dates)][0]
        raise ValueError(
            f"{np.isnat(dates).sum()} events have no date, first one of customer "
            f"{name!r}: leave them out."
        )
    days = dates.astype("datetime64[D]")
    if until is not None:
        last = _last_day(until)
        later = np.flatnonzero(days > last)
        if len(later):
            row = later[0]
            raise ValueError(
                f"{len(later)} events are later than until={last}, first one of "
                f"customer {own['customer'].iloc[row]!r} on {days[row]}: the day of "
                "the forecast does not know them; leave them out."
            )
    order = np.lexsort((dates, places))  # keeps the order of equal ones
    return own.iloc[order], places[order], days[order].astype(int)


def _step(days: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
    return np.searchsorted(_STARTS, days, side="right") - 1

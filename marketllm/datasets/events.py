"""Logs of dated events, and the question who buys again."""

import datetime
from dataclasses import dataclass

import pandas as pd

from marketllm.datasets.card import DataCard, Dataset, _check_log
from marketllm.datasets.split import _choose_test, _parts


@dataclass(frozen=True, eq=False)
class EventLog:
    """Hold dated events of customers as they were recorded, without a split.

    Parameters
    ----------
    card : DataCard
        What the data are.
    events : pandas.DataFrame
        One row an event, numbered from 0 in the order of the file. The columns are
        the fields of the card, in their order; ``customer`` and ``date`` are among
        them.

    Raises
    ------
    ValueError
        If there are no rows, other columns or missing dates.
    """

    card: DataCard
    events: pd.DataFrame

    def __post_init__(self) -> None:
        """Refuse events that do not keep the interface."""
        _check_log("events", self.events, tuple(self.card.fields))

    def __repr__(self) -> str:
        """Name the log and count its events and customers."""
        return (
            f"EventLog({self.card.name!r}, {len(self.events):,} events of "
            f"{self.events['customer'].nunique():,} customers)"
        )


def buys_again(
    log: EventLog, cutoff: str, test_fraction: float = 0.2, seed: int = 0
) -> Dataset:
    """Ask of each customer known on a day whether he buys after it.

    The log is cut at the end of that day. What came before is what a model may see;
    what comes after is used for the label and for nothing else.

    Parameters
    ----------
    log : EventLog
        Purchases of customers.
    cutoff : str
        The last day that may be seen, such as ``"1997-09-30"``.
    test_fraction : float
        Share of the customers for the test part, 0.05 to 0.95, rounded to a
        fraction with a denominator of at most 20.
    seed : int
        Fixes which customers are tested on.

    Returns
    -------
    Dataset
        One row a customer with an event up to the cutoff, in the order of the log:
        ``customer`` and ``label``, 1 if he has an event on a later day. The events
        are those up to the cutoff, of both parts.

    Raises
    ------
    ValueError
        If the cutoff is no date, all events or none are up to it, or there are too
        few customers of a class to split.
    """
    last_day = _day(cutoff)
    days = log.events["date"].dt.normalize()
    first, last = days.min(), days.max()
    if not first <= last_day < last:
        raise ValueError(
            f"cutoff is {last_day:%Y-%m-%d}, and the log runs from {first:%Y-%m-%d} to "
            f"{last:%Y-%m-%d}. Choose a day within it and before its last."
        )
    past, future = log.events[days <= last_day], log.events[days > last_day]
    customers = past["customer"].drop_duplicates().tolist()
    buyers = set(future["customer"].tolist())
    labels = [int(customer in buyers) for customer in customers]
    is_test = _choose_test(
        log.card.name, labels, customers, test_fraction, seed, "customers"
    )
    frame = pd.DataFrame({"customer": customers, "label": labels})
    train, test = _parts(frame, is_test)
    n_new = len(buyers.difference(customers))
    after = f"{(last - last_day).days:,} days after {last_day:%Y-%m-%d}"
    card = DataCard(
        name=f"{log.card.name}: who buys again after {last_day:%Y-%m-%d}?",
        source=log.card.source,
        licence=log.card.licence,
        size=(
            f"{len(train):,} customers to train, {len(test):,} to test, with "
            f"{len(past):,} events; the question and the split are ours"
        ),
        fields={
            "customer": log.card.fields["customer"],
            "label": f"1 = has an event in the {after}, 0 = has none",
        },
        known_faults=(
            f"{sum(labels) / len(labels):.1%} of the customers have label 1.",
            f"{n_new:,} customers whose first event is later are left out.",
            *(f"Of the whole log: {fault}" for fault in log.card.known_faults),
        ),
        event_fields=log.card.fields,
    )
    return Dataset(
        card=card,
        train=train,
        test=test,
        events=past.reset_index(drop=True),
    )


def _day(text: str) -> pd.Timestamp:
    """Read a day, and refuse what is none."""
    try:
        return pd.Timestamp(datetime.datetime.strptime(text, "%Y-%m-%d"))
    except ValueError as error:
        raise ValueError(
            f"cutoff is {text!r}, expected a day such as '1997-09-30'."
        ) from error

"""Purchases at the music shop CDNOW, read from an installed package."""

import pandas as pd

from marketllm.datasets.card import DataCard
from marketllm.datasets.events import EventLog
from marketllm.datasets.installed import _file

_NAME = "datasets/CDNOW_master.txt"
_SHA256 = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"

_CARD = DataCard(
    name="CDNOW purchases",
    source=(
        "Fader and Hardie (2001), Forecasting repeat sales at CDNOW, Interfaces 31, "
        "from the file datasets/CDNOW_master.txt of the Python package lifetimes"
    ),
    licence=(
        "The package lifetimes states MIT. It does not say whether that covers the "
        "data: their licence is not known"
    ),
    size="69,659 purchases of 23,570 customers; no split",
    fields={
        "customer": "number of the customer, 5 digits, 00001 to 23570",
        "date": "day of the purchase, 1997-01-01 to 1998-06-30",
        "n_items": "how many CDs, 1 to 99",
        "amount": "what was paid in dollars, 0.00 to 1,286.01",
    },
    known_faults=(
        "One cohort: every customer bought first between 1997-01-01 and 1997-03-25. "
        "Nobody joins later, so purchases a month fall by themselves.",
        "255 rows repeat an earlier row in every column. They may be copies or "
        "orders of the same kind on the same day: the file does not say.",
        "There is no time of day. 1,774 times a customer has more than one row on one "
        "and the same day, 2,068 rows beyond the first; 67,591 pairs of customer and "
        "day remain.",
        "80 rows have the amount 0. Each is one CD; 68 customers have never paid "
        "anything. Why is not told.",
        "11,908 customers have one row only.",
        "Customers are numbered nearly in the order of their first purchase (rank "
        "correlation 0.97): the number tells when a customer came.",
        "Customers, articles and messages are not described: a customer is what he "
        "bought, when and for how much.",
    ),
)


def load_cdnow() -> EventLog:
    """Load 69,659 purchases at CDNOW, a shop for music, as they were recorded.

    The file is read from the installed package ``lifetimes``; the package itself is
    not imported, and there is no network.

    Returns
    -------
    EventLog
        Columns ``customer`` (str), ``date`` (datetime64), ``n_items`` (int) and
        ``amount`` (float, dollars), by customer and then by day.

    Raises
    ------
    ModuleNotFoundError
        If ``lifetimes`` is not installed.
    ValueError
        If its file is not there or is not the one this book was written with.

    Notes
    -----
    Source: Fader and Hardie (2001), "Forecasting repeat sales at CDNOW: a case
    study", Interfaces 31.
    """
    lines = _file("lifetimes", _NAME, _SHA256, "CDNOW purchases").decode("ascii")
    rows = [line.split() for line in lines.splitlines()[1:]]
    customers, days, counts, amounts = zip(*rows, strict=True)
    events = pd.DataFrame(
        {
            "customer": customers,
            "date": pd.to_datetime(pd.Series(days), format="%Y%m%d"),
            "n_items": [int(count) for count in counts],
            "amount": [float(amount) for amount in amounts],
        }
    )
    return EventLog(_CARD, events)

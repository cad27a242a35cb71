"""What every loader returns: the data, split, and a card that describes it."""

import datetime
import hashlib
import json
import numbers
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

COLUMNS = ("text", "label", "product")  # of the review sets


@dataclass(frozen=True)
class DataCard:
    """Say what a data set is, where it comes from and what is wrong with it.

    A notebook shows the card as a table; ``str(card)`` is plain text.

    Parameters
    ----------
    name : str
        What the data set is called.
    source : str
        Where it comes from.
    licence : str
        What is known of the licence, and what is not.
    size : str
        How many rows there are in each part.
    fields : Mapping[str, str]
        Each column and what it means.
    known_faults : tuple of str
        What a user has to know before trusting a result.
    event_fields : Mapping[str, str]
        Each column of the events and what it means, where there are events.

    Notes
    -----
    The idea is that of datasheets for datasets (Gebru et al. 2021).
    """

    name: str
    source: str
    licence: str
    size: str
    fields: Mapping[str, str]
    known_faults: tuple[str, ...]
    event_fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        """Give each heading of the card with its lines."""
        yield "Source", [self.source]
        yield "Licence", [self.licence]
        yield "Size", [self.size]
        yield "Fields", [f"{name}: {what}" for name, what in self.fields.items()]
        if self.event_fields:
            columns = self.event_fields.items()
            yield "Fields of the events", [f"{name}: {what}" for name, what in columns]
        yield "Known faults", list(self.known_faults) or ["none recorded"]

    def __str__(self) -> str:
        """Show the card as plain text, one heading a paragraph."""
        lines = [self.name]
        for heading, entries in self._rows():
            if len(entries) == 1:
                lines.append(f"{heading}: {entries[0]}")
            else:
                lines.append(f"{heading}:")
                lines.extend(f"- {entry}" for entry in entries)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the card as a table in a notebook."""
        left = 'style="text-align: left; vertical-align: top"'
        rows = [f'<tr><th colspan="2" {left}>{escape(self.name)}</th></tr>']
        for heading, entries in self._rows():
            cell = escape(entries[0])
            if len(entries) > 1:
                items = "".join(f"<li>{escape(entry)}</li>" for entry in entries)
                cell = f'<ul style="margin: 0; padding-left: 1.2em">{items}</ul>'
            rows.append(
                f'<tr><th scope="row" {left}>{heading}</th><td {left}>{cell}</td></tr>'
            )
        return f"<table><tbody>{''.join(rows)}</tbody></table>"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Hold a data set that is split into a training and a test part.

    Parameters
    ----------
    card : DataCard
        What the data are.
    train, test : pandas.DataFrame
        The rows of each part, numbered from 0. The columns are the fields of the
        card, in their order. A column ``label`` holds whole numbers, 0 or 1.
    events : pandas.DataFrame, optional
        What the customers of both parts did and when. The columns are the event
        fields of the card; ``customer`` and ``date`` are among them. A customer is
        then one row, in one of the parts.

    Raises
    ------
    ValueError
        If a part lacks rows, has other columns, other labels or other row numbers,
        or if the events do not belong to the customers.
    """

    card: DataCard
    train: pd.DataFrame
    test: pd.DataFrame
    events: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not keep the interface."""
        for part, frame in (("train", self.train), ("test", self.test)):
            _check_frame(part, frame, tuple(self.card.fields))
            if "label" in frame:
                _check_labels(part, frame["label"])
        if self.events is not None:
            self._check_events(self.events)

    def _check_events(self, events: pd.DataFrame) -> None:
        _check_log("events", events, tuple(self.card.event_fields))
        if "customer" not in self.card.fields:
            raise ValueError(
                f"There are events, but train and test have the columns "
                f"{list(self.card.fields)}, expected 'customer' among them. Add it."
            )
        customers = pd.concat([self.train["customer"], self.test["customer"]])
        if customers.duplicated().any():
            first = customers[customers.duplicated()].iloc[0]
            raise ValueError(
                f"Customer {first!r} has {(customers == first).sum()} rows in train "
                "and test, expected 1 where there are events. Keep one."
            )
        strangers = events["customer"][~events["customer"].isin(customers)]
        if len(strangers):
            raise ValueError(
                f"{len(strangers):,} events are of customers without a row, first "
                f"{strangers.iloc[0]!r}, expected 0. Drop them or add the customers."
            )

    def __repr__(self) -> str:
        """Name the data set and count its rows."""
        events = "" if self.events is None else f", {len(self.events):,} events"
        return (
            f"Dataset({self.card.name!r}, train={len(self.train):,} rows, "
            f"test={len(self.test):,} rows{events})"
        )


def _check_frame(part: str, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Refuse other columns, no rows, and rows that are not numbered from 0."""
    if tuple(frame.columns) != columns:
        raise ValueError(
            f"{part} has the columns {list(frame.columns)}, expected {list(columns)}. "
            "Rename or reorder them, or mend the card."
        )
    if len(frame) == 0:
        raise ValueError(f"{part} has 0 rows, expected 1 or more.")
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise ValueError(
            f"{part} has rows numbered {frame.index[0]} to {frame.index[-1]}, expected "
            f"0 to {len(frame) - 1} in order. Use reset_index(drop=True)."
        )


def _check_labels(part: str, labels: "pd.Series[Any]") -> None:
    """Refuse labels other than the whole numbers 0 and 1."""
    values = set(labels.tolist())
    if not pd.api.types.is_integer_dtype(labels) or not values <= {0, 1}:
        raise ValueError(
            f"{part} has the labels {sorted(values, key=str)[:5]} ({labels.dtype}), "
            "expected only 0 and 1, as int. Map them first."
        )


def _check_log(part: str, events: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Refuse a frame of events without customer and date."""
    _check_frame(part, events, columns)
    for name in ("customer", "date"):
        if name not in events:
            raise ValueError(
                f"{part} has the columns {list(events.columns)}, expected {name!r} "
                "among them. Add or rename it."
            )
    dates = events["date"]
    if not pd.api.types.is_datetime64_any_dtype(dates) or dates.isna().any():
        raise ValueError(
            f"{part} has {dates.isna().sum()} missing dates of type {dates.dtype}, "
            "expected 0 of type datetime64. Convert them with pandas.to_datetime."
        )


def _as_frame(texts: list[str], labels: list[int], products: list[str]) -> pd.DataFrame:
    """Put three lists of equal length into a frame with the columns above."""
    return pd.DataFrame(dict(zip(COLUMNS, (texts, labels, products), strict=True)))


def fingerprint(frame: pd.DataFrame) -> str:
    """Give a SHA-256 of the content of a frame, the same under any pandas.

    Each row is written as one line of JSON, its cells in the order of the columns,
    in ASCII, and the lines are hashed in order. A date is written in ISO form, a
    missing cell as ``null``. How wide a number is stored, how a text is stored, the
    names of the columns and the index play no part.

    Parameters
    ----------
    frame : pandas.DataFrame
        One part of a `Dataset`, or any other: cells are text, numbers and dates.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        If a cell is of another type.
    """
    digest = hashlib.sha256()
    columns = [_plain(str(name), column) for name, column in frame.items()]
    for row in zip(*columns, strict=True):
        digest.update(json.dumps(row).encode("ascii") + b"\n")
    return digest.hexdigest()


def _plain(name: str, column: "pd.Series[Any]") -> list[str | int | float | None]:
    """Give the cells of a column as plain text, plain numbers or None."""
    cells: list[str | int | float | None] = []
    for cell, missing in zip(column.tolist(), column.isna().tolist(), strict=True):
        if missing:
            cells.append(None)
        elif isinstance(cell, str):
            cells.append(str(cell))
        elif isinstance(cell, numbers.Integral):
            cells.append(int(cell))
        elif isinstance(cell, numbers.Real):
            cells.append(float(cell))
        elif isinstance(cell, datetime.date):
            cells.append(cell.isoformat())
        else:
            raise ValueError(
                f"Column {name!r} holds a {type(cell).__name__}, expected text, "
                "numbers or dates. Convert it first."
            )
    return cells

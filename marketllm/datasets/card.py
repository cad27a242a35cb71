"""What every loader returns: the data, split, and a card that describes it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

COLUMNS = ("text", "label", "product")


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

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        """Give each heading of the card with its lines."""
        yield "Source", [self.source]
        yield "Licence", [self.licence]
        yield "Size", [self.size]
        yield "Fields", [f"{name}: {what}" for name, what in self.fields.items()]
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
        Columns ``text`` (str), ``label`` (int, 0 or 1) and ``product`` (str, empty
        where it is not known). Rows are numbered from 0 in each part.

    Raises
    ------
    ValueError
        If a part lacks rows, has other columns or other labels.
    """

    card: DataCard
    train: pd.DataFrame
    test: pd.DataFrame

    def __post_init__(self) -> None:
        """Refuse parts that do not keep the interface."""
        for part, frame in (("train", self.train), ("test", self.test)):
            if tuple(frame.columns) != COLUMNS:
                raise ValueError(
                    f"{part} has the columns {list(frame.columns)}, expected "
                    f"{list(COLUMNS)}. Rename or reorder them."
                )
            if len(frame) == 0:
                raise ValueError(f"{part} has 0 rows, expected 1 or more.")
            values = set(frame["label"].tolist())
            if not values <= {0, 1}:
                raise ValueError(
                    f"{part} has the labels {sorted(values, key=str)}, expected only "
                    "0 and 1. Map them first."
                )

    def __repr__(self) -> str:
        """Name the data set and count its rows."""
        return (
            f"Dataset({self.card.name!r}, train={len(self.train):,} rows, "
            f"test={len(self.test):,} rows)"
        )


def _as_frame(texts: list[str], labels: list[int], products: list[str]) -> pd.DataFrame:
    """Put three lists of equal length into a frame with the columns above."""
    return pd.DataFrame(dict(zip(COLUMNS, (texts, labels, products), strict=True)))


def fingerprint(frame: pd.DataFrame) -> str:
    """Give a SHA-256 of the content of one part, the same under any pandas.

    Each row is written as one line of JSON, ``[text, label, product]``, in ASCII,
    and the lines are hashed in order. Types and index of the frame play no part.

    Parameters
    ----------
    frame : pandas.DataFrame
        One part of a `Dataset`.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    columns = (frame["text"], frame["label"], frame["product"])
    for text, label, product in zip(*columns, strict=True):
        line = json.dumps([str(text), int(label), str(product)])
        digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()

"""Customers of your own, from a CSV file, checked and split."""

import datetime
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from marketllm.datasets.card import DataCard, Dataset
from marketllm.datasets.own_file import (
    _check_both,
    _check_width,
    _filled,
    _label,
    _places,
    _rows,
)
from marketllm.datasets.split import (
    _check_fraction,
    _choose_latest,
    _choose_test,
    _parts,
    row_groups,
)

# A leading zero makes a name, not a number: 01234 is a postcode.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?", re.ASCII)


def load_customers_csv(
    path: str | Path,
    *,
    label: str = "label",
    customer: str | None = None,
    date: str | None = None,
    categories: Collection[str] = (),
    test_fraction: float = 0.2,
    seed: int = 0,
    encoding: str = "utf-8",
) -> Dataset:
    """Load customers of your own from a CSV file and split them.

    The file is only read. Each column but those named here is an attribute. A column
    is one of numbers if more than half of its filled cells are numbers; then each of
    them has to be one. Other columns hold text. An empty cell is missing and stays
    so: whatever fills it has to learn from the training part alone.

    Parameters
    ----------
    path : str or pathlib.Path
        A CSV file, separated by commas, with a header row.
    label : str
        Name of the column with the label, 0 or 1.
    customer : str, optional
        Name of the column that says whose row it is. All rows of a customer stay on
        one side. Without it rows with equal attributes stay on one side.
    date : str, optional
        Name of a column with dates, such as 2026-03-31 or 2026-03-31 14:05. With it
        the split is by time: the latest days are tested, and `seed` plays no part.
        Earlier rows of a customer who is tested are left out.
    categories : collection of str
        Names of columns to read as text though they look like numbers.
    test_fraction : float
        Share of the rows for the test part, 0.05 to 0.95. Whole groups or whole days
        are moved, so it is met nearly, not exactly. The card tells the counts.
    seed : int
        Fixes the split.
    encoding : str
        How the file is encoded. A byte order mark is removed.

    Returns
    -------
    Dataset
        Columns ``customer`` (str) and ``date`` (datetime64) where they are named,
        the attributes in the order of the file (int, float or str), and ``label``;
        both parts in the order of the file, and a card with what was found.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be decoded, or its columns or cells are not as described,
        or there are too few rows to split. Row 1 is the header.
    """
    path = Path(path)
    _check_fraction(test_fraction)
    named = {"customer": customer, "date": date, "label": label}
    ours = {name: column for name, column in named.items() if column is not None}
    frame = _read(path, ours, categories, encoding)
    attributes = [name for name in frame.columns.tolist() if name not in ours]
    groups = row_groups(frame[attributes])
    what = "rows that differ: pass customer= if different customers may be equal"
    faults = _look(frame, attributes, len(groups) - len(set(groups)))
    if customer is None:
        faults.append("No customer column was named: a customer may be on both sides.")
    else:
        groups, what = frame["customer"].tolist(), "customers"
        n_more = len(groups) - len(set(groups))
        faults.append(f"{n_more:,} rows are of a customer who has an earlier row.")
    if date is None:
        labels, how = frame["label"].tolist(), "drawn at random"
        is_test = _choose_test(path.name, labels, groups, test_fraction, seed, what)
    else:
        is_test = _choose_latest(path.name, frame["date"], test_fraction)
        how = f"those from {frame['date'][is_test].min():%Y-%m-%d} on"
        if customer is not None:
            tested = frame["customer"].isin(frame["customer"][is_test]).to_numpy()
            keep = is_test | ~tested
            left_out = f"{(~keep).sum():,} earlier rows of customers who are tested"
            faults.append(f"{left_out} are left out.")
            frame, is_test = frame[keep], is_test[keep]
    train, test = _parts(frame, is_test)
    for part, side in (("train", train), ("test", test)):
        if side["label"].nunique() < 2:
            raise ValueError(
                f"{path.name}: too few rows to split by date: {part} has {len(side)} "
                "rows and not both labels. Choose another fraction or add rows."
            )
    card = DataCard(
        name=path.name,
        source=f"your own file {path.name}",
        licence="not stated in the file: it is yours to know",
        size=f"{len(train):,} rows to train, {len(test):,} to test, {how}",
        fields={
            name: _describe(ours.get(name, name), frame[name], name in attributes)
            for name in frame.columns.tolist()
        },
        known_faults=tuple(faults),
    )
    return Dataset(card=card, train=train, test=test)


def _read(
    path: Path, ours: dict[str, str], categories: Collection[str], encoding: str
) -> pd.DataFrame:
    """Read the columns we name, with our names, and the attributes between them."""
    header, rows = _rows(path, encoding)
    _check_header(path.name, header, ours, categories)
    for number, row in rows:
        _check_width(path.name, number, row, header)
    cells = {
        column: [(f"{path.name}, row {number}", column, row[i]) for number, row in rows]
        for i, column in enumerate(header)
    }
    labels = [_label(*cell) for cell in cells.get(ours["label"], [])]
    _check_both(path.name, labels, "customers")
    columns: dict[str, Any] = {}
    if "customer" in ours:
        columns["customer"] = [_filled(*c).strip() for c in cells[ours["customer"]]]
    if "date" in ours:
        days = [_date(*cell) for cell in cells[ours["date"]]]
        columns["date"] = np.array(days, dtype="datetime64[s]")
    for column in header:
        if column not in ours.values():
            columns[column] = _attribute(cells[column], column in categories)
    return pd.DataFrame({**columns, "label": labels})


def _check_header(
    name: str, header: list[str], ours: dict[str, str], categories: Collection[str]
) -> None:
    """Refuse a header whose columns cannot be told apart or are not there."""
    if not header:
        return
    for place, column in enumerate(header, start=1):
        if not column.strip():
            raise ValueError(f"{name}: column {place} has no name. Name or delete it.")
        if header.count(column) > 1:
            raise ValueError(
                f"{name} has {header.count(column)} columns {column!r}, expected 1. "
                "Rename them or delete the copies."
            )
    _places(name, header, list(ours.values()), "label=, customer=, date=")
    attributes = [column for column in header if column not in ours.values()]
    for column in ("customer", "date", "label"):
        if column in attributes:
            raise ValueError(
                f"{name} has a column {column!r} that is not named as {column}=. Pass "
                f"{column}={column!r}, or rename it if it is an attribute."
            )
    if not attributes:
        raise ValueError(
            f"{name} has 0 attributes beside {list(ours.values())}, expected 1 or more."
        )
    for column in categories:
        if column not in attributes:
            raise ValueError(
                f"categories has {column!r}, expected some of {attributes}. Mend it."
            )


def _attribute(cells: list[tuple[str, str, str]], is_category: bool) -> Any:
    """Read a column as numbers or as text; what is empty is missing."""
    filled = [cell for cell in cells if cell[2].strip()]
    if not filled:
        raise ValueError(
            f"{cells[0][0]} and all below: column {cells[0][1]!r} is empty. Delete it."
        )
    texts = [cell.strip() for _, _, cell in filled]
    n_numbers = sum(_NUMBER.fullmatch(text) is not None for text in texts)
    if is_category or 2 * n_numbers <= len(filled):
        return [cell.strip() or None for _, _, cell in cells]
    for (where, column, cell), text in zip(filled, texts, strict=True):
        if not _NUMBER.fullmatch(text):
            raise ValueError(
                f"{where}: column {column!r} holds numbers, and here {cell!r}. Write a "
                "number such as 1234.5, leave an unknown cell empty, or pass "
                f"categories=[{column!r}] to read the column as text."
            )
    if len(filled) == len(cells) and all(map(_WHOLE.fullmatch, texts)):
        return [int(text) for text in texts]
    return [float(cell) if cell.strip() else np.nan for _, _, cell in cells]


def _date(where: str, column: str, cell: str) -> datetime.datetime:
    """Read a date, and refuse what is none."""
    text = _filled(where, column, cell).strip()
    try:
        if _DATE.fullmatch(text):
            return datetime.datetime.fromisoformat(text)
        reason = "it is written otherwise"
    except ValueError as error:
        reason = str(error)
    raise ValueError(
        f"{where}: column {column!r} has the date {cell!r} ({reason}), expected one "
        "such as 2026-03-31 or 2026-03-31 14:05. Rewrite it."
    )


def _look(frame: pd.DataFrame, attributes: list[str], n_repeats: int) -> list[str]:
    """Say what a reader of the file should know."""
    table, n_rows = frame[attributes], len(frame)
    faults = [
        f"{frame['label'].mean():.1%} of the rows have label 1.",
        f"{n_repeats:,} of {n_rows:,} rows repeat all attributes of an earlier row.",
        f"{int(table.isna().sum().sum()):,} of {table.size:,} cells of attributes are "
        "missing.",
    ]
    for name in attributes:
        n_values = frame[name].nunique()
        if n_values == 1:
            faults.append(f"Column {name!r} has one value only: it tells nothing.")
        elif 2 * n_values > n_rows and not _is_number(frame[name]):
            faults.append(
                f"Column {name!r} has {n_values:,} different texts in {n_rows:,} "
                "rows: it may name the customers, which a model can learn by heart."
            )
    return faults


def _is_number(column: "pd.Series[Any]") -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))


def _describe(name: str, column: "pd.Series[Any]", is_attribute: bool) -> str:
    """Say what is in a column of the file."""
    if not is_attribute:
        return f"column {name!r}, {column.nunique():,} different"
    n_missing = int(column.isna().sum())
    what = f"text, {column.nunique():,} different"
    if _is_number(column):
        what = f"{column.min():g} to {column.max():g}"
    return f"column {name!r}, {what}, {n_missing:,} missing"

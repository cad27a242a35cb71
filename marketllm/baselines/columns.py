"""Values of a column to token ids: numbers by quantiles, names one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

MISSING, OTHER = "missing", "other"


class _Numbers:
    """Cut numbers where the training values have their quantiles.

    A bin begins at a value that training had, and reaches to where the next one
    begins. Few different values have a bin each. A value that fills whole bins by
    itself, such as 0, has one of its own.
    """

    def __init__(self, column: Any, values: "pd.Series[Any]", n_bins: int) -> None:
        self.column = column
        known = np.sort(_as_numbers(column, values))
        known = known[~np.isnan(known)]
        starts = np.unique(known)
        if len(starts) > n_bins:
            cuts = np.quantile(known, np.arange(n_bins) / n_bins, method="higher")
            found, counts = np.unique(cuts, return_counts=True)
            after = np.searchsorted(known, found[counts > 1], side="right")
            starts = np.union1d(found, known[after[after < len(known)]])
        self.starts = starts
        self.names = [f"{column}={MISSING}"]
        lasts = np.append(known[np.searchsorted(known, starts[1:]) - 1], known[-1:])
        self.names += [
            f"{column}={_range(low, high)}"
            for low, high in zip(starts, lasts, strict=True)
        ]

    def codes(self, values: "pd.Series[Any]") -> Int[np.ndarray, " N"]:
        """Give 0 where the value is missing, and else the number of its bin."""
        numbers = _as_numbers(self.column, values)
        found = np.searchsorted(self.starts, numbers, side="right").clip(min=1)
        if not len(self.starts):  # training had no value at all
            found = np.zeros(len(numbers), dtype=np.intp)
        return np.where(np.isnan(numbers), 0, found)


class _Names:
    """Give each name that training had a token, and one to all others."""

    def __init__(self, column: Any, values: "pd.Series[Any]", prefix: bool) -> None:
        self.column = column
        self.known = pd.Index(sorted(set(_as_names(column, values.dropna()))))
        front = f"{column}=" if prefix else ""
        self.names = [f"{column}={MISSING}", f"{column}={OTHER}"]
        self.names += [f"{front}{name}" for name in self.known]

    def codes(self, values: "pd.Series[Any]") -> Int[np.ndarray, " N"]:
        """Give 0 where the value is missing, 1 where it is new, else its place."""
        missing = values.isna().to_numpy()
        found = self.known.get_indexer(pd.Index(_as_names(self.column, values)))
        return np.where(missing, 0, found + 2)


def _coder(
    column: Any, values: "pd.Series[Any]", n_bins: int, prefix: bool = True
) -> _Numbers | _Names:
    """Choose by the type of the column."""
    if pd.api.types.is_datetime64_any_dtype(values):
        raise ValueError(
            f"column {column!r} holds dates: turn it into a number, such as the days "
            "up to a day of yours."
        )
    if _is_number(values):
        return _Numbers(column, values, n_bins)
    return _Names(column, values, prefix or pd.api.types.is_bool_dtype(values))


def _is_number(values: "pd.Series[Any]") -> bool:
    kinds = pd.api.types
    return kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values)


def _as_numbers(column: str, values: "pd.Series[Any]") -> np.ndarray:
    if not _is_number(values):
        raise ValueError(
            f"column {column!r} has the type {values.dtype}, but in training it held "
            "numbers: use pandas.to_numeric."
        )
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    wrong = np.flatnonzero(np.isinf(numbers))
    if len(wrong):
        raise ValueError(
            f"column {column!r} is {numbers[wrong[0]]} in row {wrong[0]}: give finite "
            "numbers, and NaN where one is missing."
        )
    return numbers


def _as_names(column: str, values: "pd.Series[Any]") -> list[str]:
    if _is_number(values) and len(values):
        raise ValueError(
            f"column {column!r} has the type {values.dtype}, but in training it held "
            "names: use astype(str)."
        )
    return [str(value) for value in values]


def _range(low: float, high: float) -> str:
    """Write a bin as people would: 31-40."""
    first, last = _short(low), _short(high)
    if first == last:
        return first
    return f"{first}-{last}" if low >= 0 else f"{first} to {last}"


def _short(number: float) -> str:
    if number == round(number) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}"


def _require_columns(
    what: str, frame: pd.DataFrame, columns: Sequence[str] = (), n_rows: int = 1
) -> None:
    """Refuse a frame with too few rows, a column twice, or without one of these."""
    for name in frame.columns:
        if not isinstance(name, str):
            raise ValueError(f"{what} have a column {name!r}: name columns by a str.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(
            f"{what} have {list(frame.columns).count(twice)} columns {twice!r}: give "
            "each column a name of its own."
        )
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{what} have no column {missing[0]!r}, only {list(frame.columns)[:20]}."
        )
    if len(frame) < n_rows:
        raise ValueError(f"{what} have {len(frame)} rows: give at least {n_rows}.")


def _texts(values: "pd.Series[Any]") -> list[str]:
    """Give the texts, an empty one where there is none."""
    found = ["" if pd.isna(value) else value for value in values.tolist()]
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(
                f"column {values.name!r} is {text!r} in row {row}, of type "
                f"{type(text).__name__}: give texts of type str."
            )
    return found

"""Long lists of scores, kept in a compressed file beside the results.

A file of results should be short enough to be read. A list of thousands of scores
is not read by anyone: it goes to ``<name>.npz``, and in ``<name>.json`` stands where
it is, how long it is, and a digest.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LONG = 500  # a longer list leaves the JSON file
_PLACES = 10_000  # scores of four digits are kept as whole numbers
_FIELDS = {"entry", "length", "sha256"}


def take_out(path: Path, runs: dict[str, Any]) -> dict[str, Any]:
    """Write the long lists of scores into one file; leave a note in the place of each.

    Lists that neither four digits nor single precision hold exactly stay where
    they are.

    Parameters
    ----------
    path : Path
        The JSON file; the lists go to the file beside it that ends in ``.npz``.
    runs : dict
        Results that JSON can hold. They are not changed.

    Returns
    -------
    dict
        The same without the long lists.
    """
    kept: dict[str, np.ndarray] = {}

    def note(place: str, value: Any) -> Any:
        if not (isinstance(value, list) and len(value) > LONG):
            return value
        packed = _packed(value)
        if packed is None:
            return value
        kept[place] = packed
        return {"entry": place, "length": len(value), "sha256": _digest(packed)}

    short = _replaced(runs, note)
    if kept:
        beside = path.with_suffix(".npz")
        part = path.with_suffix(".npz.part")
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **kept)
        os.replace(part, beside)
    return dict(short)


def put_back(path: Path, runs: dict[str, Any]) -> dict[str, Any]:
    """Read the long lists back to where their notes stand.

    Parameters
    ----------
    path : Path
        The JSON file.
    runs : dict
        What `take_out` returned.

    Returns
    -------
    dict
        The results as they were.

    Raises
    ------
    ValueError
        If a list is not in the file beside, or has been changed.
    """
    beside = path.with_suffix(".npz")
    try:
        with np.load(beside, allow_pickle=False) as file:
            kept = dict(file)
    except FileNotFoundError:
        kept = {}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{beside} is torn ({error}): {_REMEDY}") from error

    def restore(place: str, value: Any) -> Any:
        if not (isinstance(value, dict) and set(value) == _FIELDS):
            return value
        packed = kept.get(value["entry"])
        if packed is None or _digest(packed) != value["sha256"]:
            fault = "is missing" if packed is None else "has been changed"
            raise ValueError(
                f"{path} says that {value['length']} numbers of {place!r} are in "
                f"{beside.name}, but the list {fault}: {_REMEDY}"
            )
        return _unpacked(packed)

    return dict(_replaced(runs, restore))


_REMEDY = "move both files away, or fetch them again from the repository."


def _replaced(value: Any, change: Callable[[str, Any], Any], place: str = "") -> Any:
    """Copy nested mappings and lists; what is changed is not gone into."""
    changed = change(place, value)
    if changed is not value:
        return changed
    if isinstance(value, dict):
        return {
            name: _replaced(inner, change, f"{place}/{name}" if place else name)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_replaced(v, change, f"{place}/{i}") for i, v in enumerate(value)]
    return value


def _packed(values: list[Any]) -> np.ndarray | None:
    """Give the scores in four bytes each, if these hold them exactly."""
    if not all(type(value) is float and abs(value) < 1e5 for value in values):
        return None
    exact = np.array(values)
    whole = np.round(exact * _PLACES).astype("<i4")
    for packed in (whole, exact.astype("<f4")):
        if _unpacked(packed) == values:
            return packed
    return None


def _unpacked(packed: np.ndarray) -> list[float]:
    scale = _PLACES if packed.dtype.kind == "i" else 1
    return list((packed.astype(float) / scale).tolist())


def _digest(packed: np.ndarray) -> str:
    return hashlib.sha256(packed.tobytes()).hexdigest()[:16]

"""What may come in: texts, labels and grades that can be read."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketllm.tokenizer.cut import _require_utf8

_MAX_CHARACTERS = 50_000  # the longest review of our data has 8,000


def _check_text(name: str, text: object) -> str:
    """Refuse what is no text, and what no person has written as one review."""
    if isinstance(text, bytes):
        raise ValueError(
            f"{name} is bytes, expected str: decode it with the encoding of its file, "
            "such as text.decode('utf-8')."
        )
    if not isinstance(text, str):
        raise ValueError(
            f"{name} is of type {type(text).__name__}, expected str: turn it into a "
            "string, or leave it out."
        )
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(
            f"{name} has {len(text):,} characters, expected at most "
            f"{_MAX_CHARACTERS:,}: give each review by itself."
        )
    _require_utf8(text)
    return text


def _check_texts(texts: Any) -> list[str]:
    """Give texts as a list, and refuse what cannot be read."""
    if isinstance(texts, str | bytes):
        raise ValueError("texts is one text, expected several: give a list.")
    if not isinstance(texts, Collection) or (
        not isinstance(texts, Sequence) and not hasattr(texts, "__array__")
    ):
        raise ValueError(
            f"texts is of type {type(texts).__name__}, expected a list of texts, an "
            "array or a Series."
        )
    found = [_check_text(f"text {i}", text) for i, text in enumerate(texts)]
    if not found:
        raise ValueError("texts holds 0 texts, expected 1 or more: check the filter.")
    for i, text in enumerate(found):
        if not text.strip():
            raise ValueError(f"text {i} is empty: leave it out.")
    return found


def _check_classes(labels: Any, n_texts: int) -> NDArray[Any]:
    """Refuse labels that do not fit the texts, or are not two classes."""
    values = np.asarray(labels)
    _check_number(values, n_texts, "labels")
    classes = np.unique(values)
    if len(classes) != 2:
        raise ValueError(
            f"labels hold {len(classes)} classes, expected 2: {classes.tolist()[:5]}. "
            "Add texts of the other class, or grade with SentimentGrader."
        )
    return values


def _check_grades(grades: Any, n_texts: int) -> NDArray[np.float64]:
    """Refuse grades that do not fit the texts, are no numbers or are all the same."""
    try:
        values = np.asarray(grades, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"grades must be numbers: {error}.") from error
    _check_number(values, n_texts, "grades")
    n_bad = int(np.sum(~np.isfinite(values)))
    if n_bad:
        raise ValueError(
            f"grades has {n_bad} of {len(values)} values that are NaN or infinite, "
            "expected 0: leave these texts out."
        )
    if np.ptp(values) == 0:
        raise ValueError(
            f"all {len(values)} grades are {values[0]:g}, expected 2 or more different "
            "ones: there is nothing to learn."
        )
    return values


def _check_number(values: NDArray[Any], n_texts: int, name: str) -> None:
    if values.shape != (n_texts,):
        raise ValueError(
            f"{name} has shape {values.shape}, expected ({n_texts},): give one for "
            "each text."
        )

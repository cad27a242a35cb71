"""Read a CSV file of a reader's own, and say where it is not as described."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path


def _rows(path: Path, encoding: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Give the header and the numbered rows below it, all of the same width.

    Rows are counted as a spreadsheet counts them: the header is row 1. Blank lines
    are left out. An empty file has an empty header.
    """
    if path.is_dir():
        raise FileNotFoundError(
            f"{path} is a folder, expected a CSV file. Add the name of the file."
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Check the name and folder.")
    try:
        content = path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path.name}, line {line}, is not {encoding}: byte {error.start} is "
            f"0x{error.object[error.start]:02x}. Save it as 'CSV UTF-8', or say what "
            "it is, for instance encoding='cp1252' or encoding='gb18030'."
        ) from error
    try:
        table = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(
            f"{path.name} is not a readable CSV file ({error}). Put texts in double "
            'quotes, close each of them, and write a quote within a text as "".'
        ) from error
    if not content.strip():
        return [], []
    header = table[0]
    rows = [(number, row) for number, row in enumerate(table[1:], start=2) if row]
    return header, rows


def _check_width(name: str, number: int, row: list[str], header: list[str]) -> None:
    """Refuse a row with more or fewer cells than the header."""
    if len(row) != len(header):
        raise ValueError(
            f"{name}, row {number}: {len(row)} cells, expected {len(header)} as in the "
            "header. Put texts with commas or line breaks in double quotes."
        )


def _places(
    name: str, header: list[str], wanted: Sequence[str], arguments: str
) -> list[int]:
    """Give where the wanted columns stand, and refuse what is not there once."""
    if any(header.count(column) != 1 for column in wanted):
        hint = " Separate columns by commas." if len(header) == 1 else ""
        raise ValueError(
            f"{name} has the columns {header}, expected {list(wanted)} once each. "
            f"Rename them or pass {arguments}.{hint}"
        )
    return [header.index(column) for column in wanted]


def _filled(where: str, column: str, cell: str) -> str:
    """Refuse a cell that has to be filled and is not."""
    if not cell.strip():
        raise ValueError(
            f"{where}: column {column!r} is empty. Fill it or delete the row."
        )
    return cell


def _label(where: str, column: str, cell: str) -> int:
    """Read a label, and refuse all but 0 and 1."""
    if _filled(where, column, cell).strip() not in ("0", "1"):
        raise ValueError(
            f"{where}: the label is {cell!r}, expected 0 or 1 in column {column!r}. "
            "Recode the labels, for instance 5 stars to 1 and the others to 0."
        )
    return int(cell)


def _check_both(name: str, labels: Sequence[int], what: str) -> None:
    """Refuse labels that are all the same, or none."""
    if not labels:
        raise ValueError(f"{name} has no rows, expected {what} below the header.")
    if len(set(labels)) == 1:
        raise ValueError(
            f"{name}: all {len(labels)} labels are {labels[0]}, expected both 0 and 1. "
            f"Add {what} of the other class."
        )

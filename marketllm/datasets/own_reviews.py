"""Reviews of your own, from a CSV file, checked and split."""

import csv
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from marketllm.datasets.card import DataCard, Dataset, _as_frame
from marketllm.datasets.split import copy_key, group_folds


def load_reviews_csv(
    path: str | Path,
    *,
    text: str = "text",
    label: str = "label",
    product: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    encoding: str = "utf-8",
) -> Dataset:
    """Load reviews of your own from a CSV file and split them.

    The file is only read. Texts are kept as they are. Rows with the same text stay
    on one side of the split, and so do all rows of a product where you name its
    column; else a model could be tested on what it has learned by heart.

    Parameters
    ----------
    path : str or pathlib.Path
        A CSV file, separated by commas, with a header row.
    text, label : str
        Names of the columns with the review and with its label, 0 or 1.
    product : str, optional
        Name of the column with the product. Without it ``product`` is empty.
    test_fraction : float
        Share of the rows for the test part, 0.05 to 0.95. It is rounded to a
        fraction with a denominator of at most 20, and whole groups are moved, so
        the share is met nearly, not exactly. The card tells the counts.
    seed : int
        Fixes the split.
    encoding : str
        How the file is encoded. A byte order mark is removed.

    Returns
    -------
    Dataset
        Your reviews, both parts in the order of the file, and a card with what was
        found in them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be decoded, or columns, rows, texts or labels are not as
        described, or there are too few rows to split. Row 1 is the header.

    Notes
    -----
    The split is `group_folds`: it keeps groups together and the share of label 1
    about equal on both sides. Two texts count as the same if they differ only in
    spaces or in upper and lower case.
    """
    path = Path(path)
    if not 0.05 <= test_fraction <= 0.95:
        raise ValueError(
            f"test_fraction is {test_fraction}, expected 0.05 to 0.95. Try 0.2."
        )
    texts, labels, products = _read_csv(path, text, label, product, encoding)
    n_ones = sum(labels)
    if n_ones in (0, len(labels)):
        raise ValueError(
            f"{path.name}: all {len(labels)} labels are {labels[0]}, expected both 0 "
            "and 1. Add reviews of the other class."
        )
    groups = _groups(texts, products if product else None)
    is_test = _split(path.name, labels, groups, test_fraction, seed)
    frame = _as_frame(texts, labels, products)
    train = frame[~is_test].reset_index(drop=True)
    test = frame[is_test].reset_index(drop=True)

    lengths = [len(entry.split()) for entry in texts]
    n_copies = len(texts) - len(set(map(copy_key, texts)))
    faults = [
        f"{n_copies:,} of {len(texts):,} rows repeat an earlier text.",
        f"{n_ones / len(labels):.1%} of the rows have label 1.",
    ]
    if product is None:
        faults.append(
            "No product column was named: rows of one product may stand on both sides."
        )
    card = DataCard(
        name=path.name,
        source=f"your own file {path.name}",
        licence="not stated in the file: it is yours to know",
        size=f"{len(train):,} rows to train, {len(test):,} to test",
        fields={
            "text": f"column {text!r}, {min(lengths):,} to {max(lengths):,} words",
            "label": f"column {label!r}, 0 or 1",
            "product": f"column {product!r}" if product else "empty",
        },
        known_faults=tuple(faults),
    )
    return Dataset(card=card, train=train, test=test)


def _read_csv(
    path: Path, text: str, label: str, product: str | None, encoding: str
) -> tuple[list[str], list[int], list[str]]:
    """Read texts, labels and products, and refuse what is not as described."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Check the name and folder.")
    try:
        content = path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is not {encoding}: byte {error.start} is "
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
    header = table[0] if table else []
    wanted = [text, label] if product is None else [text, label, product]
    missing = [name for name in wanted if header.count(name) != 1]
    if content.strip() and missing:
        hint = " Separate columns by commas." if len(header) == 1 else ""
        raise ValueError(
            f"{path.name} has the columns {header}, expected {wanted} once each. "
            f"Rename them or pass text=, label=, product=.{hint}"
        )
    places = [header.index(name) for name in wanted] if not missing else []
    texts: list[str] = []
    labels: list[int] = []
    products: list[str] = []
    # Rows are counted as a spreadsheet counts them: the header is row 1.
    for number, row in enumerate(table[1:], start=2):
        if not row:
            continue  # a blank line
        where = f"{path.name}, row {number}"
        if len(row) != len(header):
            raise ValueError(
                f"{where}: {len(row)} cells, expected {len(header)} as in the header. "
                "Put texts with commas or line breaks in double quotes."
            )
        cells = [row[place] for place in places]
        for name, cell in zip(wanted, cells, strict=True):
            if not cell.strip():
                raise ValueError(
                    f"{where}: column {name!r} is empty. Fill it or delete the row."
                )
        if cells[1].strip() not in ("0", "1"):
            raise ValueError(
                f"{where}: the label is {cells[1]!r}, expected 0 or 1. Recode the "
                "labels, for instance 5 stars to 1 and the others to 0."
            )
        texts.append(cells[0])
        labels.append(int(cells[1]))
        products.append(cells[2] if product else "")
    if not texts:
        raise ValueError(f"{path.name} has no rows, expected reviews below the header.")
    return texts, labels, products


def _groups(texts: Sequence[str], products: Sequence[str] | None) -> np.ndarray:
    """Give a number to each group of rows tied by a text or by a product."""
    n_rows = len(texts)
    keys = [[("text", copy_key(entry)) for entry in texts]]
    if products is not None:
        keys.append([("product", entry) for entry in products])
    numbers: dict[tuple[str, str], int] = {}
    rows, nodes = [], []
    for column in keys:
        for row, key in enumerate(column):
            rows.append(row)
            nodes.append(n_rows + numbers.setdefault(key, len(numbers)))
    size = n_rows + len(numbers)
    graph = coo_array((np.ones(len(rows)), (rows, nodes)), shape=(size, size))
    groups: np.ndarray = connected_components(graph, directed=False)[1]
    return groups[:n_rows]


def _split(
    name: str, labels: Sequence[int], groups: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """Choose the test rows: some folds out of all, whole groups only."""
    share = Fraction(fraction).limit_denominator(20)
    outcomes = np.asarray(labels)
    counts = [len(set(groups[outcomes == value].tolist())) for value in (0, 1)]
    is_test = np.zeros(len(outcomes), dtype=bool)
    if min(counts) >= share.denominator:
        folds = group_folds(outcomes, groups, share.denominator, seed)
        for _, chosen in folds[: share.numerator]:
            is_test[chosen] = True
    if any(len(set(outcomes[side].tolist())) < 2 for side in (is_test, ~is_test)):
        raise ValueError(
            f"{name}: too few rows to split: label 0 has {counts[0]} and label 1 has "
            f"{counts[1]} separate groups (texts or products), expected at least "
            f"{share.denominator} of each for test_fraction={fraction}. Add rows or "
            "choose a fraction such as 0.5."
        )
    return is_test

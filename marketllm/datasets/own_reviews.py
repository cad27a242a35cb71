"""Reviews of your own, from a CSV file, checked and split."""

from pathlib import Path

from marketllm.datasets.card import DataCard, Dataset, _as_frame
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
    _choose_test,
    _parts,
    _tied,
    copy_key,
)


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
    _check_fraction(test_fraction)
    texts, labels, products = _read_csv(path, text, label, product, encoding)
    groups = _tied(
        [copy_key(entry) for entry in texts], *([products] if product else [])
    )
    is_test = _choose_test(
        path.name, labels, groups, test_fraction, seed, "texts or products"
    )
    frame = _as_frame(texts, labels, products)
    train, test = _parts(frame, is_test)

    lengths = [len(entry.split()) for entry in texts]
    n_copies = len(texts) - len(set(map(copy_key, texts)))
    faults = [
        f"{n_copies:,} of {len(texts):,} rows repeat an earlier text.",
        f"{sum(labels) / len(labels):.1%} of the rows have label 1.",
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
    header, rows = _rows(path, encoding)
    wanted = [text, label] if product is None else [text, label, product]
    arguments = "text=, label=, product="
    places = _places(path.name, header, wanted, arguments) if header else []
    texts: list[str] = []
    labels: list[int] = []
    products: list[str] = []
    for number, row in rows:
        where = f"{path.name}, row {number}"
        _check_width(path.name, number, row, header)
        cells = [
            _filled(where, name, row[place])
            for name, place in zip(wanted, places, strict=True)
        ]
        texts.append(cells[0])
        labels.append(_label(where, label, cells[1]))
        products.append(cells[2] if product else "")
    _check_both(path.name, labels, "reviews")
    return texts, labels, products

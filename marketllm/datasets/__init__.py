"""Real data behind one interface: a `Dataset` with a `DataCard`, split once."""

from marketllm.datasets.card import COLUMNS, DataCard, Dataset, fingerprint
from marketllm.datasets.own_reviews import load_reviews_csv
from marketllm.datasets.reviews import load_fine_food_reviews

__all__ = [
    "COLUMNS",
    "DataCard",
    "Dataset",
    "fingerprint",
    "load_fine_food_reviews",
    "load_reviews_csv",
]

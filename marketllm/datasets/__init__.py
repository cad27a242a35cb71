"""Real data behind one interface: a `Dataset` with a `DataCard`, split once."""

from marketllm.datasets.card import COLUMNS, DataCard, Dataset, fingerprint
from marketllm.datasets.chinese_reviews import load_chinese_reviews
from marketllm.datasets.own_reviews import load_reviews_csv
from marketllm.datasets.rated_sentences import RatedSentences, load_rated_sentences
from marketllm.datasets.reviews import load_fine_food_reviews
from marketllm.datasets.split import copy_key, group_folds

__all__ = [
    "COLUMNS",
    "DataCard",
    "Dataset",
    "RatedSentences",
    "copy_key",
    "fingerprint",
    "group_folds",
    "load_chinese_reviews",
    "load_fine_food_reviews",
    "load_rated_sentences",
    "load_reviews_csv",
]

"""What you would pick instead: classical models of text and of customers."""

from marketllm.baselines.classifiers import (
    CANDIDATE_C,
    NGramClassifier,
    bag_of_words,
    majority,
    naive_bayes,
    search_c,
    tfidf_logistic_regression,
)
from marketllm.baselines.customers import (
    table_lightgbm,
    table_logistic_regression,
    table_naive_bayes,
    text_lightgbm,
)
from marketllm.baselines.ngrams import NGramModel
from marketllm.baselines.purchases import BGNBD, rfm
from marketllm.baselines.word_vectors import WordVectors, word_vector_classifier

__all__ = [
    "BGNBD",
    "CANDIDATE_C",
    "NGramClassifier",
    "NGramModel",
    "WordVectors",
    "bag_of_words",
    "majority",
    "naive_bayes",
    "rfm",
    "search_c",
    "table_lightgbm",
    "table_logistic_regression",
    "table_naive_bayes",
    "text_lightgbm",
    "tfidf_logistic_regression",
    "word_vector_classifier",
]

"""What you would pick instead: classical models of text."""

from marketllm.baselines.classifiers import (
    CANDIDATE_C,
    NGramClassifier,
    bag_of_words,
    majority,
    naive_bayes,
    search_c,
    tfidf_logistic_regression,
)
from marketllm.baselines.ngrams import NGramModel
from marketllm.baselines.word_vectors import WordVectors, word_vector_classifier

__all__ = [
    "CANDIDATE_C",
    "NGramClassifier",
    "NGramModel",
    "WordVectors",
    "bag_of_words",
    "majority",
    "naive_bayes",
    "search_c",
    "tfidf_logistic_regression",
    "word_vector_classifier",
]

"""What you would pick instead: classical text classifiers from scikit-learn.

Each function returns a pipeline that is not fitted yet. All take raw texts::

    model = tfidf_logistic_regression().fit(data.train["text"], data.train["label"])
    scores = model.predict_proba(data.test["text"])[:, 1]
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline

from marketllm.baselines.ngrams import NGramModel
from marketllm.datasets import group_folds
from marketllm.tokenizer import WordTokenizer

CANDIDATE_C = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def majority() -> Pipeline:
    """Build the classifier that always gives the more frequent class.

    It never looks at the text. Its accuracy is the share of that class, its AUC 0.5:
    what any other model must beat.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.
    """
    return Pipeline([("classify", DummyClassifier(strategy="prior"))])


def naive_bayes() -> Pipeline:
    """Build multinomial naive Bayes on word counts, with settings left as they are.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    References
    ----------
    Wang and Manning (2012), Baselines and bigrams.
    """
    return Pipeline([("count", CountVectorizer()), ("classify", MultinomialNB())])


def bag_of_words(c: float = 0.03) -> Pipeline:
    """Build logistic regression on which words a text holds.

    A text is the set of its words: neither their order nor their number counts.

    Parameters
    ----------
    c : float
        Inverse strength of the penalty; larger fits the training texts more closely.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    References
    ----------
    Pang, Lee and Vaithyanathan (2002): for sentiment, whether a word occurs tells
    more than how often. On our validation part too.
    """
    count = CountVectorizer(binary=True)
    classify = LogisticRegression(C=c, max_iter=1000)
    return Pipeline([("count", count), ("classify", classify)])


def tfidf_logistic_regression(c: float = 2.0) -> Pipeline:
    """Build logistic regression on TF-IDF weights of words and pairs of words.

    Parameters
    ----------
    c : float
        Inverse strength of the penalty; larger fits the training texts more closely.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.

    Notes
    -----
    How the settings were chosen: on the training part of the fine-food reviews only,
    by the mean AUC over five folds that keep copies of a text together. `search_c`
    repeats the choice of C: 0.8597 at C = 2, against 0.8584 at 1, 0.8585 at 5, 0.8564
    at 10, 0.8545 at 20 and 0.8524 at 50 (standard error 0.006, so they cannot be told
    apart). At C = 2, single words gave 0.8456, words to triples 0.8609, counts
    instead of their logarithm (``sublinear_tf=False``) 0.8533, ``min_df=5`` 0.8578.
    Triples won by 0.0012, far within the error, so we kept the smaller model.
    """
    return Pipeline(
        [
            (
                "weigh",
                TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            ),
            ("classify", LogisticRegression(C=c, max_iter=1000)),
        ]
    )


def search_c(
    texts: Collection[str],
    labels: Collection[Any],
    candidates: Collection[float] = CANDIDATE_C,
    seed: int = 0,
) -> GridSearchCV:
    """Choose C of `tfidf_logistic_regression` by cross-validation.

    Pass the training part only. Copies of a text stay in one fold.

    Parameters
    ----------
    texts, labels : array-like of shape (N,)
        Texts to train on and their classes, 0 or 1.
    candidates : sequence of float
        Values of C to try.
    seed : int
        Fixes the five folds.

    Returns
    -------
    sklearn.model_selection.GridSearchCV
        Fitted; ``best_params_``, ``best_score_`` and ``cv_results_`` tell the choice.
    """
    search = GridSearchCV(
        tfidf_logistic_regression(),
        {"classify__C": list(candidates)},
        scoring="roc_auc",
        cv=group_folds(labels, texts, 5, seed),
        refit=False,
    )
    return search.fit(texts, labels)


class NGramClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Choose the class whose language model is least surprised: Bayes' rule.

    One `NGramModel` a class, all on the same words. Of order 1 it is naive Bayes
    (with another smoothing than scikit-learn's). Takes raw texts.

    Parameters
    ----------
    order : int
        Order of the models.
    vocab_size : int
        Words kept, special tokens included; the others count as one.
    discount : float, optional
        As in `NGramModel`.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        The classes.
    tokenizer_ : WordTokenizer
        The words that the models know.
    models_ : list of NGramModel
        One for each class.
    """

    def __init__(
        self, order: int = 2, vocab_size: int = 4000, discount: float | None = None
    ) -> None:
        self.order = order
        self.vocab_size = vocab_size
        self.discount = discount

    def fit(self, texts: Collection[str], labels: Collection[Any]) -> "NGramClassifier":
        """Count the n-grams of each class.

        Parameters
        ----------
        texts : collection of str
            Texts to train on.
        labels : collection
            Their classes.

        Returns
        -------
        NGramClassifier
            This classifier.

        Raises
        ------
        ValueError
            If there are not as many classes as texts.
        """
        classes = np.asarray(labels)
        if len(texts) != len(classes):
            raise ValueError(
                f"{len(texts)} texts but {len(classes)} labels: give one for each text."
            )
        self.classes_, counts = np.unique(classes, return_counts=True)
        self.log_priors_ = np.log(counts / len(classes))
        self.tokenizer_ = WordTokenizer.train(texts, self.vocab_size)
        sequences = [self._encode(text) for text in texts]
        self.models_ = []
        for name in self.classes_:
            own = [sequences[i] for i in np.flatnonzero(classes == name)]
            model = NGramModel(self.order, len(self.tokenizer_), self.discount)
            self.models_.append(model.fit(own))
        return self

    def predict_log_proba(self, texts: Collection[str]) -> Float[np.ndarray, "N C"]:
        """Give the logarithm of each class's probability.

        Parameters
        ----------
        texts : collection of str
            Texts.

        Returns
        -------
        ndarray of shape (N, C)
            In nats, in the order of ``classes_``.
        """
        rows = []
        for ids in map(self._encode, texts):
            surprise = [model.surprise(ids)[1:].sum() for model in self.models_]
            rows.append(self.log_priors_ - np.array(surprise))
        joint = np.array(rows)
        return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)

    def predict_proba(self, texts: Collection[str]) -> Float[np.ndarray, "N C"]:
        """Give the probability of each class.

        Parameters
        ----------
        texts : collection of str
            Texts.

        Returns
        -------
        ndarray of shape (N, C)
            Rows sum to 1.
        """
        return np.exp(self.predict_log_proba(texts))

    def predict(self, texts: Collection[str]) -> np.ndarray:
        """Choose the most probable class.

        Parameters
        ----------
        texts : collection of str
            Texts.

        Returns
        -------
        ndarray of shape (N,)
        """
        return self.classes_[self.predict_log_proba(texts).argmax(axis=1)]

    def _encode(self, text: str) -> list[int]:
        # A mark in front, so that the models know how texts begin.
        return [self.tokenizer_.pad_id, *self.tokenizer_.encode(text)]

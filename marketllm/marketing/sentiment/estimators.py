"""Sentiment of whole texts, by class and by grade, under scikit-learn's conventions."""

from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from marketllm.marketing.sentiment.readers import Reader, _classifier, _grader
from marketllm.marketing.sentiment.texts import (
    _check_classes,
    _check_grades,
    _check_texts,
)


class SentimentClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Sort texts into two classes, such as praise and complaint.

    Parameters
    ----------
    reader : {"words", "characters", "lexicon", "minilm", "transformer"}
        What reads: a regression on TF-IDF of words, or of runs of up to three
        characters (for Chinese); a regression on one number, VADER's; a regression on
        MiniLM's sentence vectors (both English); a small Transformer from random
        weights.
    n_epochs : int
        Passes of the Transformer over the texts. The others need none.
    seed : int
        Fixes what is random in the Transformer. The others draw nothing.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The classes, ascending.
    model_ : object
        What was fitted.
    """

    def __init__(
        self, reader: Reader = "words", n_epochs: int = 1, seed: int = 0
    ) -> None:
        self.reader = reader
        self.n_epochs = n_epochs
        self.seed = seed

    def fit(
        self, texts: Collection[str], labels: Collection[Any]
    ) -> "SentimentClassifier":
        """Learn from texts and their classes.

        Parameters
        ----------
        texts : collection of str
            N texts.
        labels : collection of shape (N,)
            Their classes; both must be there.

        Returns
        -------
        SentimentClassifier
            This classifier.

        Raises
        ------
        ValueError
            If a text cannot be read, there are not two classes, texts and labels
            differ in number, or a setting is impossible.
        ModuleNotFoundError
            If the reader needs a package that is not installed.
        """
        model = _classifier(self.reader, self.n_epochs, self.seed)
        checked = _check_texts(texts)
        classes = _check_classes(labels, len(checked))
        self.classes_ = np.unique(classes)
        self.model_ = model.fit(checked, np.searchsorted(self.classes_, classes))
        return self

    def predict_proba(self, texts: Collection[str]) -> Float[np.ndarray, "N C"]:
        """Give the probability of each class.

        Parameters
        ----------
        texts : collection of str
            N texts.

        Returns
        -------
        ndarray of shape (N, 2)
            Rows sum to 1; columns in the order of ``classes_``.

        Raises
        ------
        ValueError
            If a text cannot be read.
        """
        check_is_fitted(self, "model_")
        return np.asarray(self.model_.predict_proba(_check_texts(texts)))

    def predict(self, texts: Collection[str]) -> np.ndarray:
        """Choose the more probable class.

        Parameters
        ----------
        texts : collection of str
            N texts.

        Returns
        -------
        ndarray of shape (N,)
        """
        chances = self.predict_proba(texts)
        return self.classes_[chances.argmax(axis=1)]


class SentimentGrader(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Grade texts on a scale, such as that of people who rated them.

    Parameters
    ----------
    reader : {"words", "characters", "lexicon", "minilm", "transformer"}
        As for `SentimentClassifier`; the regressions are linear here.
    n_epochs : int
        Passes of the Transformer over the texts.
    seed : int
        Fixes what is random in the Transformer.

    Attributes
    ----------
    range_ : tuple of float
        The least and the largest grade of the training texts. None beyond is given.
    model_ : object
        What was fitted.
    """

    def __init__(
        self, reader: Reader = "words", n_epochs: int = 4, seed: int = 0
    ) -> None:
        self.reader = reader
        self.n_epochs = n_epochs
        self.seed = seed

    def fit(self, texts: Collection[str], grades: Collection[Any]) -> "SentimentGrader":
        """Learn from texts and their grades, by the squared error.

        Parameters
        ----------
        texts : collection of str
            N texts.
        grades : collection of shape (N,)
            A number for each, larger for kinder texts.

        Returns
        -------
        SentimentGrader
            This grader.

        Raises
        ------
        ValueError
            If a text cannot be read, a grade is no finite number, all are the same,
            texts and grades differ in number, or a setting is impossible.
        ModuleNotFoundError
            If the reader needs a package that is not installed.
        """
        model = _grader(self.reader, self.n_epochs, self.seed)
        checked = _check_texts(texts)
        values = _check_grades(grades, len(checked))
        self.range_ = (float(values.min()), float(values.max()))
        self.model_ = model.fit(checked, values)
        return self

    def predict(self, texts: Collection[str]) -> Float[np.ndarray, " N"]:
        """Grade texts.

        Parameters
        ----------
        texts : collection of str
            N texts.

        Returns
        -------
        ndarray of shape (N,)
            On the scale of the training grades, and within their range.

        Raises
        ------
        ValueError
            If a text cannot be read.
        """
        check_is_fitted(self, "model_")
        found = np.asarray(self.model_.predict(_check_texts(texts)), dtype=float)
        return found.clip(*self.range_)

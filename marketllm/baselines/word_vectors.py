"""Word vectors: a word is known by the company it keeps."""

from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.extmath import randomized_svd

from marketllm.tokenizer import WordTokenizer


class WordVectors(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn a vector for each word from its neighbours; average them over a text.

    Count which words stand within a few words of each other. Turn each count into
    positive pointwise mutual information: by how many nats the pair is more
    frequent than chance, and 0 where it is not. A truncated singular value
    decomposition makes this wide table narrow. Takes raw texts.

    Parameters
    ----------
    width : int
        Numbers in a vector, D.
    window : int
        How many words to each side count as neighbours.
    vocab_size : int
        Words kept, special tokens included; the others count as one.
    seed : int
        Fixes the random start of the decomposition.

    Attributes
    ----------
    tokenizer_ : WordTokenizer
        The words.
    vectors_ : ndarray of shape (V, D)
        One vector for each token id.

    References
    ----------
    Levy and Goldberg (2014), with the symmetric square root of the singular values.
    """

    def __init__(
        self, width: int = 200, window: int = 5, vocab_size: int = 4000, seed: int = 0
    ) -> None:
        self.width = width
        self.window = window
        self.vocab_size = vocab_size
        self.seed = seed

    def fit(self, texts: Collection[str], labels: Any = None) -> "WordVectors":
        """Learn the vectors; no labels are needed.

        Parameters
        ----------
        texts : collection of str
            The corpus. Use the training part alone.
        labels : object
            Not looked at.

        Returns
        -------
        WordVectors
            This transformer.

        Raises
        ------
        ValueError
            If window or width is below 1, or the width is not below the number of
            words.
        """
        if self.window < 1:
            raise ValueError(f"window is {self.window}: give at least 1 word.")
        self.tokenizer_ = WordTokenizer.train(texts, self.vocab_size)
        if not 1 <= self.width < len(self.tokenizer_):
            raise ValueError(
                f"width is {self.width} with {len(self.tokenizer_)} words: give at "
                "least 1, and less than there are words."
            )
        left, values, _ = randomized_svd(
            _mutual_information(self._neighbours(texts)),
            n_components=self.width,
            random_state=self.seed,
        )
        self.vectors_ = left * np.sqrt(values)
        return self

    def transform(self, texts: Collection[str]) -> Float[np.ndarray, "N D"]:
        """Average the vectors of each text's words.

        Parameters
        ----------
        texts : collection of str
            Texts.

        Returns
        -------
        ndarray of shape (N, D)
            Zeros for a text without a word.
        """
        rows = np.zeros((len(texts), self.width))
        for row, ids in zip(rows, map(self.tokenizer_.encode, texts), strict=True):
            if ids:
                row[:] = self.vectors_[ids].mean(axis=0)
        return rows

    def nearest(self, word: str, n_words: int = 5) -> list[str]:
        """List the words whose vectors point the same way.

        Parameters
        ----------
        word : str
            A word of the vocabulary.
        n_words : int
            How many.

        Returns
        -------
        list of str
            By cosine, the nearest first; the word itself is left out.

        Raises
        ------
        ValueError
            If it is not one word of the vocabulary.
        """
        ids = self.tokenizer_.encode(word)
        if len(ids) != 1 or ids[0] == self.tokenizer_.unknown_id:
            raise ValueError(
                f"{word!r} is not one of the {len(self.tokenizer_)} words: choose from "
                "tokenizer_.words."
            )
        lengths = np.linalg.norm(self.vectors_, axis=1)
        cosines = self.vectors_ @ self.vectors_[ids[0]] / np.maximum(lengths, 1e-12)
        order = [i for i in np.argsort(-cosines, kind="stable") if i != ids[0]]
        return [self.tokenizer_.words[i] for i in order[:n_words]]

    def _neighbours(self, texts: Collection[str]) -> sparse.csr_matrix:
        """Count pairs of words that stand at most `window` apart, both ways."""
        size = len(self.tokenizer_)
        counts = sparse.csr_matrix((size, size))
        sequences = [
            np.array(self.tokenizer_.encode(text), dtype=int) for text in texts
        ]
        for apart in range(1, self.window + 1):
            first = np.concatenate([ids[:-apart] for ids in sequences])
            second = np.concatenate([ids[apart:] for ids in sequences])
            ones = np.ones(len(first))
            pairs = sparse.coo_matrix((ones, (first, second)), shape=(size, size))
            counts = counts + pairs + pairs.T
        return counts


def word_vector_classifier(width: int = 200, c: float = 10.0) -> Pipeline:
    """Build logistic regression on the mean word vector of a text.

    Parameters
    ----------
    width : int
        Numbers in a vector.
    c : float
        Inverse strength of the penalty.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted. The vectors are learned from the texts it is fitted to.
    """
    return Pipeline(
        [
            ("vectors", WordVectors(width)),
            ("classify", LogisticRegression(C=c, max_iter=1000)),
        ]
    )


def _mutual_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Turn counts of pairs into positive pointwise mutual information, in nats."""
    pairs = counts.tocoo()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    chance = totals[pairs.row] * totals[pairs.col] / totals.sum()
    more = np.log(pairs.data / chance)
    keep = more > 0
    places = (pairs.row[keep], pairs.col[keep])
    return sparse.csr_matrix((more[keep], places), shape=counts.shape)

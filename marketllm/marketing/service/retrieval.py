"""Finding the passages that answer a question: by words, by meaning, by both."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from marketllm.marketing.service.passages import Passage
from marketllm.marketing.service.words import plain
from marketllm.pretrained import SentenceEncoder

Way = Literal["words", "meaning", "both"]


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[int]], n_items: int, constant: float = 60.0
) -> Float[np.ndarray, " N"]:
    r"""Merge rankings of the same things into one score for each.

    .. math:: s_i = \sum_r \frac{1}{c + rank_r(i)}

    Parameters
    ----------
    rankings : sequence of sequences of int
        Each lists things by number, the best first; a thing that a ranking does not
        list gets nothing from it.
    n_items : int
        How many things there are, N.
    constant : float
        The larger, the less it counts to be first.

    Returns
    -------
    ndarray of shape (N,)
        The scores.

    Raises
    ------
    ValueError
        If a ranking names a thing twice or one that is not there.

    References
    ----------
    Cormack, Clarke and Büttcher (2009), Reciprocal rank fusion outperforms Condorcet
    and individual rank learning methods, SIGIR; the constant is theirs.
    """
    scores = np.zeros(n_items)
    for i, ranking in enumerate(rankings):
        places = np.asarray(ranking, dtype=int)
        if len(set(places.tolist())) != len(places):
            raise ValueError(f"ranking {i} names a thing twice: give each one once.")
        if len(places) and not 0 <= places.min() <= places.max() < n_items:
            raise ValueError(
                f"ranking {i} runs from {places.min()} to {places.max()}, but there "
                f"are {n_items} things, from 0 on: give numbers of these."
            )
        scores[places] += 1 / (constant + np.arange(1, len(places) + 1))
    return scores


class PassageSearch(BaseEstimator):  # type: ignore[misc]
    """Rank passages by how well they fit a question.

    Parameters
    ----------
    way : {"words", "meaning", "both"}
        BM25 from the library bm25s; cosines of sentence vectors; or both rankings
        merged by their ranks.
    encoder : SentenceEncoder, optional
        Gives the vectors. Not needed for ``"words"``.
    k1, b : float
        BM25's: how soon a repeated word stops counting, and how much long passages
        are held back.

    Attributes
    ----------
    passages_ : list of Passage
        What is searched.

    References
    ----------
    Robertson and Zaragoza (2009), The Probabilistic Relevance Framework: BM25 and
    Beyond, section 3.
    """

    def __init__(
        self,
        way: Way = "both",
        encoder: SentenceEncoder | None = None,
        k1: float = 1.5,
        b: float = 0.75,
    ) -> None:
        self.way = way
        self.encoder = encoder
        self.k1 = k1
        self.b = b

    def fit(self, passages: Sequence[Passage], labels: None = None) -> "PassageSearch":
        """Read the passages once.

        Parameters
        ----------
        passages : sequence of Passage
            At least one, with different ids.
        labels : None
            Not used; scikit-learn's convention.

        Returns
        -------
        PassageSearch
            This estimator.

        Raises
        ------
        ValueError
            If a setting or the passages are impossible.
        ModuleNotFoundError
            If bm25s is needed and not installed.
        """
        if self.way not in ("words", "meaning", "both"):
            raise ValueError(
                f"way is {self.way!r}: choose 'words', 'meaning' or 'both'."
            )
        if self.way != "words" and self.encoder is None:
            raise ValueError(
                f"way {self.way!r} needs vectors: give encoder=load_minilm()."
            )
        self.passages_ = _checked(passages)
        texts = [plain(passage.text) for passage in self.passages_]
        if self.way != "meaning":
            library = _bm25s()
            self._index = library.BM25(k1=self.k1, b=self.b)
            self._index.index(_cut(texts), show_progress=False)
        if self.way != "words":
            self._vectors = self._encode(texts)
        return self

    def scores(self, question: str) -> Float[np.ndarray, " N"]:
        """Score each passage for a question.

        Parameters
        ----------
        question : str
            From a customer.

        Returns
        -------
        ndarray of shape (N,)
            More is better. The scores of two ways cannot be compared.

        Raises
        ------
        ValueError
            If the question is no text.
        """
        return self._scores(question)[0]

    def search(self, question: str, n: int = 5) -> list[Passage]:
        """Give the passages that fit best.

        Parameters
        ----------
        question : str
            From a customer.
        n : int
            At most so many.

        Returns
        -------
        list of Passage
            The best first. By words alone, those without a common word are left out.

        Raises
        ------
        ValueError
            If the question is no text, or ``n`` is below 1.
        """
        return self.search_with_confidence(question, n)[0]

    def search_with_confidence(
        self, question: str, n: int = 5
    ) -> tuple[list[Passage], float]:
        """Give the best passages, and how well the best one fits.

        Ranks say which passage is best and not whether it is any good. So the
        confidence is the highest BM25 score for ``"words"``, and the highest cosine
        for the two others.

        Parameters
        ----------
        question : str
            From a customer.
        n : int
            At most so many.

        Returns
        -------
        list of Passage
            As from :meth:`search`.
        float
            The confidence, to compare with a threshold.

        Raises
        ------
        ValueError
            If the question is no text, or ``n`` is below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}: give at least 1.")
        scores, confidence = self._scores(question)
        places = [i for i in _order(scores)[:n] if scores[i] > 0 or self.way != "words"]
        return [self.passages_[i] for i in places], confidence

    def _scores(self, question: str) -> tuple[np.ndarray, float]:
        check_is_fitted(self, "passages_")
        question = plain(question)
        words = meaning = np.zeros(len(self.passages_))
        if self.way != "meaning":
            known = [w for w in _cut([question])[0] if w in self._index.vocab_dict]
            if known:
                words = np.asarray(self._index.get_scores(known), dtype=float)
        if self.way == "words":
            return words, float(words.max())
        meaning = self._vectors @ self._encode([question])[0]
        if self.way == "meaning":
            return meaning, float(meaning.max())
        ranked = [i for i in _order(words) if words[i] > 0]
        both = reciprocal_rank_fusion([ranked, _order(meaning)], len(words))
        return both, float(meaning.max())

    def _encode(self, texts: list[str]) -> np.ndarray:
        encoder: Any = self.encoder
        found: np.ndarray = encoder.encode(texts).double().numpy()
        return found


def _order(scores: np.ndarray) -> list[int]:
    """Give places from the best to the worst; of equals the first comes first."""
    found: list[int] = np.argsort(-scores, kind="stable").tolist()
    return found


def _checked(passages: Sequence[Passage]) -> list[Passage]:
    found = list(passages)
    for i, passage in enumerate(found):
        if not isinstance(passage, Passage):
            raise ValueError(
                f"passage {i} is of type {type(passage).__name__}: give a Passage."
            )
        if not passage.text.strip():
            raise ValueError(f"passage {passage.id!r} is empty: leave it out.")
    n_ids = len({passage.id for passage in found})
    if n_ids < len(found):
        raise ValueError(
            f"{len(found)} passages have {n_ids} ids: give each passage its own."
        )
    if not found:
        raise ValueError("there are 0 passages: give at least one.")
    return found


def _cut(texts: list[str]) -> list[list[str]]:
    found: list[list[str]] = _bm25s().tokenize(
        texts, return_ids=False, show_progress=False
    )
    return found


def _bm25s() -> Any:
    try:
        import bm25s
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "search by words needs the library bm25s: "
            'pip install "marketllm[applications]"'
        ) from error
    return bm25s

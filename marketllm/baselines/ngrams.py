"""N-gram language models: the next token from the few before it, by counting.

A model of order n looks at n - 1 tokens. It counted how often each token came
after them, and where it counted little it leans on a model of lower order.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import NotFittedError

Gram = tuple[int, ...]
USUAL_DISCOUNT = 0.75


class NGramModel:
    """Interpolated Kneser-Ney model of the next token, over token ids.

    From each count a discount is taken off. What this saves goes to the model of
    the next lower order, and from the lowest to all tokens in equal parts. Below
    the highest order it counts not how often an n-gram occurred but after how many
    different tokens: "Francisco" is frequent, but follows only "San".

    Parameters
    ----------
    order : int
        Tokens in an n-gram: 1 looks at none before, 2 at one, and so on.
    vocab_size : int
        Number of different token ids, V.
    discount : float, optional
        What is taken off each count, between 0 and 1. None estimates one for each
        order from the n-grams that occurred once and twice.

    Attributes
    ----------
    discounts : tuple of float
        The discounts in use, order 1 first; there after `fit`.

    Raises
    ------
    ValueError
        If order or vocabulary is below 1, or the discount outside 0 to 1.

    References
    ----------
    Kneser and Ney (1995); Chen and Goodman (1999), section 2.7, with the uniform
    distribution below the lowest order; Ney, Essen and Kneser (1994) for the
    estimate of the discount; Jurafsky and Martin, Speech and Language Processing,
    chapter 3.
    """

    def __init__(
        self, order: int, vocab_size: int, discount: float | None = None
    ) -> None:
        if order < 1 or vocab_size < 1:
            raise ValueError(
                f"order is {order} and vocab_size {vocab_size}: "
                "give at least 1 of each."
            )
        if discount is not None and not 0 < discount < 1:
            raise ValueError(
                f"discount is {discount}: give a number between 0 and 1, or None."
            )
        self.order = order
        self.vocab_size = vocab_size
        self.discount = discount
        self._levels: list[_Level] = []

    @property
    def discounts(self) -> tuple[float, ...]:
        """What is taken off each count, order 1 first."""
        return tuple(level.discount for level in self._fitted())

    @property
    def n_counts(self) -> int:
        """How many different n-grams of all orders have a count."""
        return sum(len(level.counts) for level in self._fitted())

    def fit(self, sequences: Collection[Sequence[int]]) -> "NGramModel":
        """Count the n-grams inside each sequence.

        Parameters
        ----------
        sequences : collection of sequences of int
            Token ids. No n-gram reaches from one sequence into the next; for a
            model that reads on, join them and give one.

        Returns
        -------
        NGramModel
            This model.

        Raises
        ------
        ValueError
            If there is no token, or an id is outside the vocabulary.
        """
        for ids in sequences:
            self._check(ids)
        raw = Counter(_grams(sequences, self.order))
        if not raw:
            raise ValueError(
                f"{len(sequences)} sequences hold no {self.order} tokens in a row: "
                "give longer ones, or lower the order."
            )
        self._levels = []
        for n in range(1, self.order):  # after how many different tokens
            distinct = set(_grams(sequences, n + 1))
            counts = Counter(gram[1:] for gram in distinct)
            self._levels.append(_Level(counts, self.discount))
        self._levels.append(_Level(raw, self.discount))
        return self

    def probabilities(self, context: Sequence[int] = ()) -> Float[np.ndarray, " V"]:
        """Give each token its probability of coming next.

        Parameters
        ----------
        context : sequence of int
            The tokens before; the last ``order - 1`` count. May be shorter.

        Returns
        -------
        ndarray of shape (V,)
            Positive; the sum is 1.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        self._check(context)
        kept = tuple(context)[max(0, len(context) - self.order + 1) :]
        return np.array([self._chance(i, kept) for i in range(self.vocab_size)])

    def surprise(self, sequence: Sequence[int]) -> Float[np.ndarray, " T"]:
        """Score a sequence: how surprising is each token after those before it.

        Parameters
        ----------
        sequence : sequence of int
            Token ids. The first token has nothing before it; leave its number out
            if the model you compare with is not asked for it.

        Returns
        -------
        ndarray of shape (T,)
            Minus the logarithm of each token's probability, in nats.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        self._check(sequence)
        ids = tuple(sequence)
        chances = [
            self._chance(token, ids[max(0, i - self.order + 1) : i])
            for i, token in enumerate(ids)
        ]
        return -np.log(np.array(chances, dtype=float))

    def _chance(self, token: int, context: Gram) -> float:
        """From the lowest order up: the discounted count, and a share of the rest."""
        chance = 1 / self.vocab_size
        for n, level in enumerate(self._fitted()):
            if n > len(context):
                break
            before = context[len(context) - n :]
            total = level.totals.get(before)
            if total is None:  # then no longer context was seen either
                break
            count = max(level.counts.get((*before, token), 0) - level.discount, 0)
            saved = level.discount * level.kinds[before]
            chance = (count + saved * chance) / total
        return chance

    def _fitted(self) -> "list[_Level]":
        if not self._levels:
            raise NotFittedError(
                "the model has counted nothing (0 levels): call fit first."
            )
        return self._levels

    def _check(self, ids: Sequence[int]) -> None:
        for i in (min(ids, default=0), max(ids, default=0)):
            if not 0 <= i < self.vocab_size:
                raise ValueError(
                    f"token id {i} is outside the vocabulary: ids run from 0 to "
                    f"{self.vocab_size - 1}."
                )


class _Level:
    """Counts of one order, with what each context adds up to."""

    def __init__(self, counts: Counter[Gram], discount: float | None) -> None:
        self.counts = counts
        self.totals: Counter[Gram] = Counter()
        self.kinds: Counter[Gram] = Counter()
        for gram, count in counts.items():
            self.totals[gram[:-1]] += count
            self.kinds[gram[:-1]] += 1
        self.discount = _estimate(counts) if discount is None else discount


def _estimate(counts: Counter[Gram]) -> float:
    once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
    return once / (once + 2 * twice) if once and twice else USUAL_DISCOUNT


def _grams(sequences: Collection[Sequence[int]], n: int) -> Iterator[Gram]:
    for ids in sequences:
        yield from zip(*(ids[i:] for i in range(n)), strict=False)

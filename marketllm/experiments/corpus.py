"""Texts as token ids, in words or in pieces, for language models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from marketllm.tokenizer import BytePairTokenizer, WordTokenizer, split_words

Unit = Literal["words", "pieces"]


@dataclass(frozen=True)
class Corpus:
    """The reviews as token ids, and the way back.

    Parameters
    ----------
    unit : {"words", "pieces"}
        Frequent words, all others one and the same id; or byte-pair encoding.
    vocab_size : int
        Tokens of the tokenizer; words get two more, for the end and the mask.
    train, test : sequence of str
        The texts to learn from and to be measured on.
    """

    unit: Unit
    vocab_size: int
    train: Sequence[str]
    test: Sequence[str]

    @cached_property
    def tokenizer(self) -> WordTokenizer | BytePairTokenizer:
        """Learnt from the training texts alone."""
        if self.unit == "words":
            return WordTokenizer.train(self.train, self.vocab_size)
        return BytePairTokenizer.train(self.train, self.vocab_size)

    @cached_property
    def special_ids(self) -> tuple[int, int, int]:
        """Padding, end and mask."""
        tokenizer = self.tokenizer
        if isinstance(tokenizer, WordTokenizer):
            return tokenizer.pad_id, len(tokenizer), len(tokenizer) + 1
        return tokenizer.pad_id, tokenizer.end_id, tokenizer.mask_id

    @property
    def n_ids(self) -> int:
        """Number of different token ids, V."""
        return max(len(self.tokenizer), max(self.special_ids) + 1)

    @cached_property
    def train_ids(self) -> list[list[int]]:
        """Token ids of each training text."""
        return [self.tokenizer.encode(text) for text in self.train]

    @cached_property
    def test_ids(self) -> list[list[int]]:
        """Token ids of each test text."""
        return [self.tokenizer.encode(text) for text in self.test]

    @cached_property
    def train_words(self) -> str:
        """The training texts as the tokenizer gives them back, a blank a border."""
        texts = (" ".join(self.words(ids)) for ids in self.train_ids)
        return " " + " | ".join(texts) + " "

    def text(self, ids: Iterable[int]) -> str:
        """Write ids out up to the first end.

        Parameters
        ----------
        ids : iterable of int
            Token ids; padding and the mask are left out.

        Returns
        -------
        str
        """
        kept = []
        for i in ids:
            if i == self.special_ids[1]:
                break
            if i not in self.special_ids:
                kept.append(i)
        return self.tokenizer.decode(kept)

    def words(self, ids: Iterable[int]) -> list[str]:
        """Write ids out as words, to compare texts whatever their unit.

        Parameters
        ----------
        ids : iterable of int
            Token ids.

        Returns
        -------
        list of str
        """
        return split_words(self.text(ids))

    def overlap(self, words: Sequence[str]) -> int:
        """Measure the longest run of words that a training text holds too.

        Parameters
        ----------
        words : sequence of str
            The words of a text.

        Returns
        -------
        int
            Length of the run, in words.
        """
        longest = 0
        for start in range(len(words)):
            while start + longest < len(words):
                run = " ".join(words[start : start + longest + 1])
                if f" {run} " not in self.train_words:
                    break
                longest += 1
        return longest


def cut_windows(sequences: Iterable[Sequence[int]], length: int) -> list[list[int]]:
    """Cut long texts, so that none of their tokens is left out.

    Parameters
    ----------
    sequences : iterable of sequences of int
        Token ids of each text.
    length : int
        The most tokens in a piece.

    Returns
    -------
    list of list of int
        The pieces in order.
    """
    return [
        list(ids[start : start + length])
        for ids in sequences
        for start in range(0, len(ids), length)
    ]

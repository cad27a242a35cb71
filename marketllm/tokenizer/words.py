"""Text to token ids and back, one token a word."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

PAD, UNKNOWN = "<pad>", "<unk>"


class WordTokenizer:
    """A vocabulary of the most frequent words of a corpus.

    Text is lower-cased and cut into runs of letters, digits and apostrophes. A
    word outside the vocabulary becomes ``<unk>``: what it said is lost.

    Parameters
    ----------
    words : sequence of str
        The vocabulary without the special tokens, in the order of the ids.

    Attributes
    ----------
    words : tuple of str
        The vocabulary; the position is the token id. ``<pad>`` is 0 and
        ``<unk>`` is 1.

    Raises
    ------
    ValueError
        If a word occurs twice or is a special token.
    """

    pad_id = 0
    unknown_id = 1

    def __init__(self, words: Sequence[str]) -> None:
        self.words = (PAD, UNKNOWN, *words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            raise ValueError(
                f"{len(self.words)} words, of which {len(self._ids)} are distinct: "
                f"give each word once, and neither {PAD} nor {UNKNOWN}."
            )

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "WordTokenizer":
        """Keep the most frequent words of a corpus; ties go by the alphabet.

        Parameters
        ----------
        texts : iterable of str
            The corpus. Use the training part alone.
        vocab_size : int
            Size of the vocabulary, the two special tokens included.

        Raises
        ------
        ValueError
            If ``vocab_size`` leaves no room for a word, or there is no text.
        """
        if isinstance(texts, str):
            raise ValueError("texts is one string: give a list of texts.")
        if vocab_size < 3:
            raise ValueError(
                f"vocab_size is {vocab_size}, and 2 ids are special: give at least 3."
            )
        counts = Counter(word for text in texts for word in split_words(text))
        if not counts:
            raise ValueError("the texts hold no word: nothing to learn from.")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(ranked[: vocab_size - 2])

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Turn a text into token ids.

        Parameters
        ----------
        text : str
            Any text; a text without a word gives an empty list.

        Returns
        -------
        list of int
            One id a word.
        """
        return [self._ids.get(word, self.unknown_id) for word in split_words(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn token ids back into words with a blank between them.

        Parameters
        ----------
        ids : iterable of int
            Token ids; padding is left out.

        Returns
        -------
        str
            The words; an unknown one is shown as ``<unk>``.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        words = []
        for i in ids:
            if not 0 <= i < len(self.words):
                raise ValueError(
                    f"token id {i} is outside the vocabulary: "
                    f"ids run from 0 to {len(self.words) - 1}."
                )
            if i != self.pad_id:
                words.append(self.words[i])
        return " ".join(words)


def split_words(text: str) -> list[str]:
    """Cut a text into lower-case words.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        Runs of letters, digits and apostrophes.
    """
    _require_text(text)
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def _require_text(text: object) -> None:
    if not isinstance(text, str):
        raise ValueError(
            f"a text is {text!r}, of type {type(text).__name__}: give texts of type "
            "str, and leave out those that are missing."
        )

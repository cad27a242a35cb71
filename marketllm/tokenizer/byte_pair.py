"""Byte-pair encoding: tokens that are pieces of words, and no unknown ones."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from marketllm.tokenizer.cut import _split
from marketllm.tokenizer.files import _read, _write
from marketllm.tokenizer.merges import Pair, apply_merges, learn_merges
from marketllm.tokenizer.vocabulary import SPECIAL, _published, _trained

_CACHE_SIZE = 2**16  # words
_SETTINGS = ("end_id", "split_digits", "unknown_id")  # of a published vocabulary


class BytePairTokenizer:
    """A vocabulary of bytes and of the pieces that merges make out of them.

    The ids run: special tokens, the 256 bytes, one token for each merge. Any text
    can be written in bytes, so no token is unknown and nothing is lost. A published
    vocabulary (:meth:`from_vocabulary`) has its own order and may lack bytes.

    Parameters
    ----------
    merges : sequence of (int, int)
        Pairs of ids in the order in which they are merged. The first makes the
        first id after the bytes, and so on.
    special : sequence of str
        Names of the special tokens, first those of ``SPECIAL``. No text can
        write them: ``encode`` takes their names for plain text.

    Attributes
    ----------
    tokens : tuple of bytes
        What each token says; the position is the id. For a special token, its name.
    merges : tuple of (int, int)
        As given.
    special : tuple of str
        As given.
    special_ids : dict of str to int
        The id of each special token.
    pad_id, end_id, mask_id : int
        0, 1 and 2. With a published vocabulary ``end_id`` is the one given; it has
        no padding and no mask, so these are -1, which no model takes for a token.
    split_digits : bool
        Whether each digit is a token of its own; False unless a published
        vocabulary wants it.
    unknown_id : int or None
        What stands for a byte that a published vocabulary lacks.

    Raises
    ------
    ValueError
        If a merge takes an id that is not there yet, or occurs twice, or the
        special tokens are not as described.

    References
    ----------
    Sennrich et al. (2016), section 3.2; on bytes: Radford et al. (2019),
    section 2.2.
    """

    pad_id, end_id, mask_id = 0, 1, 2
    split_digits = False
    unknown_id: int | None = None

    def __init__(
        self, merges: Sequence[Pair] = (), special: Sequence[str] = SPECIAL
    ) -> None:
        self.special = tuple(special)
        self.special_ids = {name: i for i, name in enumerate(self.special)}
        self.tokens, self._byte_ids, self._merged = _trained(merges, self.special)
        self.merges = tuple(self._merged)
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, special: Sequence[str] = SPECIAL
    ) -> "BytePairTokenizer":
        """Learn merges: again and again, join the pair that occurs most often.

        Ties go to the pair with the smaller ids. The merges are those that Hugging
        Face's ``BpeTrainer`` learns.

        Parameters
        ----------
        texts : iterable of str
            The corpus. Use the training part alone.
        vocab_size : int
            Size of the vocabulary, special tokens and bytes included. It comes out
            smaller if the corpus has no pair left to merge.
        special : sequence of str
            Names of the special tokens, first those of ``SPECIAL``.

        Raises
        ------
        ValueError
            If ``vocab_size`` leaves no room for the bytes, there is no text, or a
            text holds a lone surrogate.
        """
        if isinstance(texts, str):
            raise ValueError("texts is one string: give a list of texts.")
        start = cls(special=special)
        if vocab_size < len(start):
            raise ValueError(
                f"vocab_size is {vocab_size}, and {len(start.special)} special tokens "
                f"and 256 bytes come first: give at least {len(start)}."
            )
        frequency = Counter(word for text in texts for word in _split(text))
        if not frequency:
            raise ValueError("the texts are empty: nothing to learn from.")
        words = [start._bytes_of(word) for word in frequency]
        merges = learn_merges(
            words, list(frequency.values()), len(start), vocab_size - len(start)
        )
        return cls(merges, special)

    @classmethod
    def from_vocabulary(
        cls,
        tokens: Sequence[bytes],
        merges: Sequence[Pair],
        special: Mapping[str, int],
        end_id: int,
        split_digits: bool = False,
        unknown_id: int | None = None,
    ) -> "BytePairTokenizer":
        """Use the vocabulary and the merges of a published model.

        Some vocabularies lack a few bytes that their corpus never showed, such as
        rare control characters. Hugging Face's library puts its unknown token
        there if it has one, as we do; else it drops the bytes without a word, and
        then we refuse the text.

        Parameters
        ----------
        tokens : sequence of bytes
            What each token says; the position is the id. A special token says its
            name.
        merges : sequence of (int, int)
            Pairs of ids in the order in which they are merged. The ids that they
            make must ascend, as in GPT-2, Llama 3 and SmolLM2.
        special : mapping of str to int
            The ids of the special tokens. No text can write them.
        end_id : int
            The special token that ends a text.
        split_digits : bool
            Whether each digit is a token of its own, blanks before it apart.
        unknown_id : int or None
            A special token, put in the place of each byte that is missing. With
            None, ``encode`` refuses a text that has such a byte.

        Raises
        ------
        ValueError
            If tokens, merges and special tokens do not fit one another.
        """
        new = cls()
        made = _published(tokens, merges, special, end_id, unknown_id)
        new._byte_ids, new._merged = made
        new.tokens, new.merges = tuple(tokens), tuple(new._merged)
        new.special_ids = dict(sorted(special.items(), key=lambda item: item[1]))
        new.special = tuple(new.special_ids)
        new.pad_id, new.end_id, new.mask_id = -1, end_id, -1
        new.split_digits, new.unknown_id = split_digits, unknown_id
        return new

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Turn a text into token ids.

        Parameters
        ----------
        text : str
            Any text; the name of a special token in it is plain text.

        Returns
        -------
        list of int
            Ids of bytes and of merged pieces, never of special tokens; only for a
            byte that the vocabulary lacks comes ``unknown_id``.

        Raises
        ------
        ValueError
            If the text holds a lone surrogate, which has no bytes in UTF-8, or a
            byte that the vocabulary lacks, and there is no ``unknown_id``.
        """
        ids: list[int] = []
        for word in _split(text, self.split_digits):
            pieces = self._cache.get(word)
            if pieces is None:
                if len(self._cache) >= _CACHE_SIZE:
                    self._cache.clear()
                pieces = apply_merges(self._bytes_of(word), self._merged)
                self._cache[word] = pieces
            ids += pieces
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Turn token ids back into text.

        Parameters
        ----------
        ids : iterable of int
            Token ids. Padding is left out; the other special tokens are written
            by their names.

        Returns
        -------
        str
            The text. Bytes that are no UTF-8, such as a character cut in two,
            become U+FFFD, the replacement character.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary.
        """
        parts = []
        for i in ids:
            if not 0 <= i < len(self.tokens):
                raise ValueError(
                    f"token id {i} is outside the vocabulary: "
                    f"ids run from 0 to {len(self.tokens) - 1}."
                )
            if i != self.pad_id:
                parts.append(self.tokens[i])
        return b"".join(parts).decode(errors="replace")

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to a JSON file, all of it or nothing.

        Parameters
        ----------
        path : str or pathlib.Path
            The file. If it is there, it is replaced in one step.
        """
        content = {"version": 1, "special": self.special, "merges": self.merges}
        if self.pad_id < 0:  # a published vocabulary
            content |= {"version": 2, "special": self.special_ids}
            content |= {"tokens": [token.decode("latin-1") for token in self.tokens]}
            content |= {name: getattr(self, name) for name in _SETTINGS}
        _write(path, content)

    @classmethod
    def load(cls, path: str | Path) -> "BytePairTokenizer":
        """Read a tokenizer that :meth:`save` has written.

        Parameters
        ----------
        path : str or pathlib.Path
            The file.

        Raises
        ------
        ValueError
            If the file is torn, is something else or has another version.
        """
        content = _read(path)
        try:
            merges, special = [(a, b) for a, b in content["merges"]], content["special"]
            if content["version"] == 1:
                return cls(merges, special)
            tokens = [token.encode("latin-1") for token in content["tokens"]]
            settings = {name: content[name] for name in _SETTINGS}
            return cls.from_vocabulary(tokens, merges, special, **settings)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no tokenizer ({error}): train and save it again."
            ) from error

    def _bytes_of(self, word: str) -> list[int]:
        try:
            return [self._byte_ids[byte] for byte in word.encode()]
        except KeyError as error:
            (byte,) = error.args
            raise ValueError(
                f"the text has the byte {byte:#04x} (in {word[:20]!a}), which the "
                "vocabulary lacks: take it out of the text, or give the tokenizer an "
                "unknown_id."
            ) from error

"""Byte-pair encoding: tokens that are pieces of words, and no unknown ones."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import regex

from marketllm.tokenizer.merges import Pair, apply_merges, learn_merges
from marketllm.tokenizer.words import _require_text

SPECIAL = ("<pad>", "<end>", "<mask>")

# As in GPT-2: a word keeps the blank before it.
_WORD = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
# GPT-2's order of the 256 bytes: those that Latin-1 shows as a character first.
_SHOWN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = (*_SHOWN, *(byte for byte in range(256) if byte not in _SHOWN))

_FORMAT, _VERSION = "marketllm byte-pair encoding", 1
_CACHE_SIZE = 2**16  # words


class BytePairTokenizer:
    """A vocabulary of bytes and of the pieces that merges make out of them.

    The ids run: special tokens, the 256 bytes, one token for each merge. Any text
    can be written in bytes, so no token is unknown and nothing is lost.

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
    pad_id, end_id, mask_id : int
        0, 1 and 2.

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

    pad_id = 0
    end_id = 1
    mask_id = 2

    def __init__(
        self, merges: Sequence[Pair] = (), special: Sequence[str] = SPECIAL
    ) -> None:
        self.special = tuple(special)
        n_distinct = len(set(self.special))
        if self.special[:3] != SPECIAL or n_distinct < len(self.special):
            raise ValueError(
                f"the special tokens are {self.special}: begin with {SPECIAL} and give "
                "each name once."
            )
        first_byte = len(self.special)
        self._byte_ids = {byte: first_byte + i for i, byte in enumerate(_BYTES)}
        tokens = [name.encode() for name in self.special]
        tokens += [bytes([byte]) for byte in _BYTES]
        # The id that a pair becomes: smaller for a merge that was learned earlier.
        self._merged: dict[Pair, int] = {}
        for left, right in merges:
            if not all(first_byte <= part < len(tokens) for part in (left, right)):
                raise ValueError(
                    f"merge {len(self._merged)} is of the ids {left} and {right}, but "
                    f"there it can take ids from {first_byte} to {len(tokens) - 1}: "
                    "give the merges in the order of training."
                )
            if (left, right) in self._merged:
                raise ValueError(
                    f"merge {len(self._merged)}, of the ids {left} and {right}, is "
                    "there already: give each pair once."
                )
            self._merged[left, right] = len(tokens)
            tokens.append(tokens[left] + tokens[right])
        self.tokens = tuple(tokens)
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
            Ids of bytes and of merged pieces, never of special tokens.

        Raises
        ------
        ValueError
            If the text holds a lone surrogate, which has no bytes in UTF-8.
        """
        ids: list[int] = []
        for word in _split(text):
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
        path = Path(path)
        content = {
            "format": _FORMAT,
            "version": _VERSION,
        } | {"special": self.special, "merges": self.merges}
        new = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with new.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)

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
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path} is not whole, or not JSON ({error}): "
                "train the tokenizer and save it again."
            ) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(
                f"{path} is JSON, but not a tokenizer of this kind: "
                f"it lacks the format {_FORMAT!r}. Give a file that save has written."
            )
        if content.get("version") != _VERSION:
            raise ValueError(
                f"{path} has version {content.get('version')!r} of the format, this "
                f"package reads {_VERSION}: train and save the tokenizer again."
            )
        try:
            return cls([(a, b) for a, b in content["merges"]], content["special"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no tokenizer ({error}): train and save it again."
            ) from error

    def _bytes_of(self, word: str) -> list[int]:
        return [self._byte_ids[byte] for byte in word.encode()]


def _split(text: str) -> list[str]:
    """Cut a text into words, blanks included: joined, they are the text."""
    _require_text(text)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has a lone surrogate, {text[error.start]!a}, at place "
            f"{error.start}: half a character, which UTF-8 cannot write. Read the text "
            "again with the right encoding, or put U+FFFD in its place."
        ) from error
    return _WORD.findall(text)

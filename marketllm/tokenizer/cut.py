"""Cut a text into words, before byte-pair encoding: no token reaches across two."""

import regex

from marketllm.tokenizer.words import _require_text

# As in GPT-2: a word keeps the blank before it.
_WORD = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
# The same after each digit was cut off: a run of blanks ends before it.
_WORD_OR_DIGIT = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
)


def _split(text: str, digits: bool = False) -> list[str]:
    """Cut a text into words, blanks included: joined, they are the text."""
    _require_text(text)
    _require_utf8(text)
    return (_WORD_OR_DIGIT if digits else _WORD).findall(text)


def _require_utf8(text: str) -> None:
    """Refuse half a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has a lone surrogate, {text[error.start]!a}, at place "
            f"{error.start}: half a character, which UTF-8 cannot write. Read the text "
            "again with the right encoding, or put U+FFFD in its place."
        ) from error

"""Tokenizer and chat template out of the header of a GGUF file."""

from collections.abc import Mapping
from typing import Any

from marketllm.pretrained.gguf_file import GGUFFile
from marketllm.pretrained.sources import _AGAIN, _OTHER
from marketllm.tokenizer import BytePairTokenizer
from marketllm.tokenizer.chat import ChatTemplate
from marketllm.tokenizer.vocabulary import _BYTES, _SHOWN

# How the text is cut before the merges, by the name in the header: whether each
# digit stands alone.
_SPLITS_DIGITS = {"gpt-2": False, "smollm": True}
_SPECIAL_KINDS = (3, 4)  # token types: control, and defined by the user
_MERGES = "tokenizer.ggml.merges"
# The printable character that stands for a byte in the file, as in GPT-2.
_BYTE_OF = {
    chr(byte if i < len(_SHOWN) else 256 + i - len(_SHOWN)): byte
    for i, byte in enumerate(_BYTES)
}


def _tokenizer(file: GGUFFile, vocab_size: int) -> BytePairTokenizer:
    model = file.field("tokenizer.ggml.model", str)
    cut = file.field("tokenizer.ggml.pre", str)
    if model != "gpt2" or cut not in _SPLITS_DIGITS:
        file.refuse(
            f"has a tokenizer of the kind {model!r} that cuts like {cut!r}; we know "
            f"'gpt2' that cuts like {' or '.join(map(repr, _SPLITS_DIGITS))}",
            _OTHER,
        )
    for name in ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix"):
        if file.fields.get(name, False) is not False:
            file.refuse(f"has {name} switched on, which we do not know", _OTHER)
    names = _list_of(file, "tokenizer.ggml.tokens", str)
    kinds = _list_of(file, "tokenizer.ggml.token_type", int)
    for what, size in (("tokens", len(names)), ("token types", len(kinds))):
        if size != vocab_size:
            file.refuse(
                f"has {size:,} {what}, but llama.vocab_size is {vocab_size:,}", _AGAIN
            )
    ids = {name: i for i, name in enumerate(names)}
    special = {name: i for name, i in ids.items() if kinds[i] in _SPECIAL_KINDS}
    unknown = "tokenizer.ggml.unknown_token_id"
    try:
        return BytePairTokenizer.from_vocabulary(
            [name.encode() if name in special else _bytes(name) for name in names],
            [_pair(text, ids) for text in _list_of(file, _MERGES, str)],
            special,
            end_id=file.field("tokenizer.ggml.eos_token_id", int),
            split_digits=_SPLITS_DIGITS[cut],
            unknown_id=file.field(unknown, int) if unknown in file.fields else None,
        )
    except ValueError as error:
        raise ValueError(f"{file.path} has no sound vocabulary: {error}") from error


def _chat(file: GGUFFile, tokenizer: BytePairTokenizer) -> ChatTemplate:
    source = file.field("tokenizer.chat_template", str)
    try:
        return ChatTemplate(source, tokenizer)
    except ValueError as error:
        raise ValueError(f"{file.path} has no sound chat template: {error}") from error


def _list_of(file: GGUFFile, name: str, kind: type) -> list[Any]:
    found: list[Any] = file.field(name, list)
    if not all(type(value) is kind for value in found):
        file.refuse(f"has {name} that is no list of {kind.__name__}", _AGAIN)
    return found


def _bytes(token: str) -> bytes:
    """Turn a token's printable characters, one for each byte, into the bytes."""
    try:
        return bytes([_BYTE_OF[character] for character in token])
    except KeyError as error:
        raise ValueError(
            f"token {token!r} has the character {error}, which stands for no byte."
        ) from error


def _pair(merge: str, ids: Mapping[str, int]) -> tuple[int, int]:
    try:
        left, right = merge.split(" ")
        return ids[left], ids[right]
    except (KeyError, ValueError) as error:
        raise ValueError(f"the merge {merge!r} is of no two tokens.") from error

"""One step after another through the bytes of a GGUF file."""

import struct
from functools import partial
from pathlib import Path
from typing import Any

from marketllm.pretrained.sources import _AGAIN, _refuse

_MAX_AXES = 4
# Value types by their number: struct's letter for a scalar; 8 is a text, 9 a list.
_SCALARS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
_TEXT, _LIST = 8, 9


class _Walk:
    """A place in the bytes of a file that moves on as they are read."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self.data = data
        self.place = 0
        self.refuse = partial(_refuse, path)

    def require_magic(self) -> None:
        found = bytes(self.data[:9])
        if not found:
            self.refuse("is empty", _AGAIN)
        if found[:4] == b"GGUF"[: len(found)]:
            self.take(4, "the first word, GGUF")
            return
        kind = ""
        if found[:2] == b"PK":
            kind = ", perhaps a zip archive or weights of PyTorch"
        if found[8:] == b"{":
            kind = ", perhaps safetensors"
        self.refuse(
            f"is no GGUF file{kind}; it begins with {found[:4]!r} and not with b'GGUF'",
            "give a .gguf file",
        )

    def take(self, n_bytes: int, what: str) -> memoryview:
        start, end = self.place, self.place + n_bytes
        if end > len(self.data):
            self.refuse(
                f"is torn or damaged: it has {len(self.data):,} bytes, and {what} "
                f"would end at {end:,}",
                _AGAIN,
            )
        self.place = end
        return self.data[start:end]

    def number(self, letter: str, what: str) -> Any:
        letter = "<" + letter
        return struct.unpack(letter, self.take(struct.calcsize(letter), what))[0]

    def text(self, what: str) -> str:
        raw = self.take(self.number("Q", what), what)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            self.refuse(f"is damaged: {what} is no text in UTF-8", _AGAIN)

    def value(self, kind: int, what: str) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind], what)
        if kind == _TEXT:
            return self.text(what)
        if kind != _LIST:
            self.refuse(f"has the value type {kind} in {what}: there is none", _AGAIN)
        kind, n_values = self.number("I", what), self.number("Q", what)
        if kind in _SCALARS:
            letter = _SCALARS[kind]
            raw = self.take(n_values * struct.calcsize("<" + letter), what)
            return [value for (value,) in struct.iter_unpack("<" + letter, raw)]
        if kind != _TEXT:
            self.refuse(f"has a list of the value type {kind} in {what}", _AGAIN)
        return [self.text(what) for _ in range(n_values)]

    def entry(self, name: str) -> tuple[tuple[int, ...], int, int]:
        """Read shape, kind and place of a tensor."""
        what = f"the entry of tensor {name}"
        n_axes = self.number("I", what)
        if not 1 <= n_axes <= _MAX_AXES:
            self.refuse(f"has {n_axes} axes in {what}, expected 1 to 4", _AGAIN)
        shape = tuple(self.number("Q", what) for _ in range(n_axes))[::-1]
        if not all(shape):
            self.refuse(f"has the shape {shape} in {what}: an axis of size 0", _AGAIN)
        return shape, self.number("I", what), self.number("Q", what)

"""Read GGUF, the file format of llama.cpp: a header, a table of tensors, the data."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marketllm.pretrained.gguf_walk import _Walk
from marketllm.pretrained.sources import _AGAIN, _library, _refuse

_VERSIONS = (2, 3)
_ROW = 8192  # numbers unpacked as one row, whatever the tensor's shape


@dataclass(frozen=True)
class GGUFTensor:
    """Where a tensor lies in a GGUF file, and how its numbers are packed.

    Attributes
    ----------
    kind : str
        How the numbers are packed, such as "F32" or "Q4_1".
    shape : tuple of int
        As in PyTorch: the last axis is the one whose numbers lie side by side.
    start, n_bytes : int
        Place in the file, in bytes.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    n_bytes: int


@dataclass(frozen=True)
class GGUFFile:
    """The header of a GGUF file, and its tensors on demand.

    Attributes
    ----------
    path : Path
        The file.
    fields : dict of str to Any
        What the header says: numbers, texts and lists of them.
    tensors : dict of str to GGUFTensor
        The table of tensors, in the order of the file.
    """

    path: Path
    fields: dict[str, Any]
    tensors: dict[str, GGUFTensor]

    def field(self, name: str, kind: type) -> Any:
        """Give one value of the header.

        Parameters
        ----------
        name : str
            The key.
        kind : type
            What it must be: int, float, str, bool or list.

        Returns
        -------
        Any
            The value.

        Raises
        ------
        ValueError
            If it is missing or of another kind.
        """
        if name not in self.fields:
            self.refuse(f"has no field {name} in its header", "give another file")
        value = self.fields[name]
        if type(value) is not kind:
            what = f"{type(value).__name__}, expected {kind.__name__}"
            self.refuse(f"has a field {name} of the kind {what}", _AGAIN)
        return value

    def refuse(self, why: str, remedy: str) -> NoReturn:
        """Raise an error that names the file.

        Parameters
        ----------
        why : str
            What is wrong with it.
        remedy : str
            What to do about it.

        Raises
        ------
        ValueError
            Always.
        """
        _refuse(self.path, why, remedy)

    def tensor(self, name: str) -> Float[Tensor, "..."]:
        """Read one tensor and unpack its numbers.

        Parameters
        ----------
        name : str
            A key of ``tensors``.

        Returns
        -------
        Tensor
            Numbers of type float32.

        Raises
        ------
        ValueError
            If the library ``gguf`` cannot unpack this kind, or a number is infinite
            or none.
        """
        place = self.tensors[name]
        gguf = _library("gguf")
        packed = np.fromfile(self.path, np.uint8, place.n_bytes, offset=place.start)
        if packed.size != place.n_bytes:
            self.refuse(f"is torn in the data of tensor {name}", _AGAIN)
        kind = gguf.GGMLQuantizationType[place.kind]
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        # The library works on 16 rows at a time: with long rows it is twice as fast.
        n_blocks = math.gcd(packed.size // block_bytes, max(1, _ROW // block))
        rows = packed.reshape(-1, n_blocks * block_bytes)
        try:
            values = gguf.quants.dequantize(rows, kind).reshape(place.shape)
        except NotImplementedError:
            self.refuse(
                f"has tensor {name} of the kind {place.kind}, which the library gguf "
                "cannot unpack",
                "give a file that is quantised in another way",
            )
        found = torch.from_numpy(values)
        if not torch.stack(found.aminmax()).isfinite().all():  # a nan is in both
            self.refuse(
                f"has numbers in tensor {name} that are infinite or not numbers", _AGAIN
            )
        return found

    def kinds(self) -> dict[str, int]:
        """Count the tensors of each kind, the most frequent first.

        Returns
        -------
        dict of str to int
            For example ``{"Q4_1": 210, "F32": 61}``.
        """
        counts = Counter(place.kind for place in self.tensors.values())
        return dict(counts.most_common())


def read_gguf(path: str | Path) -> GGUFFile:
    """Read the header and the table of tensors of a GGUF file, and check them.

    The numbers of a tensor are read when they are asked for.

    We read the header ourselves. The reader of the library ``gguf`` takes some
    seconds for the texts of a vocabulary, and trusts each count in the file: a single
    wrong byte can make it fill the memory. The library unpacks the numbers.

    Parameters
    ----------
    path : str or Path
        The file; it is never changed.

    Returns
    -------
    GGUFFile
        Header and table.

    Raises
    ------
    ValueError
        If the file is of another kind, torn, damaged or packed in an unknown way.

    References
    ----------
    The format is described in ggml's ``docs/gguf.md``, version 3.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file: check the path.")
    data = np.memmap(path, np.uint8, "r").data if path.stat().st_size else b""
    walk = _Walk(path, memoryview(data))
    walk.require_magic()
    version = walk.number("I", "the version")
    if version not in _VERSIONS:
        walk.refuse(
            f"has version {version} of GGUF, and this package reads "
            f"{' and '.join(map(str, _VERSIONS))}, little-endian",
            "give another file",
        )
    n_tensors = walk.number("Q", "the count of tensors")
    n_fields = walk.number("Q", "the count of header fields")
    fields: dict[str, Any] = {}
    for i in range(n_fields):
        name = walk.text(f"the name of header field {i}")
        if name in fields:
            walk.refuse(f"has the header field {name} twice", _AGAIN)
        kind = walk.number("I", f"header field {name}")
        fields[name] = walk.value(kind, f"header field {name}")
    entries: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for i in range(n_tensors):
        name = walk.text(f"the name of tensor {i}")
        if name in entries:
            walk.refuse(f"has the tensor {name} twice", _AGAIN)
        entries[name] = walk.entry(name)
    return GGUFFile(path, fields, _places(walk, fields, entries))


def _places(
    walk: _Walk,
    fields: dict[str, Any],
    entries: dict[str, tuple[tuple[int, ...], int, int]],
) -> dict[str, GGUFTensor]:
    """Check that the tensors follow each other without a gap, to the end."""
    step = fields.get("general.alignment", 32)
    if type(step) is not int or step < 1 or step & (step - 1):
        walk.refuse(
            f"has header field general.alignment {step!r}, which is no power of two",
            _AGAIN,
        )
    gguf = _library("gguf")
    origin = walk.place + -walk.place % step
    tensors, end = {}, 0
    for name, (shape, number, start) in entries.items():
        try:
            kind = gguf.GGMLQuantizationType(number)
            block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError):
            walk.refuse(
                f"has tensor {name} of the quantisation number {number}, which the "
                "library gguf does not know",
                "give a file that is quantised in another way, or a newer gguf",
            )
        if shape[-1] % block:
            walk.refuse(
                f"has tensor {name} of shape {shape}, but {kind.name} packs "
                f"{block} numbers of a row together",
                _AGAIN,
            )
        if start != end:
            walk.refuse(
                f"has tensor {name} at byte {start} of the data, expected {end}", _AGAIN
            )
        n_bytes = math.prod(shape) // block * block_bytes
        if origin + start + n_bytes > len(walk.data):
            walk.refuse(
                f"is torn: it has {len(walk.data):,} bytes, and tensor {name} ends at "
                f"{origin + start + n_bytes:,}",
                _AGAIN,
            )
        tensors[name] = GGUFTensor(kind.name, shape, origin + start, n_bytes)
        end = start + n_bytes + -n_bytes % step
    return tensors

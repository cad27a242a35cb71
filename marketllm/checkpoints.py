"""A file that holds a run: whole and unchanged, or refused."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors.torch import load, save
from torch import Tensor

FORMAT = "marketllm checkpoint"
VERSION = 1
# In place of the checksum while it is computed: it covers every byte of the file.
_BLANK = "0" * 64
_REMEDY = "The file was left as it was: move it away, or give another path."


def save_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write tensors and facts into one file, at once or not at all.

    The bytes go into a new file beside ``path``, which then takes its place in one
    step. A process killed while it writes leaves the old file whole.

    Parameters
    ----------
    path : str or Path
        The file; an old one is replaced. Its folder must be there.
    tensors : mapping of str to Tensor
        What is kept, bit for bit.
    facts : mapping of str to Any
        Numbers, texts, lists and dicts of them: all that JSON knows.

    Raises
    ------
    ValueError
        If the facts cannot be written as JSON.
    OSError
        If the file cannot be written; the old one is then still there.

    References
    ----------
    The file is in the safetensors format, which holds no code, unlike a pickle.
    """
    path = Path(path)
    try:
        text = json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the facts for {path} are no plain JSON: {error}.") from error
    metadata = {"format": FORMAT, "version": str(VERSION), "facts": text}
    apart = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    blank = save(apart, metadata | {"checksum": _BLANK})
    end = 8 + int.from_bytes(blank[:8], "little")
    header = _with_checksum(blank[:end], _BLANK, hashlib.sha256(blank).hexdigest())
    _replace(path, header + blank[end:])


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of ``save_checkpoint`` and check that nothing in it changed.

    Parameters
    ----------
    path : str or Path
        The file; it is never changed.

    Returns
    -------
    tuple of dict of str to Tensor, dict of str to Any
        The tensors and the facts.

    Raises
    ------
    ValueError
        If the file is torn, has a changed byte, is of another kind, or is from
        another version of the package.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        _refuse(path, "is a folder, not a checkpoint")
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8:end])["__metadata__"]
        kind, version = metadata["format"], metadata["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        kind = version = None
    if kind != FORMAT:
        _refuse(path, "is no checkpoint of marketllm, or its beginning is damaged")
    if version != str(VERSION):
        _refuse(
            path,
            f"was written as version {version} of the format, and this package reads "
            f"version {VERSION}: finish the run with the package that began it",
        )
    if not _is_whole(data, end, metadata):
        _refuse(path, "is damaged: it is cut off, or a byte in it has changed")
    # A copy each, in memory that torch aligns as it does for every other tensor.
    tensors = {name: tensor.clone() for name, tensor in load(data).items()}
    return tensors, json.loads(metadata["facts"])


def _is_whole(data: bytes, end: int, metadata: Mapping[str, Any]) -> bool:
    checksum = metadata.get("checksum")
    if not isinstance(checksum, str):
        return False
    try:
        blank = _with_checksum(data[:end], checksum, _BLANK) + data[end:]
    except ValueError:
        return False
    return hashlib.sha256(blank).hexdigest() == checksum


def _with_checksum(header: bytes, old: str, new: str) -> bytes:
    before, after = (f'"checksum":"{text}"'.encode() for text in (old, new))
    if header.count(before) != 1 or len(before) != len(after):
        raise ValueError("the header has no checksum of its own.")
    return header.replace(before, after)


def _replace(path: Path, data: bytes) -> None:
    """Put bytes in the place of a file, and remove what killed writers left."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.\d+\.tmp")
    for other in path.parent.iterdir():
        if leftover.fullmatch(other.name):
            other.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # on the disk before it takes the place
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name is on the disk, too
        finally:
            os.close(folder)


def _refuse(path: Path, why: str) -> NoReturn:
    raise ValueError(f"{path} {why}. {_REMEDY}")

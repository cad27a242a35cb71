"""The file of a byte-pair tokenizer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FORMAT = "marketllm byte-pair encoding"
# 1: merges that we have trained. 2: the vocabulary and merges of others.
_VERSIONS = (1, 2)


def _write(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the content of a tokenizer to a JSON file, all of it or nothing."""
    path = Path(path)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump({"format": _FORMAT} | dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _read(path: str | Path) -> dict[str, Any]:
    """Read what :func:`_write` has written, in a version that is known."""
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
    if content.get("version") not in _VERSIONS:
        raise ValueError(
            f"{path} has version {content.get('version')!r} of the format, this "
            f"package reads {_VERSIONS[0]} and {_VERSIONS[1]}: make the tokenizer "
            "and save it again."
        )
    return content

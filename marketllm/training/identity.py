"""What tells one run from another: its model, its settings, its batches."""

from typing import Any

import torch
from torch import Tensor, nn


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Give each tensor of a model's state once, though two names may share it."""
    found, seen = {}, set()
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Tensor) and id(value) not in seen:
            found[name] = value
            seen.add(id(value))
    return found


def _describe(model: nn.Module) -> dict[str, Any]:
    """List a model's tensors and settings: two models of one shape may differ."""
    facts: dict[str, Any] = {
        name: f"{value.dtype} {tuple(value.shape)}, "
        f"{'trained' if value.requires_grad else 'fixed'}"
        for name, value in _state(model).items()
    }
    for place, module in model.named_modules():
        for name, value in vars(module).items():
            plain = isinstance(value, bool | int | float | str)
            if plain and name != "training" and not name.startswith("_"):
                facts[f"{place}.{name}".lstrip(".")] = repr(value)
    return facts


def _difference(now: Any, file: Any, name: str = "") -> str | None:
    """Name the first thing that is not the same here and in the file."""
    if isinstance(now, dict) and isinstance(file, dict):
        for key in now | file:
            inner = f"{name} {key}".strip()
            found = _difference(
                now.get(key, "missing"), file.get(key, "missing"), inner
            )
            if found:
                return found
        return None
    return None if now == file else f"{name} is {now} here and {file} in the file"


def _digest(digest: Any, batch: Any) -> None:
    """Feed all tensors of a batch, and its plain values, to a digest."""
    if isinstance(batch, Tensor):
        digest.update(f"{batch.dtype} {tuple(batch.shape)}".encode())
        raw = batch.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy())
    elif isinstance(batch, tuple | list):
        for part in batch:
            _digest(digest, part)
    elif isinstance(batch, dict):
        for key, part in batch.items():
            digest.update(str(key).encode())
            _digest(digest, part)
    elif isinstance(batch, bool | int | float | str):
        digest.update(repr(batch).encode())

"""A trained model on batches: its loss and its probabilities."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from marketllm.batches import IGNORE

Loss = Callable[[nn.Module, Any], Tensor]


@torch.no_grad()
def mean_loss(model: nn.Module, batches: Iterable[Any], loss: Loss) -> float:
    """Average the loss over all targets of some batches, without training.

    The loss of a batch is a mean over its targets, so a batch with fewer of them
    weighs less. Its targets are the entries of its last tensor; the IGNOREd ones
    do not count. A batch without a tensor weighs as one target.

    Parameters
    ----------
    model : nn.Module
        Put into evaluation mode.
    batches : iterable
        The batches to go through, once.
    loss : callable
        Maps the model and one batch to a scalar Tensor, a mean over targets.

    Returns
    -------
    float
        The mean over the targets.

    Raises
    ------
    ValueError
        If there are no batches, or a batch has no target that counts.
    """
    model.eval()
    total, n_targets = 0.0, 0
    for batch in batches:
        n = _n_targets(batch)
        total += n * loss(model, batch).item()
        n_targets += n
    if not n_targets:
        raise ValueError("there are no batches (0): give at least one.")
    return total / n_targets


@torch.no_grad()
def predict_probabilities(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> Float[np.ndarray, "N C"]:
    """Give each example of some batches a probability for each class.

    Parameters
    ----------
    model : nn.Module
        A classifier; put into evaluation mode.
    batches : iterable of tuple of Tensor
        Token ids of shape (B, T) with anything beside them, such as labels.

    Returns
    -------
    ndarray of shape (N, C)
        Rows in the order of the batches; each sums to 1.

    Raises
    ------
    ValueError
        If there are no batches.
    """
    model.eval()
    rows = [model(ids).softmax(dim=-1) for ids, _ in batches]
    if not rows:
        raise ValueError("there are no batches (0): give at least one.")
    probabilities: np.ndarray = torch.cat(rows).numpy()
    return probabilities


def _n_targets(batch: Any) -> int:
    """Count the targets of a batch: what its mean loss is a mean over."""
    targets = _tensors(batch)[-1:]
    if not targets:
        return 1
    n = targets[0].numel()
    if targets[0].is_floating_point():  # IGNORE is an id; as a value it is a value
        return n
    counted = int((targets[0] != IGNORE).sum())
    if not counted:
        raise ValueError(
            f"a batch has no target that counts (all {n} are {IGNORE}): leave it out."
        )
    return counted


def _tensors(batch: Any) -> list[Tensor]:
    parts = batch if isinstance(batch, tuple | list) else [batch]
    return [part for part in parts if isinstance(part, Tensor)]

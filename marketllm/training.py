"""The one training loop."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from marketllm.config import TrainingConfig

Loss = Callable[[nn.Module, Any], Tensor]


class TrainingDivergedError(ValueError):
    """The loss or its gradient was no longer a number."""


@dataclass
class History:
    """What happened during training.

    Attributes
    ----------
    step_losses : list of float
        Training loss of each batch, in order.
    epochs : list of dict
        One row an epoch: ``epoch``, ``train_loss`` (mean over its batches),
        ``validation_loss`` (if there was a validation part) and ``seconds``.
    best_epoch : int or None
        Epoch with the lowest validation loss; its weights are the ones kept.
    """

    step_losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the epochs as a table.

        Returns
        -------
        DataFrame
            One row an epoch, indexed by ``epoch``.
        """
        return pd.DataFrame(self.epochs).set_index("epoch")


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    config: TrainingConfig,
    validation: Iterable[Any] | None = None,
    progress: bool | None = None,
) -> History:
    """Train a model with AdamW and keep the best weights.

    Parameters
    ----------
    model : nn.Module
        Trained in place.
    batches : iterable
        The training batches; passed through once an epoch.
    loss : callable
        Maps the model and one batch to a scalar Tensor.
    config : TrainingConfig
        Epochs, learning rate, weight decay, clipping.
    validation : iterable, optional
        Batches that are never trained on. With them the model ends with the
        weights of the epoch whose validation loss was lowest.
    progress : bool, optional
        True shows a bar, False none; None shows one on a terminal only.

    Returns
    -------
    History
        Losses by step and epoch.

    Raises
    ------
    ValueError
        If there are no batches.
    TrainingDivergedError
        If the loss or the gradient is NaN or infinite. The model is left with
        the last weights that gave a finite loss and gradient.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    history = History()
    good = copy.deepcopy(model.state_dict())
    best, best_loss = good, math.inf
    hide = None if progress is None else not progress

    def check(place: str, **numbers: float) -> None:
        if not all(math.isfinite(number) for number in numbers.values()):
            model.load_state_dict(good)
            found = ", ".join(f"{name} {number}" for name, number in numbers.items())
            raise TrainingDivergedError(
                f"training left the finite numbers at {place} ({found}): the model "
                "keeps the last weights that were good; lower the learning rate "
                f"(now {config.learning_rate}) or look at this batch."
            )

    for epoch in range(1, config.n_epochs + 1):
        started = time.perf_counter()
        losses: list[float] = []
        model.train()
        bar = tqdm(batches, desc=f"epoch {epoch}", disable=hide, leave=False)
        for step, batch in enumerate(bar, 1):
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            place = f"epoch {epoch}, step {step}"
            check(place, loss=value.item(), gradient=norm.item())
            good = copy.deepcopy(model.state_dict())
            optimizer.step()
            losses.append(value.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
        if not losses:
            raise ValueError("there are no batches (0): give at least one.")
        check(f"the end of epoch {epoch}", weights=_total(model))
        row = {"epoch": epoch, "train_loss": sum(losses) / len(losses)}
        if validation is not None:
            row["validation_loss"] = mean_loss(model, validation, loss)
            check(f"the validation of epoch {epoch}", loss=row["validation_loss"])
            if row["validation_loss"] < best_loss:
                best = copy.deepcopy(model.state_dict())
                best_loss = row["validation_loss"]
                history.best_epoch = epoch
        history.step_losses += losses
        history.epochs.append(row | {"seconds": time.perf_counter() - started})
    if validation is not None:
        model.load_state_dict(best)
    return history


@torch.no_grad()
def mean_loss(model: nn.Module, batches: Iterable[Any], loss: Loss) -> float:
    """Average the loss over batches without training.

    Parameters
    ----------
    model : nn.Module
        Put into evaluation mode.
    batches : iterable
        The batches to go through, once.
    loss : callable
        Maps the model and one batch to a scalar Tensor.

    Returns
    -------
    float
        The mean over the batches.

    Raises
    ------
    ValueError
        If there are no batches.
    """
    model.eval()
    losses = [loss(model, batch).item() for batch in batches]
    if not losses:
        raise ValueError("there are no batches (0): give at least one.")
    return sum(losses) / len(losses)


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


def _total(model: nn.Module) -> float:
    """Add up all weights: NaN or infinite if one of them is."""
    return sum(float(weight.detach().sum()) for weight in model.parameters())

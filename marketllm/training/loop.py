"""The one training loop."""

import math
import time
from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from typing import Any

from torch import nn

from marketllm.checkpoints import save_checkpoint
from marketllm.config import TrainingConfig
from marketllm.optim import AdamW, clip_gradient_norm, warmup_cosine
from marketllm.training.display import _Bar, _Board, _board
from marketllm.training.history import History, TrainingDivergedError
from marketllm.training.identity import _state
from marketllm.training.measure import Loss, _n_targets, mean_loss
from marketllm.training.state import _copy, _Run, _values

FLOOR = 0.1  # share of the learning rate at the end of the cosine


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    config: TrainingConfig,
    validation: Iterable[Any] | None = None,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    tensorboard: str | Path | None = None,
) -> History:
    """Train a model with AdamW and keep the best weights.

    With ``config.accumulate`` above 1 an update uses the gradient of that many
    batches as if they were one: each weighs by its number of targets, counted as
    in ``mean_loss``. The last update of an epoch may have fewer.

    A run with a checkpoint that is stopped, at any moment, goes on when ``fit`` is
    called again with the same model, settings and batches, made anew. Weights and
    history then equal those of a run that was never stopped bit for bit, on the
    same CPU, with as many threads.

    Parameters
    ----------
    model : nn.Module
        Trained in place. Weights that need no gradient stay as they are.
    batches : iterable
        The training batches; passed through once an epoch. What is random in
        them is drawn from their attribute ``generator``, if they have one.
    loss : callable
        Maps the model and one batch to a scalar Tensor, a mean over targets.
    config : TrainingConfig
        Epochs, learning rate and its schedule, weight decay, clipping.
    validation : iterable, optional
        Batches that are never trained on. With them the model ends with the
        weights of the epoch whose validation loss was lowest.
    progress : bool, optional
        True shows a bar, False none; None shows one on a terminal only.
    checkpoint : str or Path, optional
        A file that the run goes on from if it is there, and that is replaced
        while it runs. If the run in it is finished, the model gets its weights.
    checkpoint_every : int
        Updates between two checkpoints.
    tensorboard : str or Path, optional
        A folder for files that TensorBoard shows.

    Returns
    -------
    History
        Losses by update and epoch.

    Raises
    ------
    ValueError
        If there are no batches, no weight is to be trained, a schedule needs the
        number of batches, or the checkpoint is damaged or of another run.
    TrainingDivergedError
        If the loss or the gradient is NaN or infinite. The model is left with
        the last weights that gave a finite loss and gradient.
    ImportError
        If ``tensorboard`` is given and the package is not there.
    """
    loop = _Loop(model, batches, loss, config, validation)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        _check_path(path, checkpoint_every)
        loop.run.identify(config, loss)
        if path.exists():
            loop.run.restore(path)
    loop.train(path, checkpoint_every, progress, tensorboard)
    return loop.run.history


class _Loop:
    """The updates and epochs of one run."""

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        loss: Loss,
        config: TrainingConfig,
        validation: Iterable[Any] | None,
    ) -> None:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not weights:
            raise ValueError("0 weights need a gradient: there is nothing to train.")
        self.weights, self.loss, self.config = weights, loss, config
        self.rate = _schedule(config, batches)
        optimizer = AdamW(
            weights,
            config.learning_rate,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
        )
        self.run = _Run(model, optimizer, batches, validation)

    def train(
        self,
        path: Path | None,
        every: int,
        progress: bool | None,
        tensorboard: str | Path | None,
    ) -> None:
        """Run to the end from where the run is."""
        run, n_epochs = self.run, self.config.n_epochs
        run.model.train(not run.finished or run.validation is None)
        if run.finished:
            return
        self.good = {name: value.clone() for name, value in _values(run.model).items()}
        if not run.epoch:
            run.open_epoch()
        with (
            _board(tensorboard, run.n_updates) as board,
            _Bar(progress, _length(run.batches), n_epochs, run) as bar,
        ):
            while not run.finished:
                run.model.train()
                while self.update(path, every, board, bar):
                    pass
                self.close_epoch(board)
                if run.epoch < n_epochs:
                    run.open_epoch()
                else:
                    run.finish()
        if path is not None:
            save_checkpoint(path, *run.capture())

    def update(self, path: Path | None, every: int, board: _Board, bar: _Bar) -> bool:
        """Move the weights once; tell whether there were batches left."""
        run = self.run
        due = path is not None and run.n_updates % every == 0
        captured = run.capture() if due else None
        group = run.take(self.config.accumulate)
        if not group:
            return False
        run.optimizer.zero_grad()
        n_targets = [_n_targets(batch) for batch in group]
        value = 0.0
        for batch, n in zip(group, n_targets, strict=True):
            share = self.loss(run.model, batch) * (n / sum(n_targets))
            share.backward()
            value += share.item()
        norm = clip_gradient_norm(self.weights, self.config.max_grad_norm).item()
        step = run.n_batches // self.config.accumulate + 1
        self.check(f"epoch {run.epoch}, step {step}", loss=value, gradient=norm)
        # Only now are the weights known to be good: kept, and put into the file.
        _copy(_values(run.model), self.good)
        if path is not None and captured is not None:
            save_checkpoint(path, *captured)
        rate = self.rate(run.n_updates)
        for part in run.optimizer.param_groups:
            part["lr"] = rate
        run.optimizer.step()
        run.note(value, rate, len(group), sum(n_targets))
        numbers = {"loss_train": value, "learning_rate": rate, "gradient_norm": norm}
        board.add(run.n_updates, **numbers)
        bar.update(run.epoch, group, value)
        return True

    def close_epoch(self, board: _Board) -> None:
        """Measure the epoch, and keep its weights if they are the best so far."""
        run = self.run
        if not run.n_batches:
            raise ValueError("there are no batches (0): give at least one.")
        self.check(f"the end of epoch {run.epoch}", weights=_total(run.model))
        row = {"epoch": run.epoch, "train_loss": run.loss_sum / run.n_targets}
        if run.validation is not None:
            found = mean_loss(run.model, run.validation, self.loss)
            self.check(f"the validation of epoch {run.epoch}", loss=found)
            row["validation_loss"] = found
            run.compare(found)
            board.add(run.n_updates, loss_validation=found)
        row["seconds"] = time.perf_counter() - run.started
        run.history.epochs.append(row)

    def check(self, place: str, **numbers: float) -> None:
        """Stop the run, with the last good weights, if a number is none."""
        if all(math.isfinite(number) for number in numbers.values()):
            return
        _copy(self.good, _state(self.run.model))
        found = ", ".join(f"{name} {number}" for name, number in numbers.items())
        raise TrainingDivergedError(
            f"training left the finite numbers at {place} ({found}): the model "
            "keeps the last weights that were good; lower the learning rate "
            f"(now {self.config.learning_rate}) or look at this batch."
        )


def _schedule(config: TrainingConfig, batches: Iterable[Any]) -> Callable[[int], float]:
    """Give the learning rate of each update, counted from 0."""
    if config.schedule == "constant" and not config.warmup_share:
        return lambda step: config.learning_rate
    n_batches = _length(batches)
    if n_batches is None:
        raise ValueError(
            f"schedule={config.schedule!r} with warmup_share={config.warmup_share} "
            "needs the number of updates, and these batches have no len(): give a "
            "list or a class of batches, or a constant rate without warm-up."
        )
    n_steps = max(1, config.n_epochs * -(-n_batches // config.accumulate))
    n_warmup = int(config.warmup_share * n_steps)
    floor = FLOOR if config.schedule == "cosine" else 1.0
    return lambda step: (
        config.learning_rate * warmup_cosine(step, n_steps, n_warmup, floor)
    )


def _check_path(path: Path, checkpoint_every: int) -> None:
    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every is {checkpoint_every}: give at least 1.")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no folder: make it, for {path.name}.")


def _length(batches: Iterable[Any]) -> int | None:
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a DataLoader of a stream has a len() that refuses
        return None


def _total(model: nn.Module) -> float:
    """Add up all weights: NaN or infinite if one of them is."""
    return sum(float(weight.detach().sum()) for weight in model.parameters())

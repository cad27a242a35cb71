"""What is seen while training runs: a bar, and files for TensorBoard."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from marketllm.training.measure import _tensors
from marketllm.training.state import _Run


class _Bar:
    """A progress bar with loss, speed and time left."""

    def __init__(
        self, progress: bool | None, n_batches: int | None, n_epochs: int, run: _Run
    ) -> None:
        self.bar = tqdm(
            total=n_batches and n_batches * n_epochs,
            initial=(run.epoch - 1) * (n_batches or 0) + run.n_batches,
            unit="batch",
            disable=None if progress is None else not progress,
            leave=False,
        )
        self.n_done = 0
        self.started = time.perf_counter()

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.bar.disable:
            self.bar.refresh()
        self.bar.close()

    def update(self, epoch: int, group: Sequence[Any], loss: float) -> None:
        """Move on by some batches; their padding counts for the speed."""
        if self.bar.disable:
            return
        first = [tensors[0] for tensors in map(_tensors, group) if tensors]
        tokens = all(not part.is_floating_point() for part in first)
        self.n_done += sum(part.numel() if tokens else len(part) for part in first)
        speed = self.n_done / (time.perf_counter() - self.started)
        what = "tokens" if tokens else "rows"
        self.bar.set_description(f"epoch {epoch}", refresh=False)
        self.bar.set_postfix_str(f"loss={loss:.3f}, {speed:,.0f} {what}/s", False)
        self.bar.update(len(group))


class _Board:
    """Numbers for TensorBoard, or for nobody."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def add(self, step: int, **numbers: float) -> None:
        """Note numbers at an update; ``loss_train`` is shown as loss/train."""
        if self.writer is not None:
            for name, number in numbers.items():
                tag = name.replace("loss_", "loss/")
                self.writer.add_scalar(tag, number, step)


@contextmanager
def _board(folder: str | Path | None, n_updates: int) -> Iterator[_Board]:
    """Open event files; what a killed run noted after ``n_updates`` is dropped."""
    if folder is None:
        yield _Board(None)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            f"tensorboard={str(folder)!r} needs the package tensorboard: "
            "pip install tensorboard, or leave the argument out."
        ) from error
    with SummaryWriter(str(folder), purge_step=n_updates + 1) as writer:
        yield _Board(writer)

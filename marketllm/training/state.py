"""A run between two updates: all that the rest of it depends on."""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from marketllm.checkpoints import load_checkpoint
from marketllm.config import TrainingConfig
from marketllm.training.history import History
from marketllm.training.identity import _describe, _difference, _digest, _state
from marketllm.training.measure import Loss

Tensors = dict[str, Tensor]
Facts = dict[str, Any]
KIND = "a run of marketllm.training.fit"


@dataclass
class _Run:
    """A run, its place in the batches, and the best weights so far."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterable[Any]
    validation: Iterable[Any] | None
    history: History = field(default_factory=History)
    epoch: int = 0
    n_batches: int = 0  # done in this epoch
    loss_sum: float = 0.0  # over the targets of this epoch
    n_targets: int = 0
    started: float = 0.0
    best: Tensors = field(default_factory=dict)
    best_loss: float = math.inf
    finished: bool = False
    identity: Facts | None = None  # with a checkpoint: what the run is
    stream: Iterator[Any] = field(default_factory=lambda: iter(()))
    random_start: Tensors = field(default_factory=dict)  # of this epoch
    passed: Any = None  # digest of this epoch's batches so far

    @property
    def n_updates(self) -> int:
        """Count the updates made."""
        return len(self.history.step_losses)

    def open_epoch(self) -> None:
        """Begin the next pass through the batches."""
        self.epoch += 1
        self.n_batches, self.loss_sum, self.n_targets = 0, 0.0, 0
        self.started = time.perf_counter()
        self._open_stream()

    def _open_stream(self) -> None:
        self.random_start = self._random_states()
        self.passed = hashlib.sha256()
        self.stream = iter(self.batches)

    def take(self, n: int) -> list[Any]:
        """Take the next batches of this epoch; fewer, or none, at its end."""
        group = list(islice(self.stream, n))
        if self.identity is not None:
            _digest(self.passed, group)
        return group

    def note(self, loss: float, rate: float, n_batches: int, n_targets: int) -> None:
        """Count an update."""
        self.history.step_losses.append(loss)
        self.history.learning_rates.append(rate)
        self.n_batches += n_batches
        self.loss_sum += n_targets * loss
        self.n_targets += n_targets

    def compare(self, validation_loss: float) -> None:
        """Keep the weights if they are the best so far."""
        if validation_loss < self.best_loss:
            self.best_loss = validation_loss
            self.best = {name: v.clone() for name, v in _values(self.model).items()}
            self.history.best_epoch = self.epoch

    def finish(self) -> None:
        """End with the best weights, if there was a validation part."""
        if self.best:
            _copy(self.best, _state(self.model))
        self.best, self.finished = {}, True

    def identify(self, config: TrainingConfig, loss: Loss) -> None:
        """Tell this run from others, for the sake of its checkpoint."""
        for name in ("batches", "validation"):
            given = getattr(self, name)
            if isinstance(given, Iterator):
                raise ValueError(
                    f"{name} can be passed through once only, and a run with a "
                    "checkpoint has to begin again: give a list or a class of batches."
                )
        facts = {
            "config": asdict(config),
            "loss": getattr(loss, "__name__", type(loss).__name__),
            "model": _describe(self.model),
            "batches": self._fingerprint(self.batches),
            "validation": self._fingerprint(self.validation),
            "random": sorted(self._random_states()),
        }
        # As it comes back from the file; infinity, which JSON does not know, as text.
        self.identity = json.loads(json.dumps(facts), parse_constant=str)

    def capture(self) -> tuple[Tensors, Facts]:
        """Gather what a checkpoint holds; weights are not copied before it is."""
        trained = {id(weight) for weight in self.model.parameters()}
        tensors = {
            f"model/{name}": value if id(value) in trained else value.clone()
            for name, value in _state(self.model).items()
        }
        numbers: Facts = {}
        if not self.finished:
            for i, state in self.optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer/{i}/{key}"] = value
                    else:
                        numbers[f"{i}/{key}"] = value
            tensors |= {f"best/{name}": value for name, value in self.best.items()}
            for name, value in self.random_start.items():
                tensors[f"random/start/{name}"] = value
        for name, value in self._random_states().items():
            tensors[f"random/now/{name}"] = value
        for name in ("step_losses", "learning_rates"):
            values = getattr(self.history, name)
            tensors[f"history/{name}"] = torch.tensor(values, dtype=torch.float64)
        return tensors, {
            "kind": KIND,
            "identity": self.identity,
            "finished": self.finished,
            "epoch": self.epoch,
            "n_batches": self.n_batches,
            "passed": self.passed.hexdigest(),
            "loss_sum": self.loss_sum,
            "n_targets": self.n_targets,
            "seconds": time.perf_counter() - self.started,
            "best_loss": self.best_loss if self.best else None,
            "best_epoch": self.history.best_epoch,
            "epochs": self.history.epochs,
            "optimizer": numbers,
        }

    def restore(self, path: Path) -> None:
        """Go on where a checkpoint was written. Refused, nothing has changed."""
        tensors, facts = load_checkpoint(path)
        if facts.get("kind") != KIND:
            raise ValueError(f"{path} is a checkpoint, but not one of fit.{_OTHER}")
        if found := _difference(self.identity, facts["identity"]):
            raise ValueError(f"{path} belongs to another run: {found}.{_OTHER}")
        before = self._random_states()
        if not facts["finished"]:
            self._set_random_states(_part(tensors, "random/start/"))
            self._open_stream()
            self.take(facts["n_batches"])
            if self.passed.hexdigest() != facts["passed"]:
                self._set_random_states(before)
                raise ValueError(
                    f"{path} cannot go on: the first {facts['n_batches']} batches of "
                    f"epoch {facts['epoch']} do not come again as they were. What is "
                    "random in batches must be drawn from their attribute generator."
                    f"{_OTHER}"
                )
        self._set_random_states(_part(tensors, "random/now/"))
        _copy(_part(tensors, "model/"), _state(self.model))
        self.best = _part(tensors, "best/")
        if not facts["finished"]:
            self._restore_optimizer(tensors, facts["optimizer"])
        self.best_loss = facts["best_loss"] if self.best else math.inf
        for name in ("finished", "epoch", "n_batches", "loss_sum", "n_targets"):
            setattr(self, name, facts[name])
        self.started = time.perf_counter() - facts["seconds"]
        for name, value in _part(tensors, "history/").items():
            setattr(self.history, name, value.tolist())
        self.history.best_epoch = facts["best_epoch"]
        self.history.epochs = facts["epochs"]

    def _restore_optimizer(self, tensors: Tensors, numbers: Facts) -> None:
        state: dict[int, Facts] = {}
        for name, value in (_part(tensors, "optimizer/") | numbers).items():
            i, _, key = name.partition("/")
            state.setdefault(int(i), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _random_states(self) -> Tensors:
        states = {"torch": torch.get_rng_state()}
        for name, generator in self._generators().items():
            states[name] = generator.get_state()
        return states

    def _set_random_states(self, states: Tensors) -> None:
        torch.set_rng_state(states["torch"])
        for name, generator in self._generators().items():
            generator.set_state(states[name])

    def _generators(self) -> dict[str, torch.Generator]:
        found = {
            name: getattr(getattr(self, name), "generator", None)
            for name in ("batches", "validation")
        }
        return {k: v for k, v in found.items() if isinstance(v, torch.Generator)}

    def _fingerprint(self, batches: Iterable[Any] | None) -> str:
        """Pass through batches once, and leave what is random as it was."""
        before, digest = self._random_states(), hashlib.sha256()
        # Some loaders draw from torch's own random numbers.
        torch.default_generator.manual_seed(0)
        for batch in batches if batches is not None else ():
            _digest(digest, batch)
        self._set_random_states(before)
        return digest.hexdigest()[:16]


_OTHER = (
    " The file was left as it was: call fit with the model, settings and new batches "
    "as at the beginning of that run, or give another path to begin another."
)


def _values(model: nn.Module) -> Tensors:
    """Give the state without the graph behind it; not copied."""
    return {name: value.detach() for name, value in _state(model).items()}


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }

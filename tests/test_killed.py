"""A training process is killed without warning, and nothing is lost."""

import math
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marketllm.checkpoints import load_checkpoint

HERE = Path(__file__).resolve().parent
SEED, N_KILLS = 20, 20
N_UPDATES = 27  # 18 batches, two an update, three epochs
LEFTOVER = re.compile(r"\.run\.safetensors\.\d+\.tmp")


class Server:
    """A process that has imported everything and forks a trainer for each run."""

    def __init__(self, log):
        self.log = log
        env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "killed.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=env,
            )

    def train(self, folder, seconds="", at=("", 0)):
        """Train in a folder; give the exit code, and the seconds it took."""
        line = "\t".join(map(str, (folder, seconds, *at)))
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        assert len(answer) == 2, self.log.read_text()
        code, took = int(answer[0]), float(answer[1])
        assert code in (0, -signal.SIGKILL), self.log.read_text()
        return code, took

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / "log.txt")
    yield server
    server.close()


def everything(folder):
    """Read all that a run has made, but for its seconds."""
    tensors, facts = load_checkpoint(folder / "run.safetensors")
    del facts["seconds"]
    for row in facts["epochs"]:
        del row["seconds"]
    return tensors, facts


@pytest.fixture(scope="module")
def reference(server, tmp_path_factory):
    """A run that nobody stops, and how long it takes."""
    server.train(tmp_path_factory.mktemp("first"))  # the first one loads more
    seconds = math.inf  # of the fastest: one may have waited for the machine
    for _ in range(3):
        folder = tmp_path_factory.mktemp("reference")
        code, took = server.train(folder)
        assert code == 0
        seconds = min(seconds, took)
    tensors, facts = everything(folder)
    assert facts["finished"]
    assert len(tensors["history/step_losses"]) == N_UPDATES
    return tensors, facts, seconds


def assert_identical(folder, reference, note):
    tensors, facts = everything(folder)
    assert facts == reference[1], note
    assert tensors.keys() == reference[0].keys(), note
    for name, value in tensors.items():
        assert torch.equal(value, reference[0][name]), f"{name}: {note}"
    assert [file.name for file in folder.iterdir()] == ["run.safetensors"], note


def found_in(folder):
    """Tell what a killed run left: its place, and whether it was writing."""
    path = folder / "run.safetensors"
    place = None
    if path.exists():
        tensors, facts = load_checkpoint(path)  # whole: never a torn one
        n_updates = len(tensors["history/step_losses"])
        place = (facts["epoch"], facts["n_batches"], n_updates)
    names = [file.name for file in folder.iterdir() if file != path]
    assert len(names) <= 1
    assert all(LEFTOVER.fullmatch(name) for name in names), names
    return place, bool(names)


def test_killed_at_twenty_random_moments_it_ends_the_same(server, reference, tmp_path):
    """The moments are random, but fixed by a seed, as shares of a whole run.

    Whether one falls into the writing of a file is up to the disk: the kills at each
    step of writing, below, see to that.
    """
    draw = random.Random(SEED)
    shares = [draw.uniform(0, 1) for _ in range(N_KILLS)]
    n_killed = n_within = 0
    for i, share in enumerate(shares):
        folder = tmp_path / f"{i}"
        folder.mkdir()
        seconds = share * reference[2]
        code, _ = server.train(folder, seconds)
        place, writing = found_in(folder)
        note = (
            f"kill {i} of seed {SEED}, after {seconds:.4f} s of {reference[2]:.4f} s: "
            f"exit code {code}, (epoch, batches, updates) {place}, writing {writing}"
        )
        assert server.train(folder)[0] == 0, note
        assert_identical(folder, reference, note)
        n_killed += code == -signal.SIGKILL
        n_within += place is not None and place[1] > 0
    counts = f"killed {n_killed}, within an epoch {n_within}"
    assert n_killed >= N_KILLS * 3 // 4, counts
    assert n_within >= N_KILLS // 4, counts


def test_killed_again_and_again_it_ends_the_same(server, reference, tmp_path):
    """One run is killed until it is done, each time a little later."""
    draw = random.Random(SEED + 1)
    places, kills = [], []
    while True:
        kills.append((0.2 + 0.05 * len(kills)) * draw.uniform(0.5, 1) * reference[2])
        code, _ = server.train(tmp_path, kills[-1])
        place, _ = found_in(tmp_path)
        places.append(place[2] if place else -1)
        note = f"killed after seconds {kills}, at updates {places}"
        assert places == sorted(places), note  # nothing is lost
        if code == 0:
            break
        assert len(kills) < 40, note
    assert len(kills) >= 4, note
    assert_identical(tmp_path, reference, note)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [1, 2, 25, 26])
def test_killed_at_each_step_of_writing(server, reference, tmp_path, call, number):
    """Before the bytes are safe, before they take the place, before the name is."""
    code, _ = server.train(tmp_path, at=(call, number))
    assert code == -signal.SIGKILL
    place, writing = found_in(tmp_path)
    # A file is one replacement, and two calls of fsync: its own and the folder's.
    n_files, rest = divmod(number - 1, 2 if call == "fsync" else 1)
    # The first file is from before the first update.
    assert (-1 if place is None else place[2]) == n_files - 1 + rest
    assert writing == (rest == 0)  # before the replacement there is the new file
    assert server.train(tmp_path)[0] == 0
    assert_identical(tmp_path, reference, f"{call} {number}")

"""A program that trains, to be killed: ``test_killed.py`` starts it.

It imports everything once and waits. For each line on its input it forks a process
that trains in a folder, kills it after some seconds, if any are given, and tells how
it ended and when. The forks share what is imported: each starts at once.
"""

import importlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from marketllm.batches import MaskedBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.losses import token_loss
from marketllm.models import MaskedLanguageModel
from marketllm.training import fit

V = 31
SETTINGS = TrainingConfig(
    3, 0.02, schedule="cosine", warmup_share=0.2, accumulate=2, beta2=0.95
)


def train(folder):
    """Train with dropout, a schedule, two batches an update; a file each update."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(4, 12, (72,), generator=draw).tolist()
    rows = [torch.randint(3, V, (n,), generator=draw).tolist() for n in lengths]
    config = ModelConfig(V, max_len=12, d_model=32, n_layers=1, d_ff=48)
    model = MaskedLanguageModel(config)
    batches = MaskedBatches(rows, 4, mask_id=2, vocab_size=V, seed=2)
    validation = MaskedBatches(rows[:9], 4, mask_id=2, vocab_size=V, seed=3)
    path = Path(folder) / "run.safetensors"
    fit(
        model,
        batches,
        token_loss,
        SETTINGS,
        validation,
        progress=False,
        checkpoint=path,
        checkpoint_every=1,
    )


def die_at(name, call):
    """Kill this process at a call of ``os.NAME``: before it, at its number."""
    real, count = getattr(os, name), 0

    def counted(*arguments):
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    setattr(os, name, counted)


def serve():
    importlib.import_module("torch._dynamo")  # an optimiser would do so in each fork
    for line in sys.stdin:
        folder, seconds, name, call = line.rstrip("\n").split("\t")
        started = time.perf_counter()
        child = os.fork()
        if not child:
            code = 1
            try:
                if name:
                    die_at(name, int(call))
                train(folder)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        if seconds:
            time.sleep(float(seconds))
            os.kill(child, signal.SIGKILL)  # nobody has waited for it: it is its id
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(code, time.perf_counter() - started, sep="\t", flush=True)


if __name__ == "__main__":
    serve()

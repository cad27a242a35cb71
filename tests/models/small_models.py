"""Small models for the tests: every axis has a size of its own."""

import pytest
import torch
from hypothesis import settings
from torch_twins import vary

from marketllm.config import ModelConfig

PROPERTY = settings(max_examples=15, deadline=None, derandomize=True)
B, T, S, V, C, MAX_LEN = 2, 5, 7, 11, 4, 17
NORM_FIRST = pytest.mark.parametrize("norm_first", [False, True])
KINDS = ["sinusoidal", "learned", "rotary", "none"]
POSITIONS = pytest.mark.parametrize("positions", KINDS)
# Source and target of different length, each with padding (id 0) on the right.
SOURCE = torch.tensor([[3, 9, 4, 4, 1, 7, 10], [5, 2, 8, 6, 0, 0, 0]])
TARGET = torch.tensor([[2, 5, 9, 1, 3], [10, 4, 7, 0, 0]])


def config(**changes):
    sizes = {"vocab_size": V, "max_len": MAX_LEN, "d_model": 12, "n_heads": 3}
    return ModelConfig(**(sizes | {"d_ff": 20, "dropout": 0.0} | changes))


def build(kind, *arguments, **changes):
    torch.manual_seed(1)
    model = kind(config(**changes), *arguments)
    vary(model)
    return model

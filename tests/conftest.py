"""Every test runs with the shape annotations of the package checked."""

import pytest
import torch
from jaxtyping import install_import_hook

# Before the first import of the package: shapes are then checked at each call.
install_import_hook("marketllm", "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread_one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)

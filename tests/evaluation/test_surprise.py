"""How well a language model foretells text."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scored import quick

from marketllm.batches import IGNORE, NextTokenBatches
from marketllm.evaluation import mean_surprise
from marketllm.losses import token_loss


class Table(torch.nn.Module):
    """The logits of a token are a row of a table."""

    def __init__(self, n_ids=9):
        super().__init__()
        self.rows = torch.nn.Embedding(n_ids, n_ids)

    def forward(self, ids):
        return self.rows(ids)


def test_mean_surprise_worked_example():
    """Shares of 1/2 and 1/8 at two tokens that count: (ln 2 + ln 8) / 2."""
    model = Table(3)
    half, eighth = np.log([1 / 4, 1 / 2, 1 / 4]), np.log([1 / 8, 3 / 4, 1 / 8])
    rows = torch.tensor(np.array([half, half, eighth]), dtype=torch.float32)
    model.rows.weight = torch.nn.Parameter(rows)
    batch = torch.tensor([[1, 2, 1]]), torch.tensor([[1, 0, IGNORE]])
    expected = (np.log(2) + np.log(8)) / 2
    assert mean_surprise(model, [batch]) == pytest.approx(expected, abs=1e-6)


@quick
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_mean_surprise_does_not_depend_on_the_batches(lengths, batch_size):
    sequences = [[2 + (i * n) % 7 for i in range(n)] for n in lengths]
    torch.manual_seed(0)
    model = Table()
    batches = NextTokenBatches(sequences, 4, batch_size, end_id=1)
    whole = NextTokenBatches(sequences, 100, 1, end_id=1)
    ((ids, targets),) = whole
    expected = token_loss(model, (ids, targets)).item()
    assert mean_surprise(model, batches) == pytest.approx(expected, abs=1e-5)


def test_mean_surprise_weighs_tokens_and_not_batches():
    torch.manual_seed(0)
    model = Table()
    long = torch.tensor([[3, 4, 5, 6]]), torch.tensor([[4, 5, 6, 7]])
    short = torch.tensor([[8, 2, 2, 2]]), torch.tensor([[1, *[IGNORE] * 3]])
    surprises = [token_loss(model, batch).item() for batch in (long, short)]
    assert abs(surprises[0] - surprises[1]) > 0.5
    expected = (4 * surprises[0] + surprises[1]) / 5
    assert mean_surprise(model, [long, short]) == pytest.approx(expected, abs=1e-6)


def test_mean_surprise_refuses_nothing():
    with pytest.raises(ValueError, match=r"there are no batches \(0\)"):
        mean_surprise(Table(), [])
    nothing = torch.tensor([[3]]), torch.tensor([[IGNORE]])
    with pytest.raises(ValueError, match="no target that counts"):
        mean_surprise(Table(), [nothing])

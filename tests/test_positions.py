"""Sinusoidal positions by their closed form and by their geometry."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.positions import LearnedPositions, SinusoidalPositions, sinusoidal

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
T, D = 9, 6


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_closed_form(float64):
    table = sinusoidal(T, D)
    assert table.shape == (T, D)
    for p in range(T):
        for i in range(D // 2):
            angle = p / 10_000 ** (2 * i / D)
            assert table[p, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert table[p, 2 * i + 1].item() == pytest.approx(
                math.cos(angle), abs=1e-12
            )


def test_worked_example():
    # Width 4: the pairs turn by 1 and by 1/100 each step.
    expected = [[0, 1, 0, 1], [0.84147, 0.54030, 0.01000, 0.99995]]
    torch.testing.assert_close(
        sinusoidal(2, 4), torch.tensor(expected), atol=1e-5, rtol=0
    )


@settings(PROPERTY)
@given(st.integers(0, 40), st.integers(0, 40))
def test_a_shift_is_a_rotation_that_does_not_depend_on_the_place(p, k):
    """PE(p + k) = R(k) PE(p), with R(k) built from the formula in the paper."""
    table = sinusoidal(81, D).double()
    rotation = torch.zeros(D, D, dtype=torch.float64)
    for i in range(D // 2):
        angle = k / 10_000 ** (2 * i / D)
        sine, cosine = math.sin(angle), math.cos(angle)
        pair = torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64)
        rotation[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = pair
    difference = (rotation @ table[p] - table[p + k]).abs().max()
    assert difference < 1e-6  # the table is float32
    assert table[p + k].norm() == pytest.approx(math.sqrt(D / 2), abs=1e-6)


def test_later_pairs_turn_more_slowly():
    change = (sinusoidal(2, 12)[1] - sinusoidal(2, 12)[0]).reshape(6, 2).norm(dim=1)
    assert (change[:-1] > 2 * change[1:]).all()
    assert change[0] == pytest.approx(2 * math.sin(0.5), abs=1e-6)


def test_module_adds_the_table_and_has_no_parameters():
    module = SinusoidalPositions(T, D)
    x = torch.randn(2, 5, D)
    torch.testing.assert_close(module(x) - x, sinusoidal(T, D)[:5].expand(2, 5, D))
    assert list(module.parameters()) == []
    assert module.state_dict() == {}


def test_learned_positions_are_trained_and_added():
    module = LearnedPositions(T, D)
    x = torch.randn(2, 5, D)
    out = module(x)
    assert (out - x).abs().max() > 1e-3
    torch.testing.assert_close(out, x + module.table[:5])
    out.sum().backward()
    expected = torch.zeros(T, D)
    expected[:5] = 2.0  # both examples use each of the first five rows
    torch.testing.assert_close(module.table.grad, expected)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_a_longer_sequence_is_refused(kind):
    module = kind(4, D)
    assert module(torch.zeros(2, 4, D)).shape == (2, 4, D)
    message = "the sequence has 5 tokens, but there are positions for 4: cut"
    with pytest.raises(ValueError, match=message):
        module(torch.zeros(2, 5, D))


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match="d_model=7 is odd.*use 8 or learned"):
        sinusoidal(T, 7)
    with pytest.raises(ValueError, match="d_model=7 is odd"):
        SinusoidalPositions(T, 7)
    assert LearnedPositions(T, 7).table.shape == (T, 7)

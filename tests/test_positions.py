"""Positions by their closed form, by their geometry, and against Llama's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.positions import (
    LearnedPositions,
    SinusoidalPositions,
    rotate,
    sinusoidal,
)

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


# Rotary ---------------------------------------------------------------------


def test_rotary_worked_example():
    """Width 4: numbers 0 and 2 turn by p, numbers 1 and 3 by p / 100."""
    turned = rotate(torch.tensor([[1.0, 0.0, 0.0, 2.0]] * 3))
    assert turned[0].tolist() == [1.0, 0.0, 0.0, 2.0]
    for p in (1, 2):
        expected = [math.cos(p), -2 * math.sin(p / 100), math.sin(p)]
        expected += [2 * math.cos(p / 100)]
        assert turned[p].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("base", [10_000.0, 100_000.0])
@pytest.mark.parametrize("width", [2, 6, 16])
def test_rotary_equals_llama(width, base):
    from transformers.models.llama import modeling_llama as llama

    n_heads, n_tokens = 3, 11
    config = llama.LlamaConfig(
        hidden_size=n_heads * width,
        num_attention_heads=n_heads,
        head_dim=width,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, n_heads, n_tokens, width)
    cosine, sine = llama.LlamaRotaryEmbedding(config)(
        query, torch.arange(n_tokens)[None]
    )
    theirs = llama.apply_rotary_pos_emb(query, key, cosine, sine)
    for ours, other in zip((query, key), theirs, strict=True):
        torch.testing.assert_close(rotate(ours, base), other, atol=5e-6, rtol=0)
        assert (rotate(ours, base) - ours).abs().max() > 0.5


@settings(PROPERTY)
@given(st.integers(0, 99), st.sampled_from([2, 4, 10]), st.floats(2.0, 1e6))
def test_scores_depend_on_the_distance_alone(seed, width, base):
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, width, generator=generator, dtype=torch.float64)
    turned = rotate(query.expand(T, width), base), rotate(key.expand(T, width), base)
    scores = turned[0] @ turned[1].T
    for distance in range(-T + 1, T):
        assert scores.diagonal(distance).std(correction=0) < 1e-12
    assert scores[3, 3].item() == pytest.approx((query @ key).item(), abs=1e-12)
    assert scores[0].std() > 1e-3  # and they do depend on it
    for one, before in zip(turned, (query, key), strict=True):
        assert (one.norm(dim=1) - before.norm()).abs().max() < 1e-12


def test_rotary_turns_each_place_by_its_number_alone():
    vectors = torch.randn(2, 3, 7, 6)
    torch.testing.assert_close(rotate(vectors)[..., :4, :], rotate(vectors[..., :4, :]))
    torch.testing.assert_close(rotate(vectors)[1, 2], rotate(vectors[1, 2]))
    assert rotate(vectors.double()).dtype == torch.float64


def test_rotary_refuses_an_odd_width_and_a_base():
    with pytest.raises(ValueError, match="width 5, but rotary.*use 6, or other"):
        rotate(torch.ones(3, 5))
    for base in (0.0, -2.0):
        with pytest.raises(ValueError, match=f"base is {base}: give a number above 0"):
            rotate(torch.ones(3, 4), base)


@pytest.mark.parametrize("start", [0, 1, 5])
def test_rotary_goes_on_where_earlier_tokens_ended(start):
    vectors = torch.randn(2, 7, 6)
    whole = rotate(vectors, 50.0)
    part = rotate(vectors[:, start:], 50.0, start=start)
    torch.testing.assert_close(part, whole[:, start:], atol=1e-6, rtol=0)
    if start:
        assert (rotate(vectors[:, start:], 50.0) - part).abs().max() > 0.1


def test_rotary_angles_may_be_used_in_training_after_reading():
    vectors = torch.randn(3, 4, requires_grad=True)
    with torch.inference_mode():
        rotate(torch.randn(3, 4), 31.0)
    rotate(vectors, 31.0).sum().backward()
    assert vectors.grad.abs().max() > 0.1

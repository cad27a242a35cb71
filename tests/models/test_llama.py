"""Llama: what it sees, read at once or in parts, how it starts, that it learns."""

import math
from itertools import pairwise

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import PROPERTY
from torch_twins import vary

from marketllm.batches import IGNORE
from marketllm.cache import KeyValueCache
from marketllm.config import LlamaConfig, TrainingConfig
from marketllm.losses import token_loss
from marketllm.models import Llama
from marketllm.training import fit

B, T, V, MAX_LEN = 2, 9, 13, 17
SIZES = {"vocab_size": V, "max_len": MAX_LEN, "d_model": 24, "n_heads": 6, "d_ff": 20}
IDS = torch.tensor([[3, 9, 4, 4, 1, 7, 10, 2, 12], [5, 2, 8, 6, 6, 1, 3, 0, 11]])
GROUPS = pytest.mark.parametrize("n_kv_heads", [1, 3, 6])


def build(**changes):
    torch.manual_seed(1)
    config = LlamaConfig(**(SIZES | {"n_kv_heads": 3, "n_layers": 3} | changes))
    model = Llama(config)
    vary(model)
    return model


# What it sees ---------------------------------------------------------------


@settings(PROPERTY)
@given(t=st.integers(0, T - 2), new=st.integers(1, V - 1))
def test_a_later_token_never_changes_a_logit(t, new):
    model, other = build(), IDS.clone()
    other[:, t + 1] = (other[:, t + 1] + new) % V
    moved = (model(IDS) - model(other)).abs().amax(-1)
    assert moved[:, : t + 1].max() < 1e-6
    assert moved[:, t + 1 :].min() > 1e-4


def test_places_matter_and_only_through_distance():
    model = build().double()
    swapped = IDS[:, [1, 0, *range(2, T)]]
    moved = (model(IDS) - model(swapped)).abs().amax(-1)
    assert moved[:, 2:].min() > 1e-4  # the same tokens before, in another order
    real = torch.ones(B, T + 3, dtype=torch.bool)
    real[:, :3] = False
    shifted = torch.cat([torch.zeros(B, 3, dtype=torch.long), IDS], dim=1)
    logits = model(shifted, real=real)[:, 3:]
    torch.testing.assert_close(logits, model(IDS), atol=1e-10, rtol=0)


def test_texts_do_not_see_each_other():
    model, other = build(), IDS.clone()
    other[1] = other[1].flip(0)
    moved = (model(IDS) - model(other)).abs().amax((1, 2))
    assert moved[0] < 1e-6
    assert moved[1] > 1e-2


# Read at once, or in parts --------------------------------------------------


@GROUPS
@settings(PROPERTY)
@given(cuts=st.sets(st.integers(1, T - 1)))
@torch.no_grad()
def test_with_a_cache_the_logits_are_the_same(n_kv_heads, cuts):
    model = build(n_kv_heads=n_kv_heads).double()
    cache = KeyValueCache(model.config, B, T, torch.float64)
    edges = [0, *sorted(cuts), T]
    parts = [model(IDS[:, a:b], cache) for a, b in pairwise(edges)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(IDS), atol=1e-10, rtol=0)


@GROUPS
@settings(PROPERTY)
@given(n_padding=st.integers(0, T - 1), cut=st.integers(1, T - 1))
@torch.no_grad()
def test_padding_on_the_left_changes_nothing(n_kv_heads, n_padding, cut):
    model = build(n_kv_heads=n_kv_heads).double()
    real = torch.ones(B, T, dtype=torch.bool)
    real[1, :n_padding] = False
    cache = KeyValueCache(model.config, B, T + 2, torch.float64)
    parts = [model(IDS[:, :cut], cache, real[:, :cut])]
    parts += [model(IDS[:, cut:], cache, real[:, cut:])]
    parts += [model(IDS[:, :1], cache), model(IDS[:, 1:2], cache)]
    logits = torch.cat(parts, dim=1)
    text = torch.cat([IDS, IDS[:, :2]], dim=1)
    alone = model(text[1:, n_padding:])[0]
    torch.testing.assert_close(logits[1, n_padding:], alone, atol=1e-10, rtol=0)
    torch.testing.assert_close(logits[0], model(text)[0], atol=1e-10, rtol=0)
    assert logits.isfinite().all()


@torch.no_grad()
def test_padding_on_the_right_needs_no_mask():
    model = build()
    longer = torch.nn.functional.pad(IDS, (0, 4), value=5)
    assert (model(longer)[:, :T] - model(IDS)).abs().max() < 1e-6


def test_logits_come_from_the_states():
    model = build()
    states = model.states(IDS)
    assert states.shape == (B, T, 24)
    torch.testing.assert_close(model.to_logits(states), model(IDS))


# The start, and learning ----------------------------------------------------


def test_loss_starts_at_ln_v():
    model = Llama(LlamaConfig(**(SIZES | {"vocab_size": 500, "d_model": 48})))
    ids = torch.randint(500, (8, MAX_LEN))
    loss = token_loss(model, (ids, torch.randint(500, (8, MAX_LEN))))
    assert loss.item() == pytest.approx(math.log(500), abs=0.05)


def test_what_writes_into_the_stream_starts_smaller():
    n_layers = 8
    model = Llama(LlamaConfig(**(SIZES | {"d_model": 96, "n_layers": n_layers})))
    deep = 0.02 / math.sqrt(2 * n_layers)
    for block in model.blocks:
        for layer, expected in [
            (block.attention.to_output, deep),
            (block.feed_forward.outer, deep),
            (block.attention.to_query, 0.02),
            (block.feed_forward.gate, 0.02),
        ]:
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.1)


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model = Llama(LlamaConfig(**SIZES))
    targets = torch.cat([IDS[:, 1:], torch.full((B, 1), IGNORE)], dim=1)
    history = fit(
        model,
        [(IDS, targets)],
        token_loss,
        TrainingConfig(n_epochs=150, learning_rate=1e-2, weight_decay=0.0),
    )
    assert history.step_losses[0] > 2
    assert history.step_losses[-1] < 0.05


@pytest.mark.parametrize("tied", [True, False])
def test_tied_tables_are_one_parameter(tied):
    model = build(tied=tied)
    shapes = [tuple(weight.shape) for weight in model.parameters()]
    assert shapes.count((V, 24)) == (1 if tied else 2)


# Refusals -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.tensor([[3, V]]), "token id 13 is outside the vocabulary.*0 to 12"),
        (torch.tensor([[-1, 2]]), "token id -1 is outside"),
        (torch.ones(1, MAX_LEN + 1, dtype=torch.long), "max_len is 17: cut the text"),
        (torch.ones(0, 3, dtype=torch.long), "no token"),
        (torch.ones(2, 0, dtype=torch.long), "no token"),
        (torch.tensor([3, 4]), "must be whole numbers of shape"),
        (torch.tensor([[0.5]]), "must be whole numbers of shape"),
        (torch.tensor([[True]]), "type torch.bool, but must be whole .*torch.int64"),
        (torch.tensor([[3]]).short(), "type torch.int16, but must be whole numbers"),
    ],
)
def test_ids_that_cannot_be_read_are_refused(ids, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        build()(ids)


def test_a_text_longer_than_the_model_reads_is_refused_in_parts_too():
    model = build()
    cache = KeyValueCache(model.config, B, MAX_LEN + 5)
    model(IDS, cache)
    with pytest.raises(ValueError, match="9 tokens were read and 9 come, .* is 17"):
        model(IDS, cache)


@pytest.mark.parametrize(
    ("changes", "dtype", "message"),
    [
        # Its last layer would stay empty, and every part would be taken for the first.
        ({"n_layers": 4}, None, "sizes .*n_layers=4.*, but the model .*n_layers=3"),
        ({"n_kv_heads": 6}, None, "sizes .*n_kv_heads=6.*, but .*n_kv_heads=3"),
        ({}, torch.float64, "type torch.float64, but the model has torch.float32"),
    ],
)
def test_a_cache_of_another_model_is_refused(changes, dtype, message):
    model, other = build(), build(**changes)
    cache = KeyValueCache(other.config, B, T, dtype)
    with pytest.raises(ValueError, match=message):
        model(IDS[:, :1], cache)
    assert cache.length == 0


@pytest.mark.parametrize(
    "real", [torch.ones(B, T + 1).bool(), torch.ones(T).bool(), torch.ones(B, T)]
)
def test_a_mask_that_does_not_fit_is_refused(real, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="real is torch.*must be torch.bool of the"):
        build()(IDS, real=real)

"""Language models: what they see, how they start, and that they learn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import (
    NORM_FIRST,
    POSITIONS,
    PROPERTY,
    SOURCE,
    B,
    C,
    S,
    V,
    build,
    config,
)
from torch import nn
from torch_twins import assert_same

from marketllm.batches import IGNORE, MaskedBatches, NextTokenBatches
from marketllm.config import TrainingConfig
from marketllm.losses import token_loss
from marketllm.models import GPT, Classifier, MaskedLanguageModel
from marketllm.training import fit

KINDS = pytest.mark.parametrize("kind", [GPT, MaskedLanguageModel])
TEXT = torch.tensor([[3, 9, 4, 4, 1, 7, 10], [5, 2, 8, 6, 6, 1, 3]])  # no padding


# What they see --------------------------------------------------------------


@NORM_FIRST
@POSITIONS
@settings(PROPERTY)
@given(t=st.integers(0, S - 2), new=st.integers(1, V - 2))
def test_a_later_token_never_changes_a_logit_of_gpt(norm_first, positions, t, new):
    model = build(GPT, norm_first=norm_first, positions=positions)
    other = TEXT.clone()
    other[:, t + 1] = 1 + (other[:, t + 1] - 1 + new) % (V - 1)
    moved = (model(TEXT) - model(other)).abs().amax(-1)
    assert moved[:, : t + 1].max() < 1e-6
    assert moved[:, t + 1 :].min() > 1e-4


@NORM_FIRST
@POSITIONS
def test_the_masked_model_looks_both_ways(norm_first, positions):
    model = build(MaskedLanguageModel, norm_first=norm_first, positions=positions)
    other = TEXT.clone()
    other[0, 3] = 8
    moved = (model(TEXT) - model(other)).abs().amax(-1)
    assert moved[0].min() > 1e-4


@KINDS
@POSITIONS
@settings(PROPERTY)
@given(n_padding=st.integers(1, 10))
def test_padding_does_not_change_the_logits(kind, positions, n_padding):
    model = build(kind, positions=positions, norm_first=True)
    longer = nn.functional.pad(SOURCE, (0, n_padding))
    real = SOURCE != 0
    assert_same(model(longer)[:, :S][real], model(SOURCE)[real], 2e-6)
    assert_same(model(SOURCE)[1:, :4], model(SOURCE[1:, :4]), 2e-6)


@KINDS
def test_padding_does_not_change_the_loss(kind):
    model = build(kind)
    targets = SOURCE.masked_fill(SOURCE == 0, IGNORE)
    longer = nn.functional.pad(SOURCE, (0, 4))
    more = nn.functional.pad(targets, (0, 4), value=IGNORE)
    loss = token_loss(model, (SOURCE, targets))
    assert_same(token_loss(model, (longer, more)), loss, 2e-6)


@KINDS
def test_texts_do_not_see_each_other(kind):
    model = build(kind)
    other = TEXT.clone()
    other[1] = torch.tensor([9, 10, 4, 1, 2, 2, 8])
    moved = (model(TEXT) - model(other)).abs().amax((1, 2))
    assert moved[0] < 1e-6
    assert moved[1] > 1e-2


# The shared table -----------------------------------------------------------


def test_the_logits_are_products_with_the_token_embeddings():
    model = build(GPT, norm_first=True)
    table = model.body.embedding.tokens.weight
    assert model(TEXT).shape == (B, S, V)
    for v in (0, 4, V - 1):
        products = (model.body(TEXT) * table[v]).sum(-1)
        assert_same(model(TEXT)[..., v], products, 2e-6)
    masked = build(MaskedLanguageModel)
    products = masked.body(TEXT) @ masked.body.embedding.tokens.weight.T
    assert_same(masked(TEXT) - products, masked.bias.expand(B, S, V), 2e-6)


@KINDS
def test_the_table_is_one_parameter_and_learns_from_both_ends(kind):
    model = build(kind)
    shapes = [tuple(p.shape) for p in model.parameters()]
    assert shapes.count((V, 12)) == 1
    ids = torch.tensor([[3, 4, 5]])
    token_loss(model, (ids, torch.tensor([[7, IGNORE, IGNORE]]))).backward()
    moved = model.body.embedding.tokens.weight.grad.abs().amax(-1)
    assert moved[7] > 1e-3  # never an input: through the output
    assert moved.min() > 1e-6  # all are scored


@pytest.mark.parametrize(
    ("kind", "causal"), [(GPT, True), (MaskedLanguageModel, False)]
)
def test_the_body_fits_a_classifier(kind, causal):
    model = build(kind)
    classify = Classifier(config(), C, causal=causal)
    classify.encoder.load_state_dict(model.body.state_dict())
    assert_same(classify.encoder(TEXT), model.body(TEXT), 1e-7)


# The start ------------------------------------------------------------------


@KINDS
@NORM_FIRST
@POSITIONS
def test_loss_starts_at_ln_v(kind, norm_first, positions):
    """The logits have variance D / 50^2, about 0.02: half of it is the excess.

    A token is its own likeliest guess by 0.02 D, about 1 nat, and changes the sum
    over 500 tokens by less than a hundredth.
    """
    n_ids = 500
    torch.manual_seed(0)
    model = kind(
        config(vocab_size=n_ids, d_model=48, norm_first=norm_first, positions=positions)
    )
    ids, targets = torch.randint(1, n_ids, (2, 64, S))
    assert abs(token_loss(model, (ids, targets)).item() - math.log(n_ids)) < 0.04


@pytest.mark.parametrize("n_layers", [1, 3, 8])
def test_standard_deviation_by_layer(n_layers):
    """What writes into the residual stream is smaller by the root of 2 n_layers."""
    torch.manual_seed(0)
    model = GPT(config(vocab_size=300, d_model=48, d_ff=192, n_layers=n_layers))
    small = 0.02 / math.sqrt(2 * n_layers)
    attention = ["to_query", "to_key", "to_value"]
    for block in model.body.blocks:
        parts = {name: getattr(block.self_attention, name) for name in attention}
        parts |= {"inner": block.feed_forward.inner}
        for name, linear in parts.items():
            assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1), name
        for linear in (block.self_attention.to_output, block.feed_forward.outer):
            assert linear.weight.std().item() == pytest.approx(small, rel=0.1)
            assert linear.bias.abs().max() == 0
    table = model.body.embedding.tokens.weight
    assert table.std().item() == pytest.approx(0.02, rel=0.05)


def test_the_masked_model_starts_alike_in_every_layer():
    torch.manual_seed(0)
    model = MaskedLanguageModel(config(vocab_size=300, d_model=48, n_layers=3))
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            assert weight.std().item() == pytest.approx(0.02, rel=0.1), name


def test_the_residual_stream_starts_alike_at_every_depth():
    """Why the start is scaled: what all layers add together does not grow."""

    def added(n_layers):
        torch.manual_seed(0)
        sizes = {"d_model": 48, "n_layers": n_layers, "norm_first": True}
        body = GPT(config(positions="none", **sizes)).body
        x = before = body.embedding(TEXT)
        for block in body.blocks:
            x = block(x)
        return (x - before).std().item()

    assert added(16) == pytest.approx(added(2), rel=0.25)  # unscaled: 2.8 times


# Learning -------------------------------------------------------------------


def test_gpt_learns_a_text_by_heart():
    torch.manual_seed(0)
    sequences = [[3, 9, 4, 4, 7], [5, 2, 8, 6, 9, 10, 4]]
    batches = NextTokenBatches(sequences, length=7, batch_size=2, end_id=1, seed=0)
    model = GPT(config(norm_first=True, positions="rotary"))
    settings = TrainingConfig(n_epochs=80, learning_rate=1e-2)
    history = fit(model, batches, token_loss, settings, progress=False)
    assert history.step_losses[0] == pytest.approx(math.log(V), abs=0.1)
    # What cannot be known: which text comes behind an end that opens a window.
    assert min(history.step_losses[-10:]) < 0.3


def test_the_masked_model_finds_what_only_the_right_side_tells():
    """Pairs of equal tokens: the hidden first of a pair is known from the second."""
    rows = [[token, token] for token in range(3, V) for _ in range(8)]
    torch.manual_seed(0)
    model = MaskedLanguageModel(config(norm_first=True, positions="rotary"))
    batches = MaskedBatches(rows, 16, mask_id=2, vocab_size=V, seed=0)
    settings = TrainingConfig(n_epochs=30, learning_rate=1e-2)
    fit(model, batches, token_loss, settings, progress=False)
    model.eval()
    ids = torch.tensor([[2, token] for token in range(3, V)])
    assert model(ids)[:, 0].argmax(-1).tolist() == list(range(3, V))

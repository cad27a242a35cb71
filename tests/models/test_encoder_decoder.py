"""The paper's model: against PyTorch's, by its properties, and by learning."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import NORM_FIRST, PROPERTY, SOURCE, TARGET, B, S, T, V, build, config
from torch import nn
from torch_twins import DTYPES, FORWARD, assert_same, copy_weights, layer_twin

from marketllm.attention import causal_mask
from marketllm.batches import shift_right
from marketllm.config import TrainingConfig
from marketllm.losses import cross_entropy
from marketllm.models import EncoderDecoder
from marketllm.training import fit

# Reference -------------------------------------------------------------------


@NORM_FIRST
@pytest.mark.parametrize("dtype", DTYPES)
def test_encoder_decoder_equals_the_stack_of_torch(norm_first, dtype):
    """The decoder is fed the target, and looks across at the encoder's output."""
    model = build(EncoderDecoder, norm_first=norm_first).to(dtype)
    memory, x = model.encoder(SOURCE), model.encoder.embedding(TARGET)
    assert memory.shape[1] != x.shape[1]
    for block in model.blocks:
        x = layer_twin(block, norm_first)(
            x,
            memory,
            tgt_mask=~causal_mask(T),
            tgt_key_padding_mask=TARGET == 0,
            memory_key_padding_mask=SOURCE == 0,
        )
    if norm_first:
        norm = nn.LayerNorm(12, dtype=dtype)
        copy_weights(model.norm, norm)
        x = norm(x)
    logits = model(SOURCE, TARGET)
    assert logits.shape == (B, T, V)
    real = TARGET != 0
    assert_same(logits[real], model.to_logits(x)[real], FORWARD[dtype])


# Properties ------------------------------------------------------------------


@NORM_FIRST
@settings(PROPERTY)
@given(st.integers(0, T - 2), st.integers(1, V - 1))
def test_the_decoder_does_not_look_ahead(norm_first, t, new):
    model = build(EncoderDecoder, norm_first=norm_first)
    target = torch.tensor([[2, 5, 9, 1, 3], [10, 4, 7, 6, 6]])
    other = target.clone()
    other[:, t + 1] = 1 + (other[:, t + 1] - 1 + new) % (V - 1)
    changed = other[:, t + 1] != target[:, t + 1]
    moved = (model(SOURCE, target) - model(SOURCE, other)).abs().amax(-1)
    assert moved[:, : t + 1].max() < 1e-6
    if changed.all():
        assert moved[:, t + 1 :].min() > 1e-4


@NORM_FIRST
@settings(PROPERTY)
@given(n_source=st.integers(1, 10), n_target=st.integers(1, 10))
def test_padding_does_not_change_the_decoder(norm_first, n_source, n_target):
    model = build(EncoderDecoder, norm_first=norm_first)
    shifted = shift_right(TARGET, start_id=1)
    logits = model(SOURCE, shifted)
    source = nn.functional.pad(SOURCE, (0, n_source))
    target = nn.functional.pad(TARGET, (0, n_target))
    longer = model(source, shift_right(target, start_id=1))
    real = TARGET != 0
    assert_same(longer[:, :T][real], logits[real], 2e-6)
    loss = cross_entropy(logits, TARGET, ignore_id=0)
    assert_same(cross_entropy(longer, target, ignore_id=0), loss, 2e-6)


def test_the_start_token_may_be_the_padding():
    model = build(EncoderDecoder)
    logits = model(SOURCE, shift_right(TARGET, start_id=0))
    assert logits.isfinite().all()


def test_examples_of_a_decoder_do_not_see_each_other():
    model = build(EncoderDecoder)
    before = model(SOURCE, TARGET)
    source, target = SOURCE.clone(), TARGET.clone()
    source[0, 2], target[0, 0] = 5, 6
    for moved in (model(source, TARGET) - before, model(SOURCE, target) - before):
        assert moved[1].abs().max() < 1e-6
        assert moved[0].abs().max() > 1e-2


def test_every_parameter_gets_a_gradient():
    model = build(EncoderDecoder, norm_first=True, positions="learned")
    logits = model(SOURCE, shift_right(TARGET, start_id=1))
    cross_entropy(logits, TARGET, ignore_id=0).backward()
    for name, parameter in model.named_parameters():
        if name.endswith("to_key.bias"):
            continue  # shifts all scores of a query alike: the softmax forgets it
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-7, name


def test_rotary_positions_reach_both_self_attentions_and_no_cross_attention():
    model = build(EncoderDecoder, positions="rotary")
    for block in model.encoder.blocks:
        assert block.self_attention.rotary
    for block in model.blocks:
        assert block.self_attention.rotary
        assert not block.cross_attention.rotary
    assert model(SOURCE, TARGET).isfinite().all()
    swapped = model(SOURCE[:, [1, 0, 2, 3, 4, 5, 6]], TARGET) - model(SOURCE, TARGET)
    assert swapped.abs().max() > 1e-3


# Learning --------------------------------------------------------------------


@NORM_FIRST
def test_loss_starts_near_ln_v(norm_first):
    """At the start the model knows nothing: ln V, and a little for its noise.

    The last vectors leave LayerNorm with length sqrt(D). PyTorch draws the last
    linear map evenly from +-1 / sqrt(D), with variance 1 / (3 D), so the logits
    have variance 1/3 and their noise costs half of that, 1/6 nat. The vectors
    of one model are alike, so one draw wanders about it: 0.15 either way.
    """
    n_ids = 500
    torch.manual_seed(0)
    model = EncoderDecoder(
        config(vocab_size=n_ids, d_model=48, dropout=0.1, norm_first=norm_first)
    )
    source = torch.randint(1, n_ids, (32, S))
    target = torch.randint(1, n_ids, (32, T))
    loss = cross_entropy(model(source, shift_right(target, 1)), target).item()
    assert abs(loss - (math.log(n_ids) + 1 / 6)) < 0.15


def test_an_encoder_decoder_learns_to_copy():
    """New sequences, never trained on, are copied token by token."""
    torch.manual_seed(0)
    start, n_tokens = 1, 4
    model = EncoderDecoder(
        config(d_model=32, n_heads=2, d_ff=64, n_layers=1, norm_first=True)
    )

    def draw(n):
        return torch.randint(2, V, (n, n_tokens))

    def loss(model, target):
        return cross_entropy(model(target, shift_right(target, start)), target)

    settings = TrainingConfig(n_epochs=1, learning_rate=1e-2)
    history = fit(model, [draw(64) for _ in range(250)], loss, settings)
    assert history.step_losses[0] > math.log(V) - 0.5
    model.eval()
    source = draw(50)
    written = torch.full((50, 1), start)
    for _ in range(n_tokens):  # one token at a time, from its own words
        token = model(source, written)[:, -1:].argmax(-1)
        written = torch.cat([written, token], dim=1)
    correct = (written[:, 1:] == source).float().mean().item()
    assert correct > 0.95  # chance is 1/9

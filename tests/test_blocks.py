"""Encoder and decoder blocks against PyTorch's layers with the same weights."""

import pytest
import torch
from torch_twins import (
    DTYPES,
    FORWARD,
    GRADIENT,
    assert_same,
    assert_same_gradients,
    assert_same_run,
    layer_twin,
    vary,
)

from marketllm.attention import causal_mask
from marketllm.blocks import DecoderBlock, EncoderBlock, Residual
from marketllm.layers import LayerNorm

B, T, S, D, H, F = 2, 5, 7, 12, 3, 20
REAL = torch.tensor([[1] * T, [1] * 3 + [0] * (T - 3)]).bool()  # B, T
REAL_SOURCE = torch.tensor([[1] * 6 + [0], [1] * 4 + [0] * 3]).bool()  # B, S
NORM_FIRST = pytest.mark.parametrize("norm_first", [False, True])


def block_and_twin(kind, dtype, norm_first):
    ours = kind(D, H, F, norm_first=norm_first).to(dtype)
    vary(ours)
    return ours, layer_twin(ours, norm_first)


@NORM_FIRST
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", ["no", "causal", "padding", "both"])
def test_encoder_block_equals_torch(dtype, norm_first, masked):
    ours, twin = block_and_twin(EncoderBlock, dtype, norm_first)
    mask, theirs = {
        "no": (None, {}),
        "causal": (causal_mask(T), {"src_mask": ~causal_mask(T)}),
        "padding": (REAL[:, None], {"src_key_padding_mask": ~REAL}),
        "both": (
            causal_mask(T) & REAL[:, None],
            {"src_mask": ~causal_mask(T), "src_key_padding_mask": ~REAL},
        ),
    }[masked]
    assert_same_run(
        lambda x: ours(x, mask),
        lambda x: twin(x, **theirs),
        [torch.randn(B, T, D, dtype=dtype)],
        dtype,
    )
    assert_same_gradients(ours, twin, GRADIENT[dtype])


@NORM_FIRST
@pytest.mark.parametrize("dtype", DTYPES)
def test_encoder_block_equals_the_fast_path_of_torch(dtype, norm_first):
    """In eval mode without gradients PyTorch runs another program."""
    ours, twin = block_and_twin(EncoderBlock, dtype, norm_first)
    ours.eval()
    twin.eval()
    x = torch.randn(B, T, D, dtype=dtype)
    with torch.no_grad():
        mine = ours(x, REAL[:, None])
        theirs = twin(x, src_key_padding_mask=~REAL)
    # Vectors of padding mean nothing; the fast path may set them to 0.
    assert_same(mine[REAL], theirs[REAL], FORWARD[dtype])


@NORM_FIRST
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", ["no", "causal", "padding on both sides"])
def test_decoder_block_equals_torch(dtype, norm_first, masked):
    ours, twin = block_and_twin(DecoderBlock, dtype, norm_first)
    masks, theirs = {
        "no": ((None, None), {}),
        "causal": ((causal_mask(T), None), {"tgt_mask": ~causal_mask(T)}),
        "padding on both sides": (
            (causal_mask(T) & REAL[:, None], REAL_SOURCE[:, None]),
            {
                "tgt_mask": ~causal_mask(T),
                "tgt_key_padding_mask": ~REAL,
                "memory_key_padding_mask": ~REAL_SOURCE,
            },
        ),
    }[masked]
    assert_same_run(
        lambda x, memory: ours(x, memory, *masks),
        lambda x, memory: twin(x, memory, **theirs),
        [torch.randn(B, T, D, dtype=dtype), torch.randn(B, S, D, dtype=dtype)],
        dtype,
    )
    assert_same_gradients(ours, twin, GRADIENT[dtype])


def test_pre_and_post_norm_are_different_functions():
    ours = EncoderBlock(D, H, F, norm_first=False)
    other = EncoderBlock(D, H, F, norm_first=True)
    other.load_state_dict(ours.state_dict())
    x = torch.randn(B, T, D)
    assert (ours(x) - other(x)).abs().max() > 0.1


def test_residual_worked_example():
    x = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    norm = LayerNorm(4)
    post, pre = Residual(4, 0.0, False), Residual(4, 0.0, True)
    torch.testing.assert_close(post(x, lambda x: 2 * x), norm(3 * x))
    torch.testing.assert_close(pre(x, lambda x: 2 * x), x + 2 * norm(x))


def test_pre_norm_leaves_the_way_round_untouched():
    block = EncoderBlock(D, H, F, norm_first=True)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(B, T, D)
    assert torch.equal(block(x), x)


def test_encoder_block_does_not_know_the_order():
    block, x = EncoderBlock(D, H, F), torch.randn(B, T, D)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert_same(block(x[:, order]), block(x)[:, order], 1e-6)
    assert (block(x)[:, order] - block(x)).abs().max() > 0.1


def test_decoder_block_uses_its_memory():
    block, x = DecoderBlock(D, H, F), torch.randn(B, T, D)
    memory = torch.randn(B, S, D)
    other = memory.clone()
    other[0, 6] += 1.0
    moved = (block(x, memory) - block(x, other)).abs().amax((1, 2))
    assert moved[0] > 1e-3
    assert moved[1] == 0  # another example's memory plays no part


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_dropout_acts_in_training_only(kind):
    block = kind(D, H, F, dropout=0.4)
    inputs = [torch.randn(B, T, D)]
    if kind is DecoderBlock:
        inputs.append(torch.randn(B, S, D))
    assert (block(*inputs) - block(*inputs)).abs().max() > 1e-2
    block.eval()
    assert torch.equal(block(*inputs), block(*inputs))


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_heads_that_do_not_divide_the_width_are_refused(kind):
    with pytest.raises(ValueError, match="n_heads=5 does not divide d_model=12"):
        kind(D, 5, F)


@pytest.mark.parametrize("rotary", [False, True])
def test_rotary_positions_are_for_the_self_attention(rotary):
    encoder, decoder = (
        kind(D, H, F, rotary=rotary) for kind in (EncoderBlock, DecoderBlock)
    )
    assert encoder.self_attention.rotary is rotary
    assert decoder.self_attention.rotary is rotary
    assert decoder.cross_attention.rotary is False

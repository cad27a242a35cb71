"""LayerNorm and the feed-forward network."""

import pytest
import torch
from torch import nn
from torch_twins import (
    DTYPES,
    GRADIENT,
    assert_same_gradients,
    assert_same_run,
    copy_weights,
    vary,
)

from marketllm.layers import FeedForward, LayerNorm

B, T, D, F = 2, 5, 12, 20


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e-3])  # 1e-3: variance 1e-6, eps decides
def test_layer_norm_equals_torch(dtype, scale):
    ours = LayerNorm(D).to(dtype)
    vary(ours)
    twin = nn.LayerNorm(D, dtype=dtype)
    copy_weights(ours, twin)
    x = scale * torch.randn(B, T, D, dtype=dtype)
    if scale == 1.0:
        assert_same_run(ours, twin, [x + 0.5], dtype)
        assert_same_gradients(ours, twin, GRADIENT[dtype])
    else:
        # Gradients of the input are of size 1 / scale: leave the outputs to judge.
        difference = (ours(x) - twin(x)).abs().max()
        assert difference <= 1e-6
        assert twin(x).abs().max() > 0.1


def test_layer_norm_worked_example():
    x = torch.tensor([1.0, 0.0, 0.0, 0.0])
    # mean 1/4, variance 3/16: (1 - 1/4) / sqrt(3/16) = sqrt(3) = 1.732, not 1.5
    expected = torch.tensor([3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)])
    torch.testing.assert_close(LayerNorm(4)(x), expected, atol=1e-4, rtol=0)


def test_layer_norm_gives_mean_0_and_variance_1():
    y = LayerNorm(D)(3 + 2 * torch.randn(B, T, D))
    torch.testing.assert_close(y.mean(-1), torch.zeros(B, T), atol=1e-6, rtol=0)
    variance = y.pow(2).mean(-1)
    torch.testing.assert_close(variance, torch.ones(B, T), atol=1e-4, rtol=0)


def test_layer_norm_does_not_mix_tokens():
    norm, x = LayerNorm(D), torch.randn(B, T, D)
    other = x.clone()
    other[1, 2] += torch.randn(D)
    changed = (norm(other) - norm(x)).abs().amax(-1) > 1e-3
    assert changed.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_feed_forward_equals_torch(dtype):
    ours = FeedForward(D, F).to(dtype)
    twin = nn.Sequential(nn.Linear(D, F), nn.ReLU(), nn.Linear(F, D)).to(dtype)
    copy_weights(ours.inner, twin[0])
    copy_weights(ours.outer, twin[2])
    assert_same_run(ours, twin, [torch.randn(B, T, D, dtype=dtype)], dtype)
    assert_same_gradients(ours.inner, twin[0], GRADIENT[dtype])
    assert_same_gradients(ours.outer, twin[2], GRADIENT[dtype])


def test_feed_forward_works_on_each_token_alone():
    layer, x = FeedForward(D, F), torch.randn(B, T, D)
    torch.testing.assert_close(layer(x)[1, 3], layer(x[1, 3]))


def test_dropout_acts_in_training_only():
    layer, x = FeedForward(D, F, dropout=0.5), torch.randn(B, T, D)
    assert (layer(x) - layer(x)).abs().max() > 1e-3
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    assert layer(x).abs().max() > 1e-2

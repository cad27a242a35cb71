"""Norms, feed-forward networks and the linear map, against PyTorch and by hand."""

import jaxtyping
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

from marketllm.layers import FeedForward, LayerNorm, Linear, RMSNorm, SwiGLU

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
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_rms_norm_equals_torch(dtype, scale):
    ours = RMSNorm(D).to(dtype)
    vary(ours)
    twin = nn.RMSNorm(D, eps=1e-5, dtype=dtype)
    twin.weight.data.copy_(ours.weight)
    x = scale * (torch.randn(B, T, D, dtype=dtype) + 0.5)
    torch.testing.assert_close(ours(x), twin(x), atol=1e-6, rtol=0)
    ours(x).pow(2).sum().backward()
    twin(x).pow(2).sum().backward()
    torch.testing.assert_close(ours.weight.grad, twin.weight.grad)
    assert ours.weight.grad.abs().min() > 1e-3


def test_rms_norm_worked_example():
    x = torch.tensor([3.0, 4.0, 0.0, 0.0])
    # mean square 25/4: divided by 5/2. LayerNorm would take the mean 7/4 off first.
    expected = torch.tensor([1.2, 1.6, 0.0, 0.0])
    torch.testing.assert_close(RMSNorm(4)(x), expected, atol=1e-5, rtol=0)
    assert (RMSNorm(4)(x) - LayerNorm(4)(x)).abs().max() > 0.5


def test_rms_norm_does_not_feel_the_scale_but_the_shift():
    norm, x = RMSNorm(D), torch.randn(B, T, D)
    torch.testing.assert_close(norm(50 * x), norm(10 * x), atol=1e-5, rtol=0)
    assert (norm(x + 3) - norm(x)).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", [LayerNorm, RMSNorm])
def test_norms_hold_large_numbers_in_half_precision(make, dtype):
    """Real Llamas carry numbers above 20,000; float16 ends at 65,504."""
    norm, x = make(D), 20_000 * torch.randn(B, T, D).clamp(-3, 3)
    expected = norm(x.to(dtype).float())
    found = norm.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=0.01, rtol=0.01)
    assert expected.abs().max() > 1


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


@pytest.mark.parametrize(
    ("activation", "twin"),
    [
        ("relu", nn.ReLU()),
        ("gelu", nn.GELU()),
        ("gelu_tanh", nn.GELU(approximate="tanh")),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_every_activation(activation, twin, bias):
    layer = FeedForward(D, F, activation=activation, bias=bias).double()
    x = 3 * torch.randn(B, T, D, dtype=torch.float64)
    torch.testing.assert_close(layer(x), layer.outer(twin(layer.inner(x))))
    assert (layer.inner.bias is not None) is bias
    assert (layer.outer.bias is not None) is bias


def test_the_two_gelus_differ_where_it_can_be_seen():
    exact, tanh = (FeedForward(1, 1, activation=a) for a in ("gelu", "gelu_tanh"))
    tanh.load_state_dict(exact.state_dict())
    x = torch.linspace(-4, 4, 99).unsqueeze(-1) / exact.inner.weight.item()
    assert 1e-5 < (exact(x) - tanh(x)).abs().max() < 1e-2


def test_an_unknown_activation_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="'silu'; choose 'relu', 'gelu' or"):
        FeedForward(D, F, activation="silu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_swiglu_equals_llama(dtype):
    from transformers.models.llama.modeling_llama import LlamaConfig, LlamaMLP

    config = LlamaConfig(hidden_size=D, intermediate_size=F, num_attention_heads=3)
    ours, twin = SwiGLU(D, F).to(dtype), LlamaMLP(config).to(dtype)
    for one, other in (("gate", "gate_proj"), ("inner", "up_proj")):
        copy_weights(getattr(ours, one), getattr(twin, other))
    copy_weights(ours.outer, twin.down_proj)
    assert_same_run(ours, twin, [torch.randn(B, T, D, dtype=dtype)], dtype)
    assert_same_gradients(ours.gate, twin.gate_proj, GRADIENT[dtype])
    assert_same_gradients(ours.inner, twin.up_proj, GRADIENT[dtype])


def test_swiglu_worked_example():
    layer = SwiGLU(1, 1)
    for weight, value in ((layer.gate, 2.0), (layer.inner, 3.0), (layer.outer, 5.0)):
        nn.init.constant_(weight.weight, value)
    # x = 1/2: gate 1, silu(1) = 1 / (1 + 1/e) = 0.7311; inner 1.5; 5 x 1.0966
    assert layer(torch.tensor([0.5])).item() == pytest.approx(5.4829, abs=1e-4)


# The linear map in pieces ---------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (3,), (2, 3), (8,), (3, 3), (0,)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_linear_in_pieces_equals_torch(shape, bias, n_threads):
    layer = Linear(D, 18, bias)
    x = torch.randn(*shape, D)
    torch.set_num_threads(n_threads)
    with torch.no_grad():
        out = layer(x)
    torch.testing.assert_close(out, nn.functional.linear(x, layer.weight, layer.bias))
    assert out.shape == (*shape, 18)


def test_linear_cuts_few_rows_only_and_not_in_training(monkeypatch):
    seen = []
    cut = torch.bmm

    def spy(pieces, columns):
        seen.append((pieces.shape, columns.shape))
        return cut(pieces, columns)

    monkeypatch.setattr(torch, "bmm", spy)
    torch.set_num_threads(2)
    layer = Linear(D, 18)
    layer(torch.randn(1, D))
    with torch.no_grad():
        layer(torch.randn(9, D))
        Linear(D, 17)(torch.randn(1, D))  # 17 rows of weights: not to be halved
        assert not seen
        layer(torch.randn(2, D))
    assert seen == [((2, 9, D), (2, D, 2))]


def test_linear_refuses_as_torch_does():
    layer = Linear(D, 18)
    with torch.no_grad(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        layer(torch.randn(2, D + 1))

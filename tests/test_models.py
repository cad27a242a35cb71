"""Whole models: against PyTorch's stacks, by their properties, and by learning."""

import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_twins import DTYPES, FORWARD, assert_same, copy_weights, layer_twin, vary

from marketllm.attention import causal_mask
from marketllm.batches import LabelledBatches, shift_right
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.losses import classification_loss, cross_entropy
from marketllm.models import (
    Classifier,
    Embedding,
    Encoder,
    EncoderDecoder,
    masked_mean,
)
from marketllm.training import fit, predict_probabilities

PROPERTY = settings(max_examples=15, deadline=None, derandomize=True)
B, T, S, V, C, MAX_LEN = 2, 5, 7, 11, 4, 17
NORM_FIRST = pytest.mark.parametrize("norm_first", [False, True])
POSITIONS = pytest.mark.parametrize("positions", ["sinusoidal", "learned", "none"])
# Source and target of different length, each with padding (id 0) on the right.
SOURCE = torch.tensor([[3, 9, 4, 4, 1, 7, 10], [5, 2, 8, 6, 0, 0, 0]])
TARGET = torch.tensor([[2, 5, 9, 1, 3], [10, 4, 7, 0, 0]])


def config(**changes):
    sizes = {"vocab_size": V, "max_len": MAX_LEN, "d_model": 12, "n_heads": 3}
    return ModelConfig(**(sizes | {"d_ff": 20, "dropout": 0.0} | changes))


def build(kind, *arguments, **changes):
    torch.manual_seed(1)
    model = kind(config(**changes), *arguments)
    vary(model)
    return model


# Reference ------------------------------------------------------------------


@NORM_FIRST
@POSITIONS
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


def test_encoder_has_the_size_the_paper_implies():
    """12 D^2 + 13 D weights a block, where F = 4 D."""
    block = Encoder(config(d_ff=4 * 12)).blocks[0]
    assert sum(p.numel() for p in block.parameters()) == 12 * 12**2 + 13 * 12


def test_embedding_starts_with_variance_1():
    vectors = Embedding(config(vocab_size=2000, positions="none")).tokens.weight
    assert vectors.var().item() == pytest.approx(1, abs=0.05)


def test_masked_mean_worked_example():
    vectors = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, float("nan")]]])
    real = torch.tensor([[[True], [True], [False]]])
    assert masked_mean(vectors, real).tolist() == [[2.0, 4.0]]


# Properties -----------------------------------------------------------------


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


@settings(PROPERTY)
@given(st.integers(1, 10))
def test_padding_does_not_change_the_class(n_padding):
    model = build(Classifier, C)
    labels = torch.tensor([3, 1])
    longer = nn.functional.pad(SOURCE, (0, n_padding))
    assert_same(model(longer), model(SOURCE), 2e-6)
    loss = classification_loss(model, (SOURCE, labels))
    assert_same(classification_loss(model, (longer, labels)), loss, 2e-6)
    assert_same(model(SOURCE[1:, :4]), model(SOURCE)[1:], 2e-6)


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


@NORM_FIRST
def test_examples_of_an_encoder_do_not_see_each_other(norm_first):
    model = build(Encoder, norm_first=norm_first)
    ids = torch.tensor([[3, 9, 4], [5, 2, 8], [7, 6, 1], [2, 2, 10]])  # no padding
    other = ids.clone()
    other[2] = torch.tensor([9, 10, 4])
    moved = (model(ids) - model(other)).abs().amax((1, 2))
    assert moved[[0, 1, 3]].max() < 1e-6
    assert moved[2] > 1e-2


def test_examples_of_a_decoder_do_not_see_each_other():
    model = build(EncoderDecoder)
    before = model(SOURCE, TARGET)
    source, target = SOURCE.clone(), TARGET.clone()
    source[0, 2], target[0, 0] = 5, 6
    for moved in (model(source, TARGET) - before, model(SOURCE, target) - before):
        assert moved[1].abs().max() < 1e-6
        assert moved[0].abs().max() > 1e-2


@settings(PROPERTY)
@given(st.permutations(range(S)))
def test_without_positions_the_encoder_does_not_know_the_order(order):
    ids = SOURCE[:1]
    model = build(Encoder, positions="none")
    assert_same(model(ids[:, order]), model(ids)[:, order], 2e-6)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_with_positions_the_encoder_knows_the_order(positions):
    ids, order = SOURCE[:1], [6, 0, 1, 2, 3, 4, 5]
    model = build(Encoder, positions=positions)
    assert (model(ids[:, order]) - model(ids)[:, order]).abs().max() > 1e-2
    classify = build(Classifier, C, positions=positions)
    assert (classify(ids[:, order]) - classify(ids)).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient():
    model = build(EncoderDecoder, norm_first=True, positions="learned")
    logits = model(SOURCE, shift_right(TARGET, start_id=1))
    cross_entropy(logits, TARGET, ignore_id=0).backward()
    for name, parameter in model.named_parameters():
        if name.endswith("to_key.bias"):
            continue  # shifts all scores of a query alike: the softmax forgets it
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-7, name


# Learning -------------------------------------------------------------------


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


@NORM_FIRST
def test_one_batch_is_overfitted(norm_first):
    torch.manual_seed(0)
    model = Classifier(config(vocab_size=50, norm_first=norm_first), n_classes=C)
    ids, labels = torch.randint(1, 50, (8, T)), torch.arange(8) % C
    history = fit(
        model,
        [(ids, labels)],
        classification_loss,
        TrainingConfig(n_epochs=80, learning_rate=1e-2),
        progress=False,
    )
    assert history.step_losses[0] > 1.0
    assert history.step_losses[-1] < 0.05
    assert model(ids).argmax(-1).tolist() == labels.tolist()


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


def test_planted_truth_is_found():
    """The class is whether the word 7 occurs; the other words say nothing."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i in range(300):
        n = int(torch.randint(3, 9, (1,), generator=generator))
        words = torch.randint(8, 30, (n,), generator=generator)
        if i % 2:
            words[int(torch.randint(n, (1,), generator=generator))] = 7
        rows.append(words.tolist())
    labels = [i % 2 for i in range(300)]
    torch.manual_seed(0)
    model = Classifier(config(vocab_size=30), n_classes=2)
    fit(
        model,
        LabelledBatches(rows[:200], labels[:200], batch_size=20, seed=0),
        classification_loss,
        TrainingConfig(n_epochs=12, learning_rate=1e-2),
    )
    test = LabelledBatches(rows[200:], labels[200:])
    guess = predict_probabilities(model, test).argmax(-1)
    assert (guess == labels[200:]).mean() > 0.95


def test_word_order_is_found_only_with_positions():
    """The class is which of two words comes first: a bag of words cannot know."""
    rows = [[a, b] for a in range(1, 11) for b in range(1, 11) if a != b]
    labels = [int(a < b) for a, b in rows]
    accuracy = {}
    for positions in ("none", "sinusoidal"):
        torch.manual_seed(0)
        model = Classifier(config(positions=positions), n_classes=2)
        batches = LabelledBatches(rows, labels, batch_size=30, seed=0)
        settings = TrainingConfig(n_epochs=40, learning_rate=1e-2)
        fit(model, batches, classification_loss, settings)
        test = LabelledBatches(rows, labels, batch_size=90)
        guess = predict_probabilities(model, test).argmax(-1)
        accuracy[positions] = (guess == labels).mean()
    assert accuracy["none"] == pytest.approx(0.5, abs=1e-9)
    assert accuracy["sinusoidal"] > 0.9


# Refusals -------------------------------------------------------------------


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


@pytest.mark.parametrize("place", ["encoder", "classifier", "source"])
def test_an_example_of_padding_alone_is_refused(place):
    ids = torch.tensor([[3, 4, 5], [0, 0, 0]])
    with pytest.raises(ValueError, match="example 1 of 2 is all padding"):
        models()[place](ids)


@pytest.mark.parametrize("n", [1, 0, -3])
def test_a_choice_of_one_class_is_refused(n):
    with pytest.raises(ValueError, match=f"n_classes is {n}: a choice needs at least"):
        Classifier(config(), n)


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

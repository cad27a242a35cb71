"""Recurrent classifiers: equal to a cell by hand, and untouched by padding."""

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import PROPERTY, SOURCE, C, T, V, build, config
from torch import nn
from torch_twins import assert_same

from marketllm.batches import LabelledBatches
from marketllm.config import TrainingConfig
from marketllm.losses import classification_loss
from marketllm.models import RecurrentClassifier
from marketllm.training import fit, predict_probabilities

CELLS = pytest.mark.parametrize("cell", ["rnn", "lstm"])


def small(cell, **changes):
    return build(RecurrentClassifier, C, cell, n_layers=1, **changes)


def states_by_hand(model, x):
    """One text of shape (T, D), one step at a time, from the papers' formulas."""
    net = model.recurrent
    w_in, w_back = net.weight_ih_l0, net.weight_hh_l0
    bias = net.bias_ih_l0 + net.bias_hh_l0
    hidden = memory = torch.zeros(x.shape[1])
    states = []
    for token in x:
        drive = w_in @ token + w_back @ hidden + bias
        if isinstance(net, nn.LSTM):
            enter, forget, new, out = drive.chunk(4)
            memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
            hidden = out.sigmoid() * memory.tanh()
        else:
            hidden = drive.tanh()
        states.append(hidden)
    return torch.stack(states)


@CELLS
def test_it_equals_the_cell_by_hand(cell):
    model = small(cell)
    expected = []
    for row in SOURCE:
        row = row[row != 0]
        states = states_by_hand(model, model.embedding.tokens.weight[row])
        expected.append(model.to_logits(states.mean(dim=0)))
    found = model(SOURCE)
    assert found.shape == (2, C)
    assert_same(found, torch.stack(expected), 2e-6)
    assert (found[0] - found[1]).abs().max() > 1e-2


@CELLS
@settings(PROPERTY)
@given(st.integers(1, 10))
def test_padding_and_neighbours_do_not_change_the_class(cell, n_padding):
    model = build(RecurrentClassifier, C, cell)
    longer = nn.functional.pad(SOURCE, (0, n_padding))
    assert_same(model(longer), model(SOURCE), 2e-6)
    assert_same(model(SOURCE[1:, :4]), model(SOURCE)[1:], 2e-6)  # alone in its batch
    other = torch.cat([SOURCE[:1].flip(1), SOURCE[1:]])
    assert_same(model(other)[1:], model(SOURCE)[1:], 2e-6)
    assert (model(other)[0] - model(SOURCE)[0]).abs().max() > 1e-3


@CELLS
def test_order_counts_and_positions_are_not_added(cell):
    model = small(cell, positions="sinusoidal")
    twin = small(cell, positions="none")
    assert_same(model(SOURCE), twin(SOURCE), 0)
    changed = SOURCE[:1, [1, 0, 2, 3, 4, 5, 6]]
    assert (model(changed) - model(SOURCE[:1])).abs().max() > 1e-3


def test_number_of_weights():
    d = 12
    one_cell = 2 * d * d + 2 * d
    for cell, n_gates in (("rnn", 1), ("lstm", 4)):
        for n_layers in (1, 3):
            model = build(RecurrentClassifier, C, cell, n_layers=n_layers)
            found = sum(weight.numel() for weight in model.parameters())
            assert found == V * d + n_layers * n_gates * one_cell + d * C + C


@CELLS
def test_one_batch_is_overfitted(cell):
    torch.manual_seed(0)
    model = RecurrentClassifier(config(vocab_size=50, n_layers=1), C, cell)
    ids, labels = torch.randint(1, 50, (8, T)), torch.arange(8) % C
    history = fit(
        model,
        [(ids, labels)],
        classification_loss,
        TrainingConfig(n_epochs=80, learning_rate=2e-2),
        progress=False,
    )
    assert history.step_losses[0] > 1.0
    assert history.step_losses[-1] < 0.05
    assert model(ids).argmax(-1).tolist() == labels.tolist()


@CELLS
def test_word_order_is_found(cell):
    """The class is which of two words comes first: a bag of words cannot know."""
    rows = [[a, b] for a in range(1, 11) for b in range(1, 11) if a != b]
    labels = [int(a < b) for a, b in rows]
    torch.manual_seed(0)
    model = RecurrentClassifier(config(n_layers=1), 2, cell)
    batches = LabelledBatches(rows, labels, batch_size=30, seed=0)
    fit(
        model,
        batches,
        classification_loss,
        TrainingConfig(n_epochs=40, learning_rate=1e-2),
    )
    test = LabelledBatches(rows, labels, batch_size=90)
    guess = predict_probabilities(model, test).argmax(-1)
    assert (guess == labels).mean() > 0.9


@CELLS
def test_dropout_only_in_training(cell):
    model = build(RecurrentClassifier, C, cell, dropout=0.5)
    assert (model.train()(SOURCE) - model(SOURCE)).abs().max() > 1e-3
    assert_same(model.eval()(SOURCE), model(SOURCE), 0)


@pytest.mark.parametrize(
    "ids", [[[3, 4], [0, 5]], [[3, 4], [0, 0]], [[3, 0, 4], [1, 1, 1]]]
)
def test_padding_before_a_token_and_empty_texts_are_refused(ids):
    with pytest.raises(ValueError, match=r"padding \(0\) stands before a token, or"):
        small("rnn")(torch.tensor(ids))


def test_impossible_choices_are_refused():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match="cell is 'gru'; choose 'rnn' or 'lstm'"):
            RecurrentClassifier(config(), 2, "gru")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    with pytest.raises(ValueError, match="n_classes is 1: a choice needs at least 2"):
        RecurrentClassifier(config(), 1)
    with pytest.raises(ValueError, match="18 tokens, but max_len is 17"):
        small("lstm")(torch.ones(1, 18, dtype=torch.long))
    with pytest.raises(ValueError, match="token id 11 is outside the vocabulary"):
        small("lstm")(torch.tensor([[1, 11]]))

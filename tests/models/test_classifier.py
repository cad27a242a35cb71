"""The classifier: padding does not count, and planted truth is found."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import NORM_FIRST, PROPERTY, SOURCE, C, T, build, config
from torch import nn
from torch_twins import assert_same

from marketllm.batches import LabelledBatches
from marketllm.config import TrainingConfig
from marketllm.losses import classification_loss
from marketllm.models import Classifier, masked_mean
from marketllm.training import fit, predict_probabilities


def test_masked_mean_worked_example():
    vectors = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, float("nan")]]])
    real = torch.tensor([[[True], [True], [False]]])
    assert masked_mean(vectors, real).tolist() == [[2.0, 4.0]]


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


@pytest.mark.parametrize("n", [1, 0, -3])
def test_a_choice_of_one_class_is_refused(n):
    with pytest.raises(ValueError, match=f"n_classes is {n}: a choice needs at least"):
        Classifier(config(), n)


def test_a_causal_classifier_has_the_causal_stack():
    """The stack does not look ahead; the mean still takes in every token."""
    torch.manual_seed(1)
    model = Classifier(config(), C, causal=True)
    assert model.encoder.causal
    assert not build(Classifier, C).encoder.causal
    other = SOURCE.clone()
    other[0, -1] = 2
    moved = (model.encoder(SOURCE) - model.encoder(other)).abs().amax(-1)
    assert moved[0, :-1].max() < 1e-6
    assert moved[0, -1] > 1e-2
    assert (model(SOURCE) - model(other))[0].abs().max() > 1e-3

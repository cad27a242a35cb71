"""Proofs of the errata of losses and of what is measured.

A test builds the article's fault in a few lines of its own, shows how it fails, and
shows that the right version, marketllm's or PyTorch's, does not. Numbers are float64.
"""

import itertools
import math

import pytest
import torch
from proofs import ROUNDING, gap
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from marketllm.losses import cross_entropy, mean_squared_error, perplexity


def articles_loss(predicted, label):
    """Add up one number for each label, as the article's code does."""
    return -predicted[range(len(predicted)), label].sum()


def descend(loss, rate, n_steps=300):
    """Fit two shares in 0..1 to who buys, about a fifth, by gradient descent."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(400, 2, generator=generator)
    buys = (shares.sum(dim=1) > 1.36).long()
    weight = torch.zeros(2, 2, requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=rate)
    values, surprises = [], []
    for _ in range(n_steps):
        logits = shares @ weight + bias
        values.append(loss(logits, buys))
        surprises.append(functional.cross_entropy(logits, buys).item())
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    right = (logits.argmax(dim=1) == buys).double().mean().item()
    majority = (buys == 0).double().mean().item()
    return [value.item() for value in values], surprises, right, majority


@pytest.mark.parametrize("shape", [(4, 7, 5), (2, 3, 50)])
def test_m8_loud_on_the_shapes_it_declares(shape):
    """Batch and length differ: the two lists of places do not fit each other."""
    labels = torch.randint(0, 3, shape[:2])
    with pytest.raises(IndexError, match="shape mismatch"):
        articles_loss(torch.randn(shape), labels)


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 4, 3)])
def test_m8_silent_where_the_shapes_happen_to_fit(shape):
    """Batch as large as the text is long, or 1: the label is taken for a position."""
    logits, labels = torch.randn(shape), torch.randint(0, 3, shape[:2])
    loss = articles_loss(logits, labels)
    rows = range(shape[0]) if shape[0] > 1 else [0] * shape[1]
    picked = [
        logits[b, position].sum()  # all words of one place, and never a word
        for line in labels.tolist()
        for b, position in zip(rows, line, strict=True)
    ]
    assert abs(loss + sum(picked)) < ROUNDING
    right = shape[0] * shape[1] * cross_entropy(logits, labels)
    flat = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert abs(right - flat * labels.numel()) < ROUNDING
    assert abs(loss - right) > 1


def test_m8_surprise_below_zero():
    """A surprise of 6.91 is called -2, and -42 when each logit rises by 10."""
    logits = torch.tensor(
        [[2.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 3, 0, 0], [0, 0, 0, 0, -4]]
    )
    labels = torch.tensor([0, 1, 2, 4])
    assert articles_loss(logits, labels).item() == -2
    assert articles_loss(logits + 10, labels).item() == -42
    right = cross_entropy(logits, labels)
    assert abs(4 * right.item() - 6.91) < 5e-5
    assert abs(right.item() - 1.7275) < 5e-5
    assert gap(right, cross_entropy(logits + 10, labels)) < ROUNDING
    assert gap(right, functional.cross_entropy(logits, labels)) < ROUNDING
    # Handed log-probabilities, it is right, but for the sum in place of the mean.
    assert gap(articles_loss(logits.log_softmax(-1), labels), 4 * right) < ROUNDING
    with pytest.raises(ValueError, match=r"surprise is -2\.0 nats"):
        perplexity(-2.0)


def test_m8_unbounded_below():
    """Descent takes it below -200,000 while nothing but the majority is learned."""
    values, surprises, right, majority = descend(articles_loss, rate=2 / 400)
    assert all(b < a for a, b in itertools.pairwise(values))
    assert values[-1] < -200_000
    assert right == majority
    assert 0.79 < majority < 0.8
    assert surprises[-1] > 100 > 2 > surprises[0]
    values, surprises, right, _ = descend(cross_entropy, rate=2)
    assert min(values) > 0
    assert surprises[-1] < 0.2
    assert right > 0.99


def test_m9_label_is_a_distribution():
    """With token ids as Label, renaming the tokens changes the loss from 3.8 to 182."""
    given, ids = torch.tensor([0.6, 0.7, 0.4]), torch.tensor([2, 0, 3])
    literally = -(ids * given.log()).sum()
    renamed = -((ids + 100) * given.log()).sum()
    assert abs(literally.item() - 3.77) < 5e-3
    assert abs(renamed.item() - 182.1) < 0.1
    # Token 0 costs nothing, however little the model expected it.
    assert -(ids * torch.tensor([0.6, 1e-9, 0.4]).log()).sum() == literally
    # A position has a row of probabilities, and Label is 1 at the true token.
    table = ((1 - given) / 4).unsqueeze(1).repeat(1, 5)
    table[range(3), ids] = given
    one_hot = functional.one_hot(ids, 5)
    right = -(one_hot * table.log()).sum(dim=1).mean()
    assert abs(right.item() - 0.5946) < 5e-5
    assert gap(right, functional.nll_loss(table.log(), ids)) < ROUNDING
    assert gap(right, cross_entropy(table.log(), ids)) < ROUNDING
    order = torch.tensor([4, 2, 0, 1, 3])  # other names for the five tokens
    assert gap(right, cross_entropy(table[:, order].log(), order.argsort()[ids])) < (
        ROUNDING
    )


def gradient(loss, lead):
    """How strongly a loss corrects two logits of which the wrong one leads."""
    logits = torch.tensor([[lead, 0.0]], requires_grad=True)
    loss(logits, torch.tensor([1])).backward()
    return logits.grad.abs().max().item()


def test_m24_squared_error_on_classes():
    """At a confident mistake the squared error of probabilities has no gradient."""

    def squared(logits, labels):
        return mean_squared_error(
            logits.softmax(dim=-1), functional.one_hot(labels, 2).to(logits.dtype)
        )

    squares = [gradient(squared, lead) for lead in (4.0, 10.0, 20.0)]
    assert squares == pytest.approx([3.469e-2, 9.079e-5, 4.122e-9], rel=1e-3)
    surprises = [gradient(cross_entropy, lead) for lead in (4.0, 10.0, 20.0)]
    assert surprises == pytest.approx([0.982, 1, 1], abs=1e-3)
    # The factor p(1 - p) is what is missing at the ends.
    p = 1 / (1 + math.exp(4.0))
    assert squares[0] == pytest.approx(2 * p * (1 - p) ** 2)


def test_c12_accuracy_alone():
    """With 6% buyers a model that finds nobody has the accuracy of the best one."""

    def evaluate(logits):  # the article's, its shapes repaired
        _, predicted = torch.max(logits, 1)
        return 100 * (predicted == buys).sum().item() / len(buys)

    def two_columns(logit):
        return torch.stack([torch.zeros_like(logit), logit], dim=1)

    generator = torch.Generator().manual_seed(0)
    true_logit = -3.5 + 1.3 * torch.randn(20_000, generator=generator)
    chance = true_logit.sigmoid()
    buys = (torch.rand(20_000, generator=generator) < chance).long()
    never, best = two_columns(torch.full_like(chance, -9.0)), two_columns(true_logit)
    assert 0.04 < buys.double().mean() < 0.08
    # The best model there can be gains less than half a point on "never" ...
    assert abs(evaluate(best) - evaluate(never)) < 0.5
    assert evaluate(never) > 92
    # ... and weights that make the classes even lose it more than ten.
    even = two_columns(true_logit + math.log((buys == 0).sum() / buys.sum()))
    assert evaluate(even) < evaluate(never) - 10
    # Ranking and probabilities tell the three apart.
    areas = [roc_auc_score(buys, z[:, 1]) for z in (never, best, even)]
    assert areas[0] == 0.5
    assert areas[1] > 0.75
    assert areas[2] == pytest.approx(areas[1])
    first = chance.argsort(descending=True)[:2000]
    assert buys[first].double().mean() > 3 * buys.double().mean()
    surprise = [cross_entropy(z, buys).item() for z in (best, never, even)]
    assert surprise[0] < min(surprise[1:]) - 0.1

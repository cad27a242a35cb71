"""Proofs of the errata about optimisers: M11, M12, M13, M25 and M26."""

import itertools
import math

import pytest
import torch
from proofs import ROUNDING, gap
from torch import nn

from marketllm.losses import cross_entropy
from marketllm.optim import SGD, Adam

BETA1, BETA2 = 0.9, 0.999


def stepped(optimizer_of, gradients, start=0.0):
    """Give the places of one weight that is handed a list of gradients."""
    weight = torch.full((), start, requires_grad=True)
    optimizer, places = optimizer_of([weight]), [start]
    for gradient in gradients:
        weight.grad = torch.as_tensor(gradient)
        optimizer.step()
        places.append(weight.item())
    return places


def descend(optimizer_of, n_updates):
    """Give J = theta squared after each update, from theta = 1."""
    theta = torch.ones((), requires_grad=True)
    optimizer, losses = optimizer_of([theta]), [1.0]
    for _ in range(n_updates):
        optimizer.zero_grad()
        theta.square().backward()
        optimizer.step()
        losses.append(theta.square().item())
    return losses


def denominator(t):
    """What the article's formula divides the gradient by."""
    return 1 - BETA1**t - BETA2**t


def test_m11_adam_climbs_and_leaps():
    """The formula steps uphill for 32 updates, leaps, and the end hides it."""
    assert denominator(1) == pytest.approx(-0.899)
    assert all(denominator(t) < 0 for t in range(1, 33))
    assert all(denominator(t) > 0 for t in range(33, 6000))
    # In units of the plain gradient step; in the limit it is that step.
    times = {32: -353.6, 33: 635.2, 34: 177.6, 40: 40.9, 100: 10.5}
    for t, factor in times.items():
        assert 1 / denominator(t) == pytest.approx(factor, rel=1e-3)
    for factor, first in ((2, 693), (1.01, 4613)):
        found = next(t for t in range(33, 6000) if 1 / denominator(t) < factor)
        assert found == first
    assert 1 / denominator(30_000) == pytest.approx(1, abs=1e-9)

    theta, losses = 1.0, [1.0]
    for t in range(1, 61):
        theta -= 0.01 * 2 * theta / denominator(t)
        losses.append(theta**2)
    assert all(a < b for a, b in itertools.pairwise(losses[:36]))
    assert losses[32] == pytest.approx(1.46e8, rel=0.01)
    assert losses[33] == pytest.approx(2.0e10, rel=0.01)
    assert losses[34] == pytest.approx(1.3e11, rel=0.01)
    assert max(losses) == losses[35] == pytest.approx(1.67e11, rel=0.01)
    right = descend(lambda p: Adam(p, 0.01), 60)
    assert right[60] == pytest.approx(0.212, rel=0.01)
    assert losses[60] == pytest.approx(2.06e-9, rel=0.01)  # the last number is better
    assert all(a > b for a, b in itertools.pairwise(right))


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_m11_first_step_grows_with_the_gradient(size):
    """Adam's first step has the size alpha at any scale; the formula's does not."""
    formula = -0.01 * size / denominator(1)
    assert formula == pytest.approx(0.01112 * size, rel=1e-3)  # and upwards
    _, first = stepped(lambda p: Adam(p, 0.01), [size])
    assert first == pytest.approx(-0.01, rel=1e-4)


def test_m12_no_memory():
    """As written, the averages are read before they exist."""

    def step(theta, gradient):
        m = BETA1 * m + (1 - BETA1) * gradient
        return theta - 0.01 * m

    with pytest.raises(UnboundLocalError):
        step(1.0, 2.0)


def by_epoch(n_updates, updates_an_epoch, first_epoch=1, gradient=1.0, count=None):
    """Steps in units of the learning rate, corrected by the epoch (or a count)."""
    m = v = 0.0 * gradient
    for update in range(n_updates):
        m = BETA1 * m + (1 - BETA1) * gradient
        v = BETA2 * v + (1 - BETA2) * gradient**2
        t = first_epoch + update // updates_an_epoch if count is None else update + 1
        yield (m / (1 - BETA1**t)) / (v / (1 - BETA2**t)) ** 0.5


def test_m12_epoch_in_place_of_the_update():
    """A constant gradient: the steps swell to twice alpha and then fade away."""
    steps = list(by_epoch(1000, 200))
    shown = {1: 1.0, 2: 1.344, 3: 1.565, 12: 2.077, 200: 0.743, 1000: 0.217}
    for update, share in shown.items():
        assert steps[update - 1] == pytest.approx(share, abs=1e-3)
    assert max(steps) == steps[11]
    right = list(by_epoch(1000, 200, count="updates"))
    assert right == pytest.approx([1.0] * 1000, rel=1e-9)
    places = stepped(lambda p: Adam(p, 1.0, eps=0.0), [1.0] * 1000)
    ours = [a - b for a, b in itertools.pairwise(places)]
    assert ours == pytest.approx(right, rel=1e-9)


def test_m12_epoch_0():
    """Counted from 0, the first epoch divides by zero: an error, or NaN."""
    with pytest.raises(ZeroDivisionError):
        next(by_epoch(1, 200, first_epoch=0))
    gradient = torch.tensor([1.0, -2.0])
    step = next(by_epoch(1, 200, first_epoch=0, gradient=gradient))
    assert not step.isfinite().any()
    zero = torch.zeros(2)  # and where the gradient is 0, Adam's step is 0
    assert next(by_epoch(1, 200, first_epoch=0, gradient=zero)).isnan().all()


def test_m13_gradient_descent_is_not_stochastic():
    """With the gradient of the whole objective nothing is left to chance."""
    inputs, labels = torch.randn(60, 4), torch.arange(60) % 3
    weight = torch.zeros(4, 3, requires_grad=True)

    def gradient(rows):
        loss = cross_entropy(inputs[rows] @ weight, labels[rows])
        return torch.autograd.grad(loss, weight)[0]

    whole = gradient(slice(None))
    assert torch.equal(whole, gradient(slice(None)))  # one gradient, no spread
    order = torch.randperm(60)
    batches = torch.stack([gradient(rows) for rows in order.split(10)])
    # What makes it stochastic: each batch errs, and their mean does not.
    assert all(gap(batch, whole) > 0.01 for batch in batches)
    assert gap(batches.mean(dim=0), whole) < ROUNDING
    weight.grad = batches[0].clone()
    SGD([weight], 0.5).step()
    assert gap(weight.detach(), -0.5 * batches[0]) < ROUNDING


def test_m13_a_list_of_weights():
    """The one-line function fails on what a model's parameters are: several."""
    model = nn.Linear(3, 2)
    model(torch.randn(5, 3)).square().sum().backward()
    weights = list(model.parameters())
    gradients = [weight.grad for weight in weights]
    with pytest.raises(TypeError, match="can't multiply sequence"):
        weights - 0.1 * gradients
    expected = [w.detach() - 0.1 * w.grad for w in weights]
    SGD(weights, 0.1).step()
    for weight, other in zip(weights, expected, strict=True):
        assert gap(weight.detach(), other) < ROUNDING


def last_place(optimizer_of, gradients, n_updates):
    """Run a cycle of gradients on -1 to 1, steps falling with the root of t."""
    place = torch.zeros((), requires_grad=True)
    optimizer = optimizer_of([place])
    alpha = optimizer.param_groups[0]["lr"]
    for t, gradient in zip(range(1, n_updates + 1), itertools.cycle(gradients)):
        optimizer.param_groups[0]["lr"] = alpha / math.sqrt(t)
        place.grad = torch.tensor(gradient)
        optimizer.step()
        place.data.clamp_(-1, 1)
    return place.item()


def test_m25_adam_ends_at_the_worst_point():
    """The gradients 4, -1, -1 sum to 2 over a cycle: the best point is -1."""
    cycle, betas = (4.0, -1.0, -1.0), (0.0, 1 / 17)
    adam = last_place(lambda p: Adam(p, 0.1, betas), cycle, 3000)
    amsgrad = last_place(
        lambda p: torch.optim.Adam(p, lr=0.1, betas=betas, amsgrad=True), cycle, 3000
    )
    assert adam == 1
    assert last_place(lambda p: SGD(p, 0.1), cycle, 3000) < -0.99
    assert amsgrad < -0.99
    # The honest half: with the usual beta2 Adam gets there too.
    usual = last_place(lambda p: Adam(p, 0.1, (0.0, 0.999)), cycle, 3000)
    assert usual < -0.99


def test_m26_backward_moves_nothing():
    """After backward() there are gradients; the weights move in step()."""
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    before = [w.detach().clone() for w in model.parameters()]
    optimizer = SGD(model.parameters(), 0.1)
    cross_entropy(model(torch.randn(20, 3)), torch.arange(20) % 2).backward()

    def moved():
        after = list(model.parameters())
        return max(gap(a.detach(), b) for a, b in zip(after, before, strict=True))

    assert max(w.grad.abs().max() for w in model.parameters()) > 0.01
    assert moved() == 0.0
    optimizer.step()
    assert moved() > 1e-3

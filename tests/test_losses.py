"""Cross-entropy against PyTorch, by hand, and its refusals."""

import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_twins import DTYPES, FORWARD, GRADIENT, assert_same

from marketllm.losses import classification_loss, cross_entropy

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
B, T, V = 3, 5, 11
TARGETS = torch.arange(B * T).reshape(B, T) % V  # some of them 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ignore_id", [None, 0, -100])
def test_cross_entropy_equals_torch(dtype, ignore_id):
    targets = TARGETS.clone()
    if ignore_id == -100:
        targets[1, 2:] = -100
    ours = torch.randn(B, T, V, dtype=dtype, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    loss = cross_entropy(ours, targets, ignore_id)
    other = {} if ignore_id is None else {"ignore_index": ignore_id}
    twin = F.cross_entropy(theirs.transpose(1, 2), targets, **other)
    assert_same(loss, twin, FORWARD[dtype], "loss")
    loss.backward()
    twin.backward()
    assert_same(ours.grad, theirs.grad, GRADIENT[dtype], "gradient")


def test_worked_example():
    # Probabilities 1/2, 1/4, 1/4: surprises ln 2 and ln 4, mean 1.5 ln 2.
    row = torch.tensor([2.0, 1.0, 1.0]).log()
    logits = torch.stack([row, row])
    loss = cross_entropy(logits, torch.tensor([0, 2]))
    assert loss.item() == pytest.approx(1.5 * math.log(2), rel=1e-6)


def test_knowing_nothing_costs_ln_v():
    loss = cross_entropy(torch.zeros(B, T, V), TARGETS)
    assert loss.item() == pytest.approx(math.log(V), rel=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_large_logits_stay_finite(size):
    logits = torch.tensor([[size, 0.0, -size]], requires_grad=True)
    right = cross_entropy(logits, torch.tensor([0]))
    wrong = cross_entropy(logits, torch.tensor([1]))
    assert right.item() == 0
    assert wrong.item() == pytest.approx(size)
    wrong.backward()
    assert logits.grad.tolist() == [[1.0, -1.0, 0.0]]


@PROPERTY
@given(st.floats(-50, 50), st.integers(0, 999))
def test_adding_a_constant_to_the_logits_changes_nothing(shift, seed):
    torch.manual_seed(seed)
    logits = torch.randn(B, T, V, dtype=torch.float64)
    assert_same(
        cross_entropy(logits + shift, TARGETS), cross_entropy(logits, TARGETS), 1e-10
    )


@PROPERTY
@given(st.integers(1, 6), st.integers(0, 999))
def test_padding_does_not_count(n_padding, seed):
    """A longer padded batch has the same loss, and no gradient at the padding."""
    torch.manual_seed(seed)
    targets = 1 + TARGETS % (V - 1)  # no real target is 0, the padding
    logits = torch.randn(B, T, V)
    longer = torch.cat([logits, torch.randn(B, n_padding, V)], dim=1).requires_grad_()
    padded = F.pad(targets, (0, n_padding), value=0)
    loss = cross_entropy(longer, padded, ignore_id=0)
    assert_same(loss, cross_entropy(logits, targets, ignore_id=0), 1e-6)
    loss.backward()
    assert longer.grad[:, :T].abs().max() > 1e-3
    assert (longer.grad[:, T:] == 0).all()


def test_classification_loss_is_cross_entropy_of_the_model():
    model = torch.nn.Embedding(7, 4)  # ids of shape (B, 1) to (B, 1, 4)
    flat = torch.nn.Sequential(model, torch.nn.Flatten())
    ids, labels = torch.tensor([[2], [5], [6]]), torch.tensor([3, 0, 1])
    expected = F.cross_entropy(model.weight[ids[:, 0]], labels)
    assert_same(classification_loss(flat, (ids, labels)), expected, 1e-6)


@pytest.mark.parametrize("bad", [-1, V, 99])
def test_a_target_out_of_range_is_refused(bad):
    targets = TARGETS.clone()
    targets[2, 1] = bad
    with pytest.raises(ValueError, match=f"target {bad} is no class.*from 0 to 10"):
        cross_entropy(torch.zeros(B, T, V), targets)


def test_every_target_ignored_is_refused():
    targets = torch.zeros(B, T, dtype=torch.long)
    message = r"none of the 15 targets counts \(ignore_id=0\).*give at least one"
    with pytest.raises(ValueError, match=message):
        cross_entropy(torch.zeros(B, T, V), targets, ignore_id=0)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="none of the 0 targets counts"):
        cross_entropy(torch.zeros(0, V), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize("shape", [(B, T + 1), (T, B), (B,)])
def test_shapes_that_do_not_fit_are_refused(shape, monkeypatch):
    # As a reader runs it: without the type checks of the tests.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    targets = torch.zeros(shape, dtype=torch.long)
    message = r"logits have shape \(3, 5, 11\) and targets .*: targets need one class"
    with pytest.raises(ValueError, match=message):
        cross_entropy(torch.zeros(B, T, V), targets)


def test_shapes_that_do_not_fit_are_refused_by_the_type_checks():
    """The tests run with shape checks on: see that they do."""
    with pytest.raises(jaxtyping.TypeCheckError, match="targets"):
        cross_entropy(torch.zeros(B, T, V), torch.zeros(B, T + 1, dtype=torch.long))

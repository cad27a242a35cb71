"""The losses against PyTorch, by hand, and their refusals."""

import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_twins import DTYPES, FORWARD, GRADIENT, assert_same

from marketllm.batches import IGNORE
from marketllm.losses import (
    classification_loss,
    cross_entropy,
    log_sum_exp,
    mean_squared_error,
    perplexity,
    token_loss,
)

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
B, T, V = 3, 5, 11
TARGETS = torch.arange(B * T).reshape(B, T) % V  # some of them 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ignore_id", [None, 0, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_equals_torch(dtype, ignore_id, smoothing):
    targets = TARGETS.clone()
    if ignore_id == -100:
        targets[1, 2:] = -100
    logits = torch.randn(B, T, V, dtype=dtype)
    compare_with_torch(logits, targets, ignore_id, smoothing)


def compare_with_torch(logits, targets, ignore_id=None, smoothing=0.0):
    """Compare loss and gradient; large losses to as many digits as small ones."""
    ours = logits.clone().requires_grad_()
    theirs = logits.clone().requires_grad_()
    loss = cross_entropy(ours, targets, ignore_id, smoothing)
    other = {} if ignore_id is None else {"ignore_index": ignore_id}
    twin = F.cross_entropy(
        theirs.transpose(1, -1), targets, label_smoothing=smoothing, **other
    )
    dtype, size = logits.dtype, max(1.0, twin.item())
    assert math.isfinite(loss.item())
    assert_same(loss, twin, FORWARD[dtype] * size, "loss")
    loss.backward()
    twin.backward()
    assert ours.grad.abs().max() > 1e-3
    assert_same(ours.grad, theirs.grad, GRADIENT[dtype], "gradient")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore_id", [None, -100])
def test_extreme_logits_equal_torch(dtype, smoothing, ignore_id):
    """Logits of 10,000 and -10,000: no logarithm of 0, no overflow."""
    sign = 1 - 2 * (torch.arange(B * T * V).reshape(B, T, V) % 2)
    logits = 1e4 * sign.to(dtype) + torch.randn(B, T, V, dtype=dtype)
    targets = TARGETS.clone()
    if ignore_id is not None:
        targets[0, :2] = ignore_id
    compare_with_torch(logits, targets, ignore_id, smoothing)


def test_large_logits_keep_their_differences():
    """Float32 has steps of 0.001 near 10,000: the loss must not be rounded to them."""
    logits = torch.tensor([[1e4, 1e4 - 1]])
    loss = cross_entropy(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-6)


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


def test_label_smoothing_worked_example():
    # Probabilities 1/2, 1/4, 1/4; 0.3 of the target is spread over three classes,
    # so the target is 0.8, 0.1, 0.1: (0.8 + 0.1 * 2 + 0.1 * 2) ln 2.
    logits = torch.tensor([[2.0, 1.0, 1.0]]).log()
    loss = cross_entropy(logits, torch.tensor([0]), label_smoothing=0.3)
    assert loss.item() == pytest.approx(1.2 * math.log(2), rel=1e-6)


def test_label_smoothing_is_least_at_the_smoothed_target():
    target = torch.tensor([0.1, 0.8, 0.1], dtype=torch.float64)
    logits = target.log().repeat(1, 1).requires_grad_()
    cross_entropy(logits, torch.tensor([1]), label_smoothing=0.3).backward()
    assert logits.grad.abs().max() < 1e-15
    cross_entropy(logits, torch.tensor([1])).backward()
    assert logits.grad.abs().max() > 0.1


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_an_impossible_share_is_refused(share):
    message = rf"label_smoothing is {share}: give a share, 0 <= label_smoothing < 1"
    with pytest.raises(ValueError, match=message):
        cross_entropy(torch.zeros(B, T, V), TARGETS, label_smoothing=share)


# The sum of exponentials --------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 1e4, -1e4])
def test_log_sum_exp_equals_torch(dtype, size):
    ours = (size + torch.randn(B, T, V, dtype=dtype)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    weights = torch.randn(B, T, dtype=dtype)
    total, twin = log_sum_exp(ours), theirs.logsumexp(dim=-1)
    assert_same(total, twin, FORWARD[dtype] * abs(size), "sum")
    (weights * total).sum().backward()
    (weights * twin).sum().backward()
    # Near 10,000 float32 has steps of 0.001, and both gradients feel them.
    tolerance = 1e-3 if (dtype, abs(size)) == (torch.float32, 1e4) else GRADIENT[dtype]
    assert_same(ours.grad, theirs.grad, tolerance, "gradient")
    # Independent of torch's: a gradient of 1 is shared out among the row.
    assert_same(ours.grad.sum(dim=-1), weights, 1e-5)


def test_log_sum_exp_worked_examples():
    rows = torch.tensor([[0.0, 0.0], [1e4, 1e4], [-1e4, -1e4], [1e4, -1e4]])
    half = math.log(2)
    expected = torch.tensor([half, 1e4 + half, -1e4 + half, 1e4])
    assert_same(log_sum_exp(rows), expected, 1e-3)
    assert rows.exp().sum(dim=-1).log().tolist()[1:] == [math.inf, -math.inf, math.inf]


def test_log_sum_exp_with_minus_infinity_equals_torch():
    low = -math.inf
    rows = torch.tensor([[0.0, low], [low, 2.0]], requires_grad=True)
    total = log_sum_exp(rows)
    assert total.tolist() == rows.logsumexp(dim=-1).tolist() == [0, 2]
    total.sum().backward()
    assert rows.grad.tolist() == [[1, 0], [0, 1]]
    nothing = torch.full((1, 3), low)
    assert log_sum_exp(nothing).tolist() == nothing.logsumexp(dim=-1).tolist() == [low]
    too_much = torch.tensor([[math.inf, 1.0]])
    assert log_sum_exp(too_much).tolist() == [math.inf]


def test_a_class_that_is_ruled_out_costs_nothing_if_it_is_not_the_true_one():
    logits = torch.tensor([[0.0, 0.0, -math.inf]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert logits.grad.tolist() == [[0.5, -0.5, 0.0]]


# Squared error and perplexity ---------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_squared_error_equals_torch(dtype):
    ours = torch.randn(B, T, dtype=dtype, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    targets = torch.randn(B, T, dtype=dtype)
    loss, twin = mean_squared_error(ours, targets), F.mse_loss(theirs, targets)
    assert_same(loss, twin, FORWARD[dtype], "loss")
    loss.backward()
    twin.backward()
    assert_same(ours.grad, theirs.grad, GRADIENT[dtype], "gradient")


def test_mean_squared_error_worked_example():
    # Differences 1, 0 and -3: (1 + 0 + 9) / 3.
    loss = mean_squared_error(
        torch.tensor([2.0, 5.0, 1.0]), torch.tensor([1.0, 5.0, 4.0])
    )
    assert loss.item() == pytest.approx(10 / 3)


def test_a_column_against_a_row_is_refused(monkeypatch):
    """PyTorch would compare all 16 pairs of 4 predictions and 4 targets."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    message = r"predictions have shape \(4, 1\) and targets \(4,\): give one target"
    with pytest.raises(ValueError, match=message):
        mean_squared_error(torch.zeros(4, 1), torch.zeros(4))


def test_no_predictions_are_refused():
    with pytest.raises(ValueError, match="there are 0 predictions.*at least one"):
        mean_squared_error(torch.zeros(0), torch.zeros(0))


def test_perplexity_counts_equal_choices():
    surprise = cross_entropy(torch.zeros(B, T, V), TARGETS).item()
    assert perplexity(surprise) == pytest.approx(V, rel=1e-6)
    assert perplexity(0.0) == 1
    assert perplexity(1.5 * math.log(2)) == pytest.approx(2**1.5)
    assert perplexity(1e4) == math.inf


def test_a_surprise_below_0_is_refused():
    message = r"surprise is -2\.0 nats.*give an average of -log\(probability\)"
    with pytest.raises(ValueError, match=message):
        perplexity(-2.0)


# Losses of a model on a batch ----------------------------------------------------


def test_token_loss_leaves_out_what_is_not_asked():
    model = torch.nn.Embedding(7, V)  # ids of shape (B, T) to (B, T, V)
    ids = torch.tensor([[2, 5, 6], [1, 0, 3]])
    targets = torch.tensor([[5, IGNORE, 10], [IGNORE, 0, IGNORE]])
    asked = torch.tensor([2, 6, 0])
    expected = F.cross_entropy(model.weight[asked], torch.tensor([5, 10, 0]))
    assert_same(token_loss(model, (ids, targets)), expected, 1e-6)


def test_token_loss_of_a_batch_that_asks_nothing_is_refused():
    model, ids = torch.nn.Embedding(7, V), torch.ones(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"none of the 6 targets.*ignore_id=-100"):
        token_loss(model, (ids, torch.full((2, 3), IGNORE)))


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


def test_targets_of_another_type(monkeypatch):
    logits, targets = torch.randn(B, T, V), TARGETS.int()
    assert torch.equal(cross_entropy(logits, targets), cross_entropy(logits, TARGETS))
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="targets have type torch.float32: a class is"):
        cross_entropy(logits, TARGETS.float())


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

"""Optimisers against PyTorch's and by hand, the schedule, clipping, refusals."""

import copy
import math
from itertools import pairwise

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_twins import DTYPES, assert_same

from marketllm.optim import SGD, Adam, AdamW, clip_gradient_norm, warmup_cosine

PROPERTY = settings(max_examples=50, deadline=None, derandomize=True)
N_STEPS = 100
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
SHAPES = ((5, 3), (3,), (7,), (2, 4))  # the third weight never gets a gradient

# Ours and PyTorch's, with other settings for a second group.
PAIRS = {
    "SGD": (
        lambda p: SGD(p, 0.05),
        lambda p: torch.optim.SGD(p, lr=0.05),
        {"lr": 0.1},
    ),
    "SGD with momentum": (
        lambda p: SGD(p, 0.02, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
        {"lr": 0.01, "momentum": 0.5},
    ),
    "Adam": (
        lambda p: Adam(p, 0.03),
        lambda p: torch.optim.Adam(p, lr=0.03),
        {"lr": 0.01, "betas": (0.8, 0.95)},
    ),
    "Adam with a large eps": (
        lambda p: Adam(p, 0.03, (0.5, 0.9), 0.1),
        lambda p: torch.optim.Adam(p, lr=0.03, betas=(0.5, 0.9), eps=0.1),
        {"eps": 1e-3},
    ),
    "AdamW": (
        lambda p: AdamW(p, 0.03, weight_decay=0.2),
        lambda p: torch.optim.AdamW(p, lr=0.03, weight_decay=0.2),
        {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.0},
    ),
    "AdamW as it comes": (
        AdamW,
        torch.optim.AdamW,
        {"lr": 0.01},
    ),
}
STATE_NAMES = {"m": "exp_avg", "v": "exp_avg_sq", "velocity": "momentum_buffer"}


def fresh(dtype=torch.float64):
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in SHAPES]


def groups(weights, extra):
    return [{"params": weights[:2]}, {"params": weights[2:], **extra}]


def loss_of(weights, step):
    """A loss whose gradient changes with the step; weight 2 is not in it."""
    used = [weights[0], weights[1], weights[3]]
    return sum((w.sin() * (i + 2)).sum() + w.pow(2).sum() * (1 + step % 3) / 2
               for i, w in enumerate(used))  # fmt: skip


def train(weights, optimizer, steps, scheduler=None):
    for step in steps:
        optimizer.zero_grad()
        loss_of(weights, step).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("scheduled", [False, True], ids=["constant", "schedule"])
def test_100_steps_equal_torch(name, dtype, scheduled):
    make, make_twin, extra = PAIRS[name]
    ours = fresh(dtype)
    theirs = [w.detach().clone().requires_grad_() for w in ours]
    start = [w.detach().clone() for w in ours]
    optimizer, twin = make(groups(ours, extra)), make_twin(groups(theirs, extra))
    schedulers = [None, None]
    if scheduled:
        share = lambda s: warmup_cosine(s, N_STEPS, 10, 0.1)  # noqa: E731
        schedulers = [
            torch.optim.lr_scheduler.LambdaLR(o, share) for o in (optimizer, twin)
        ]
    train(ours, optimizer, range(N_STEPS), schedulers[0])
    train(theirs, twin, range(N_STEPS), schedulers[1])
    for i, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert_same(our, their, TOLERANCE[dtype], f"weight {i}")
        assert torch.equal(our, start[i]) == (i == 2)  # no gradient: not moved
    for our, their in zip(ours, theirs, strict=True):
        for key, other in STATE_NAMES.items():
            if key in optimizer.state[our]:
                value = optimizer.state[our][key]
                assert_same(value, twin.state[their][other], TOLERANCE[dtype], key)


@pytest.mark.parametrize("name", PAIRS)
def test_a_weight_without_gradient_has_no_state(name):
    make, _, extra = PAIRS[name]
    weights = fresh()
    optimizer = make(groups(weights, extra))
    assert not optimizer.state
    train(weights, optimizer, range(2))
    assert not optimizer.state[weights[2]]
    assert "m" in optimizer.state[weights[0]] or name.startswith("SGD")


def test_the_count_of_a_weight_is_its_own():
    """A weight that is left out for a while is corrected for its own steps."""
    ours, theirs = ([torch.ones(2, requires_grad=True) for _ in "ab"] for _ in "12")
    optimizer, twin = Adam(ours, 0.1), torch.optim.Adam(theirs, lr=0.1)
    for step in range(6):
        for weights, method in ((ours, optimizer), (theirs, twin)):
            method.zero_grad()
            used = weights if step >= 4 else weights[:1]
            sum(w.pow(3).sum() for w in used).backward()
            method.step()
    assert [optimizer.state[w]["t"] for w in ours] == [6, 2]
    for our, their in zip(ours, theirs, strict=True):
        assert_same(our, their, 1e-6)


def test_three_adam_steps_by_hand():
    """The five lines in plain Python: J = theta squared, gradient 2 theta."""
    alpha, beta1, beta2, eps = 0.1, 0.9, 0.999, 1e-8
    theta, m, v, path = 1.0, 0.0, 0.0, []
    for t in (1, 2, 3):
        g = 2 * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta -= alpha * m_hat / (math.sqrt(v_hat) + eps)
        path.append(theta)
    # The first step has the size alpha, whatever the gradient.
    assert path[0] == pytest.approx(0.9, abs=1e-8)
    # m_hat = (0.9 * 2 + 1.8) / 1.9, v_hat = (0.999 * 4 + 3.24) / 1.999
    second = 0.9 - 0.1 * (3.6 / 1.9) / math.sqrt(7.236 / 1.999)
    assert path[1] == pytest.approx(second, abs=1e-7)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = Adam([weight], alpha)
    for expected in path:
        optimizer.zero_grad()
        weight.pow(2).backward()
        optimizer.step()
        assert weight.item() == pytest.approx(expected, rel=0, abs=1e-15)


def test_three_momentum_steps_by_hand():
    weight = torch.zeros((), requires_grad=True)
    optimizer = SGD([weight], 0.5, momentum=0.5)
    for expected in (-0.5, -1.25, -2.125):  # velocities 1, 1.5, 1.75
        weight.grad = torch.ones(())
        optimizer.step()
        assert weight.item() == expected


@PROPERTY
@given(st.floats(1e-6, 1e6), st.integers(1, 300), st.booleans())
def test_a_constant_gradient_moves_adam_by_alpha_each_step(size, n_steps, downhill):
    gradient = torch.tensor(size if downhill else -size, dtype=torch.float64)
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = Adam([weight], 0.25, eps=0.0)
    for _ in range(n_steps):
        weight.grad = gradient
        optimizer.step()
    moved = -0.25 * n_steps if downhill else 0.25 * n_steps
    assert weight.item() == pytest.approx(moved, rel=1e-9)


def test_weight_decay_is_apart_from_the_gradient():
    """Decay alone shrinks by 1 - alpha lambda; the averages do not see it."""
    weight = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
    optimizer = AdamW([weight], 0.1, weight_decay=0.5)
    weight.grad = torch.zeros(3, dtype=torch.float64)
    optimizer.step()
    assert weight.tolist() == pytest.approx([1.9] * 3, rel=1e-15)
    assert optimizer.state[weight]["m"].tolist() == [0.0] * 3


@pytest.mark.parametrize("name", PAIRS)
def test_a_saved_state_goes_on_exactly(name, tmp_path):
    make, _, extra = PAIRS[name]
    weights = fresh(torch.float32)
    optimizer = make(groups(weights, extra))
    train(weights, optimizer, range(7))
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    others = [w.detach().clone().requires_grad_() for w in weights]
    other = make(groups(others, {}))
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(weights, optimizer, range(7, 14))
    train(others, other, range(7, 14))
    for our, again in zip(weights, others, strict=True):
        assert torch.equal(our, again)
        assert optimizer.state[our].keys() == other.state[again].keys()


@pytest.mark.parametrize("name", PAIRS)
def test_a_state_is_tensors_and_plain_numbers(name):
    make, _, extra = PAIRS[name]
    weights = fresh()
    optimizer = make(groups(weights, extra))
    train(weights, optimizer, range(3))
    for state in optimizer.state_dict()["state"].values():
        for value in state.values():
            assert isinstance(value, int | torch.Tensor)


def test_a_step_leaves_gradients_and_graph_alone():
    weights = fresh()
    optimizer = AdamW(weights)
    loss_of(weights, 0).backward()
    before = [copy.deepcopy(w.grad) for w in weights]
    optimizer.step()
    for weight, gradient in zip(weights, before, strict=True):
        assert weight.requires_grad
        assert weight.is_leaf
        assert weight.grad is None or torch.equal(weight.grad, gradient)


# Clipping -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e3, math.inf])
def test_clipping_equals_torch(dtype, max_norm):
    ours = fresh(dtype)
    loss_of(ours, 1).backward()
    theirs = copy.deepcopy(ours)
    for our, their in zip(ours, theirs, strict=True):
        their.grad = copy.deepcopy(our.grad)
    before = [copy.deepcopy(w.grad) for w in ours]
    norm = clip_gradient_norm(iter(ours), max_norm)
    twin = nn.utils.clip_grad_norm_(theirs, max_norm)
    assert_same(norm, twin, 1e-12)
    for our, their, old in zip(ours, theirs, before, strict=True):
        if old is not None:
            assert_same(our.grad, their.grad, 1e-12)
            assert torch.equal(our.grad, old) == (max_norm > norm)


def test_clipping_a_triangle():
    # Two gradients of lengths 3 and 4: together 5, clipped to 1 they are 0.6 and 0.8.
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([-4.0])
    assert clip_gradient_norm(weights, 1.0).item() == 5
    assert weights[0].grad.item() == pytest.approx(0.6, rel=1e-5)
    assert weights[1].grad.item() == pytest.approx(-0.8, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clipping_tells_of_a_broken_gradient_as_torch_does(bad):
    ours, theirs = (
        [torch.zeros(2, requires_grad=True), torch.zeros(3, requires_grad=True)]
        for _ in range(2)
    )
    for weights in (ours, theirs):
        weights[0].grad = torch.tensor([1.0, bad])
        weights[1].grad = torch.ones(3)
    norm = clip_gradient_norm(ours, 1.0)
    twin = nn.utils.clip_grad_norm_(theirs, 1.0)
    assert not math.isfinite(norm.item())
    assert torch.equal(norm.isnan(), twin.isnan())
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our.grad, their.grad, equal_nan=True)


def test_clipping_without_gradients_gives_0_as_torch_does():
    weights = [torch.zeros(2, requires_grad=True)]
    assert clip_gradient_norm(weights, 1.0) == 0
    assert nn.utils.clip_grad_norm_(weights, 1.0) == 0


# The schedule ---------------------------------------------------------------


def test_the_schedule_at_points_by_hand():
    # 4 updates of warm-up, the peak at update 4, then 8 to the floor of 0.2.
    shares = [warmup_cosine(step, 12, 4, 0.2) for step in range(13)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[6] == pytest.approx(0.6 + 0.4 * math.cos(math.pi / 4))
    assert shares[8] == pytest.approx(0.6)  # half way
    assert shares[10] == pytest.approx(0.6 - 0.4 * math.cos(math.pi / 4))
    assert shares[12] == pytest.approx(0.2)


def test_no_warm_up_starts_at_the_peak_and_ends_at_0():
    assert warmup_cosine(0, 10) == 1
    assert warmup_cosine(5, 10) == pytest.approx(0.5)
    assert warmup_cosine(10, 10) == 0


@pytest.mark.parametrize(("n_steps", "n_warmup", "floor"), [(30, 6, 0.1), (9, 0, 0.0)])
def test_the_schedule_equals_those_of_torch(n_steps, n_warmup, floor):
    schedulers = torch.optim.lr_scheduler
    weight = torch.zeros(1, requires_grad=True)
    optimizer = SGD([weight], 0.5)
    up = schedulers.LinearLR(
        optimizer, start_factor=1 / (n_warmup + 1), total_iters=max(n_warmup, 1)
    )
    down = schedulers.CosineAnnealingLR(
        optimizer, T_max=n_steps - n_warmup, eta_min=0.5 * floor
    )
    both = schedulers.SequentialLR(optimizer, [up, down], milestones=[n_warmup])
    if not n_warmup:
        both = down
    for step in range(n_steps):
        expected = 0.5 * warmup_cosine(step, n_steps, n_warmup, floor)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        both.step()


@PROPERTY
@given(st.integers(1, 200), st.integers(0, 199), st.floats(0, 1))
def test_the_schedule_rises_to_1_and_falls_to_the_floor(n_steps, n_warmup, floor):
    n_warmup = n_warmup % n_steps
    shares = [warmup_cosine(s, n_steps, n_warmup, floor) for s in range(n_steps + 1)]
    assert shares[n_warmup] == pytest.approx(1)
    assert shares[-1] == pytest.approx(floor, abs=1e-12)
    assert all(0 < share <= 1 + 1e-12 for share in shares[:-1])
    assert all(a < b for a, b in pairwise(shares[: n_warmup + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(shares[n_warmup:]))


# Refusals -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, 0.0), "learning_rate is 0.0: give a finite number above 0"),
        (lambda p: Adam(p, -0.1), "learning_rate is -0.1: give a finite number"),
        (lambda p: AdamW(p, math.nan), "learning_rate is nan: give a finite number"),
        (lambda p: SGD(p, math.inf), "learning_rate is inf: give a finite number"),
        (lambda p: SGD(p, 0.1, 1.0), "momentum is 1.0: give 0 <= momentum < 1"),
        (lambda p: SGD(p, 0.1, -0.5), "momentum is -0.5: give 0 <= momentum < 1"),
        (lambda p: Adam(p, betas=(1.0, 0.9)), "beta1 is 1.0: give 0 <= beta1 < 1"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), "beta2 is 1.0: give 0 <= beta2 < 1"),
        (lambda p: AdamW(p, betas=(0.9, -0.1)), "beta2 is -0.1: give 0 <= beta2 < 1"),
        (lambda p: Adam(p, eps=-1e-8), "eps is -1e-08: give 0 or more"),
        (lambda p: AdamW(p, weight_decay=-0.1), "weight_decay is -0.1: give 0 or more"),
        (
            lambda p: Adam([{"params": p, "lr": -3.0}]),
            "learning_rate is -3.0: give a finite number",
        ),
        (
            lambda p: Adam([{"params": p, "learning_rate": 0.1}]),
            r"a group calls it lr \(now 0.001\), not learning_rate",
        ),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make([torch.zeros(2, requires_grad=True)])


@pytest.mark.parametrize(
    "use",
    [
        lambda p: SGD(p, 0.1),
        Adam,
        AdamW,
        lambda p: clip_gradient_norm(p, 1.0),
    ],
    ids=["SGD", "Adam", "AdamW", "clip"],
)
def test_nothing_to_train_is_refused(use):
    message = r"no parameters \(0\): give at least 1"
    with pytest.raises(ValueError, match=message):
        use([])
    used_up = iter(nn.Linear(2, 3).parameters())
    list(used_up)
    with pytest.raises(ValueError, match=message):
        use(used_up)


def test_one_tensor_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    weight = torch.zeros(4, requires_grad=True)
    for use in (Adam, lambda p: clip_gradient_norm(p, 1.0)):
        with pytest.raises(ValueError, match="parameters is 1 tensor: put it into"):
            use(weight)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_clip_to_nothing_is_refused(max_norm):
    weight = torch.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match=f"max_norm is {max_norm}: give a number"):
        clip_gradient_norm([weight], max_norm)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0, 10, 10), "n_warmup=10 is not shorter than n_steps=10: lower it"),
        ((0, 10, 11), "n_warmup=11 is not shorter than n_steps=10: lower it"),
        ((0, 10, -1), "n_warmup=-1 is not shorter"),
        ((0, 0, 0), "n_warmup=0 is not shorter than n_steps=0"),
        ((11, 10, 2), "step 11 is outside 0 to 10: n_steps must be the whole run"),
        ((-1, 10, 2), "step -1 is outside 0 to 10"),
        ((0, 10, 2, 1.5), "floor is 1.5, but it is a share: give 0 to 1"),
        ((0, 10, 2, -0.1), "floor is -0.1, but it is a share: give 0 to 1"),
    ],
)
def test_an_impossible_schedule_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        warmup_cosine(*settings)

"""The training loop: what it does, what it keeps, and when it stops."""

import copy
import math
import re
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from torch_twins import assert_same

from marketllm.batches import IGNORE, LabelledBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.losses import classification_loss, token_loss
from marketllm.models import GPT, Classifier
from marketllm.optim import warmup_cosine
from marketllm.training import (
    TrainingDivergedError,
    fit,
    mean_loss,
    predict_probabilities,
)

D, N = 3, 4
NAN = float("nan")


def square_loss(model, batch):
    x, y = batch
    return (model(x).squeeze(-1) - y).pow(2).mean()


def regression(n_batches=N, size=6):
    generator = torch.Generator().manual_seed(7)
    truth = torch.tensor([2.0, -1.0, 0.5])
    batches = []
    for _ in range(n_batches):
        x = torch.randn(size, D, generator=generator)
        batches.append((x, x @ truth + 0.3))
    return batches


def spoiled(step, value=NAN):
    """The batches of ``regression`` with a bad number in one of them."""
    batches = regression()
    batches[step - 1][0][2, 1] = value
    return batches


class Recorder:
    """A loss that notes the weights it was asked about, and the mode."""

    def __init__(self, loss=square_loss):
        self.loss, self.weights, self.modes = loss, [], []

    def __call__(self, model, batch):
        self.weights.append(copy.deepcopy(model.state_dict()))
        self.modes.append(model.training)
        return self.loss(model, batch)


def assert_weights(model, expected):
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, weight in state.items():
        assert weight.isfinite().all(), name
        assert torch.equal(weight, expected[name]), name


# What it does ---------------------------------------------------------------


def test_fit_takes_the_steps_of_adamw_by_hand():
    """A loop written out with torch's optimiser arrives at the same weights."""
    model = nn.Linear(D, 1)
    twin = copy.deepcopy(model)
    config = TrainingConfig(3, learning_rate=0.05, weight_decay=0.1, max_grad_norm=0.7)
    history = fit(model, regression(), square_loss, config, progress=False)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.05, weight_decay=0.1)
    losses, norms = [], []
    for _ in range(3):
        for batch in regression():
            optimizer.zero_grad()
            loss = square_loss(twin, batch)
            loss.backward()
            norms.append(nn.utils.clip_grad_norm_(twin.parameters(), 0.7).item())
            optimizer.step()
            losses.append(loss.item())
    assert max(norms) > 0.7  # the clipping did something
    assert_same(model.weight, twin.weight, 1e-6)
    assert history.step_losses == pytest.approx(losses, rel=1e-5)


def test_history_is_a_table():
    model, batches = nn.Linear(D, 1), regression()
    config = TrainingConfig(n_epochs=3, learning_rate=0.05)
    history = fit(model, batches, square_loss, config, batches, progress=False)
    table = history.to_frame()
    assert list(table.index) == [1, 2, 3]
    assert list(table.columns) == ["train_loss", "validation_loss", "seconds"]
    assert len(history.step_losses) == 3 * N
    for epoch in (1, 2, 3):
        steps = history.step_losses[(epoch - 1) * N : epoch * N]
        assert table.train_loss[epoch] == pytest.approx(sum(steps) / N)
    assert (table.seconds > 0).all()


def test_planted_truth_is_found():
    model = nn.Linear(D, 1)
    config = TrainingConfig(n_epochs=200, learning_rate=0.05, weight_decay=0.0)
    fit(model, regression(), square_loss, config, progress=False)
    assert model.weight[0].tolist() == pytest.approx([2.0, -1.0, 0.5], abs=0.02)
    assert model.bias.item() == pytest.approx(0.3, abs=0.02)


def test_the_best_epoch_is_kept_and_not_the_last():
    """The validation wants the start of the way; training walks on."""
    model = nn.Linear(D, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x = torch.eye(D)
    train = [(x, torch.full((D,), 10.0))]
    held_out = [(x, torch.full((D,), 0.4))]
    recorder = Recorder()
    config = TrainingConfig(n_epochs=9, learning_rate=0.1, weight_decay=0.0)
    history = fit(model, train, recorder, config, held_out, progress=False)
    losses = [row["validation_loss"] for row in history.epochs]
    best = losses.index(min(losses))
    assert 0 < best < 8  # neither the first nor the last
    assert history.best_epoch == best + 1
    # Calls alternate: training, validation, training, ...
    assert_weights(model, recorder.weights[2 * best + 1])
    assert mean_loss(model, held_out, square_loss) == pytest.approx(min(losses))


def test_training_is_in_training_mode_and_validation_is_not():
    recorder = Recorder()
    batches = regression(2)
    fit(nn.Linear(D, 1), batches, recorder, TrainingConfig(2), batches, progress=False)
    assert recorder.modes == [True, True, False, False] * 2


def test_same_seed_same_weights():
    def run(seed):
        torch.manual_seed(seed)
        config = ModelConfig(vocab_size=11, max_len=7, d_model=12, n_heads=3, d_ff=20)
        model = Classifier(config, 2)
        rows = [[3, 4], [5, 6, 7], [8], [9, 10, 2]]
        batches = LabelledBatches(rows, [0, 1, 0, 1], 2, seed=3)
        fit(model, batches, classification_loss, TrainingConfig(2), progress=False)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(run(5), run(5))
    assert not torch.equal(run(5), run(6))


# Accumulated gradients, schedules, frozen weights ----------------------------


def cut(batch, sizes):
    return list(zip(*(part.split(sizes) for part in batch), strict=True))


@pytest.mark.parametrize("sizes", [[2, 2, 2], [1, 4, 1], [3, 2, 1]])
def test_an_accumulated_update_is_that_of_the_one_big_batch(sizes):
    """Also with parts of different size, and with clipping."""
    model = nn.Linear(D, 1).double()
    twin = copy.deepcopy(model)
    whole = [(x.double(), y.double()) for x, y in regression()]
    parts = [part for batch in whole for part in cut(batch, sizes)]
    settings = {"learning_rate": 0.05, "max_grad_norm": 0.7}
    config = TrainingConfig(3, **settings, accumulate=3)
    found = fit(model, parts, square_loss, config, progress=False)
    expected = fit(
        twin, whole, square_loss, TrainingConfig(3, **settings), progress=False
    )
    assert_same(model.weight, twin.weight, 1e-12)
    assert len(found.step_losses) == 3 * N
    assert found.step_losses == pytest.approx(expected.step_losses, rel=1e-12)
    assert [row["train_loss"] for row in found.epochs] == pytest.approx(
        [row["train_loss"] for row in expected.epochs], rel=1e-12
    )


def test_targets_weigh_and_not_batches_or_rows():
    """Four targets in one part and one in the other, on rows of equal number."""
    config = ModelConfig(
        vocab_size=11, max_len=7, d_model=12, n_heads=3, d_ff=20, dropout=0.0
    )
    ids = torch.randint(1, 11, (4, 5))
    targets = torch.full((4, 5), IGNORE)
    targets[:2, :2] = torch.tensor([[3, 4], [5, 6]])
    targets[3, 4] = 7
    whole = (ids, targets)

    def gradient(batches, accumulate):
        torch.manual_seed(0)
        model = GPT(config).double()
        seen = []
        hook = model.body.embedding.tokens.weight.register_post_accumulate_grad_hook(
            lambda weight: seen.append(weight.grad.clone())
        )
        settings = TrainingConfig(1, max_grad_norm=1e9, accumulate=accumulate)
        fit(model, batches, token_loss, settings, progress=False)
        hook.remove()
        return seen[-1]

    expected = gradient([whole], 1)
    assert_same(gradient(cut(whole, [2, 2]), 2), expected, 1e-12)
    by_rows = sum(gradient([part], 1) for part in cut(whole, [2, 2])) / 2
    assert (by_rows - expected).abs().max() > 1e-3


def test_the_last_update_of_an_epoch_may_have_fewer_batches():
    """Five batches, two an update: 2, 2, 1, and the same in the next epoch."""
    model = nn.Linear(D, 1).double()
    twin = copy.deepcopy(model)
    parts = [(x.double(), y.double()) for x, y in regression(5, 2)]
    joined = [
        tuple(torch.cat(both) for both in zip(*parts[i : i + 2], strict=True))
        for i in (0, 2, 4)
    ]
    found = fit(
        model, parts, square_loss, TrainingConfig(2, accumulate=2), progress=False
    )
    expected = fit(twin, joined, square_loss, TrainingConfig(2), progress=False)
    assert len(found.step_losses) == 6
    assert found.step_losses == pytest.approx(expected.step_losses, rel=1e-12)
    assert_same(model.weight, twin.weight, 1e-12)


@pytest.mark.parametrize(
    ("schedule", "warmup_share", "floor"),
    [("cosine", 0.25, 0.1), ("cosine", 0.0, 0.1), ("constant", 0.25, 1.0)],
)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_learning_rates_follow_the_schedule(
    schedule, warmup_share, floor, accumulate, monkeypatch
):
    used, step = [], torch.optim.Optimizer.zero_grad
    monkeypatch.setattr(
        torch.optim.Optimizer,
        "zero_grad",  # called before each update: the rate of the one before
        lambda self: (used.append(self.param_groups[0]["lr"]), step(self))[1],
    )
    config = TrainingConfig(
        4, 0.02, schedule=schedule, warmup_share=warmup_share, accumulate=accumulate
    )
    history = fit(nn.Linear(D, 1), regression(), square_loss, config, progress=False)
    n = 4 * math.ceil(N / accumulate)
    n_warmup = n // 4 if warmup_share else 0
    expected = [0.02 * warmup_cosine(i, n, n_warmup, floor) for i in range(n)]
    assert history.learning_rates == pytest.approx(expected, rel=1e-12)
    assert used[1:] == pytest.approx(expected[:-1], rel=1e-12)
    assert max(history.learning_rates) == 0.02
    if schedule == "constant":
        assert history.learning_rates[n // 4 :] == [0.02] * (n - n // 4)
    else:
        assert 0.002 < history.learning_rates[-1] < 0.0045


def test_a_constant_rate_is_the_default_and_needs_no_number_of_batches():
    history = fit(
        nn.Linear(D, 1),
        (batch for batch in regression()),
        square_loss,
        TrainingConfig(1, 0.02),
        progress=False,
    )
    assert history.learning_rates == [0.02] * N


@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"warmup_share": 0.1}])
def test_a_schedule_needs_the_number_of_batches(changes):
    once = (batch for batch in regression())
    config = TrainingConfig(1, **changes)
    with pytest.raises(ValueError, match=r"batches have no len\(\): give a list"):
        fit(nn.Linear(D, 1), once, square_loss, config, progress=False)
    assert len(list(once)) == N  # none was used up


def test_a_stream_of_unknown_length_is_trained_on():
    """Its DataLoader has a len(), which raises."""

    class Stream(IterableDataset):
        def __iter__(self):
            yield from regression()

    model = nn.Linear(D, 1)
    batches = DataLoader(Stream(), batch_size=None)
    history = fit(model, batches, square_loss, TrainingConfig(2))
    assert len(history.step_losses) == 2 * N
    with pytest.raises(ValueError, match=r"batches have no len\(\): give a list"):
        fit(model, batches, square_loss, TrainingConfig(2, schedule="cosine"))


def test_beta2_reaches_the_optimiser():
    model = nn.Linear(D, 1)
    twin = copy.deepcopy(model)
    config = TrainingConfig(2, 0.05, weight_decay=0.1, max_grad_norm=1e9, beta2=0.5)
    fit(model, regression(), square_loss, config, progress=False)
    optimizer = torch.optim.AdamW(
        twin.parameters(), lr=0.05, weight_decay=0.1, betas=(0.9, 0.5)
    )
    for batch in regression() * 2:
        optimizer.zero_grad()
        square_loss(twin, batch).backward()
        optimizer.step()
    assert_same(model.weight, twin.weight, 1e-6)


def test_frozen_weights_stay_and_do_not_count_for_clipping():
    """Their gradient does not exist, nor does weight decay touch them."""
    model = nn.Sequential(nn.Linear(D, D), nn.Linear(D, 1))
    model[0].requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    config = TrainingConfig(2, 0.05, weight_decay=0.5)
    fit(model, regression(), square_loss, config, progress=False)
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[1].weight, before["1.weight"])
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="0 weights need a gradient"):
        fit(model, regression(), square_loss, config, progress=False)


# What is shown ---------------------------------------------------------------


def test_progress_goes_to_stderr_only_where_asked(capfd):
    fit(nn.Linear(D, 1), regression(), square_loss, TrainingConfig(1), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1" in err
    assert "loss=" in err
    assert "rows/s" in err  # numbers are no tokens
    assert f"{N}/{N} [00:" in err  # with time passed and left
    fit(nn.Linear(D, 1), regression(), square_loss, TrainingConfig(1), progress=False)
    fit(nn.Linear(D, 1), regression(), square_loss, TrainingConfig(1))  # no terminal
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        # A batch of two and a batch of one: (1 + 3 + 7) / 3, not (2 + 7) / 2.
        ([torch.tensor([1.0, 3.0]), torch.tensor([7.0])], 11 / 3),
        # The last tensor of a batch says how many targets count: 2 and 1.
        ([([1.0, 3.0], [4, 5]), ([7.0, 9.0], [IGNORE, 6])], (2 + 2 + 8) / 3),
        # A tensor of floats has no IGNORE, and other things weigh as one.
        ([([1.0, 3.0], [-100.0, 5.0]), ([7.0], [6.0])], 11 / 3),
        ([{"value": 2.0}, {"value": 7.0}], 4.5),
    ],
)
def test_mean_loss_worked_example(batches, expected):
    def loss(model, batch):
        if isinstance(batch, dict):
            return torch.tensor(batch["value"])
        return model(batch[0] if isinstance(batch, tuple) else batch).mean()

    model = nn.Dropout(0.9)  # in evaluation mode it does nothing
    if isinstance(batches[0], tuple):
        batches = [tuple(map(torch.tensor, batch)) for batch in batches]
    assert mean_loss(model, batches, loss) == pytest.approx(expected, rel=1e-12)
    assert not model.training


def test_mean_loss_is_the_same_for_every_cut_into_batches():
    """One sequence after another, or all in one batch: the same mean over targets."""
    config = ModelConfig(vocab_size=11, max_len=7, d_model=12, n_heads=3, d_ff=20)
    model = GPT(config)
    ids = torch.randint(1, 11, (6, 5))
    targets = torch.randint(1, 11, (6, 5))
    for row in range(6):
        targets[row, : row // 2] = IGNORE
    cuts = [[6], [4, 2], [1] * 6, [5, 1]]
    found = [
        mean_loss(
            model,
            list(zip(ids.split(cut), targets.split(cut), strict=True)),
            token_loss,
        )
        for cut in cuts
    ]
    assert found == pytest.approx([found[0]] * len(cuts), rel=1e-5)
    unweighted = sum(
        token_loss(model, (ids[i : i + 1], targets[i : i + 1])).item() for i in range(6)
    )
    assert abs(unweighted / 6 - found[0]) > 1e-3  # else the weights would not matter


def test_the_bar_counts_the_whole_run_and_its_tokens(capfd):
    config = ModelConfig(vocab_size=11, max_len=7, d_model=12, n_heads=3, d_ff=20)
    batches = LabelledBatches([[3, 4], [5, 6, 7], [8], [9, 10]], [0, 1, 0, 1], 2)
    settings = TrainingConfig(3, accumulate=2)
    fit(Classifier(config, 2), batches, classification_loss, settings, progress=True)
    err = capfd.readouterr().err
    last = [line for line in err.replace("\n", "\r").split("\r") if "6/6" in line][-1]
    assert "epoch 3" in last
    assert re.search(r"6/6 \[\d\d:\d\d<\d\d:\d\d", last)
    assert re.search(r"loss=\d\.\d{3}, [\d,]+ tokens/s", last)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_tensorboard_shows_the_history(tmp_path):
    batches = regression()
    config = TrainingConfig(2, 0.05, schedule="cosine")
    history = fit(
        nn.Linear(D, 1), batches, square_loss, config, batches, tensorboard=tmp_path
    )
    found = events(tmp_path)
    assert set(found) == {
        "loss/train",
        "loss/validation",
        "learning_rate",
        "gradient_norm",
    }

    def expected(values, steps):
        return [(s, pytest.approx(v)) for s, v in zip(steps, values, strict=True)]

    each = range(1, 2 * N + 1)
    assert found["loss/train"] == expected(history.step_losses, each)
    assert found["learning_rate"] == expected(history.learning_rates, each)
    validation = [row["validation_loss"] for row in history.epochs]
    assert found["loss/validation"] == expected(validation, [N, 2 * N])
    norms = dict(found["gradient_norm"])
    assert list(norms) == list(each)
    assert min(norms.values()) > 0


def test_tensorboard_forgets_what_a_stopped_run_noted_too_much(tmp_path):
    """It noted five updates; its file knows two, and the run goes on from there."""

    def stops(model, batch):
        if torch.equal(batch[1], batches[5][1]):
            raise KeyboardInterrupt
        return square_loss(model, batch)

    stops.__name__ = "square_loss"
    torch.manual_seed(0)
    batches, config = regression(6), TrainingConfig(1)
    more = {"tensorboard": tmp_path / "log", "checkpoint": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        fit(nn.Linear(D, 1), batches, stops, config, **more, checkpoint_every=4)
    assert [step for step, _ in events(tmp_path / "log")["loss/train"]] == [
        1,
        2,
        3,
        4,
        5,
    ]
    history = fit(nn.Linear(D, 1), batches, square_loss, config, **more)
    found = events(tmp_path / "log")["loss/train"]
    assert [step for step, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [v for _, v in found] == pytest.approx(history.step_losses)


def test_without_tensorboard_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    model = nn.Linear(D, 1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ImportError, match="pip install tensorboard, or leave"):
        fit(model, regression(), square_loss, TrainingConfig(1), tensorboard=tmp_path)
    assert_weights(model, before)


def test_predict_probabilities():
    scores = torch.tensor([[0.0, 0.0], [0.0, math.log(3)], [math.log(4), 0.0]])
    model = nn.Sequential(nn.Embedding.from_pretrained(scores), nn.Flatten())
    batches = [
        (torch.tensor([[2], [0]]), torch.tensor([1, 1])),
        (torch.tensor([[1]]), torch.tensor([0])),
    ]
    probabilities = predict_probabilities(model, batches)
    expected = [[0.8, 0.2], [0.5, 0.5], [0.25, 0.75]]
    assert probabilities == pytest.approx(torch.tensor(expected).numpy())
    assert not model.training


# When it stops --------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, N])
@pytest.mark.parametrize("value", [NAN, math.inf])
def test_nan_stops_training_and_the_last_good_weights_stay(step, value):
    model, recorder = nn.Linear(D, 1), Recorder()
    start = copy.deepcopy(model.state_dict())
    message = f"at epoch 1, step {step} .*last weights that were good.*learning rate"
    with pytest.raises(ValueError, match=message) as caught:
        fit(model, spoiled(step, value), recorder, TrainingConfig(2), progress=False)
    assert isinstance(caught.value, TrainingDivergedError)
    assert "now 0.001" in str(caught.value)
    assert len(recorder.weights) == step  # it stopped there
    # Weights of the last step whose loss and gradient were finite.
    assert_weights(model, recorder.weights[step - 2] if step > 1 else start)
    if step == N:
        assert not torch.equal(model.weight, start["weight"])


def test_nan_in_a_later_epoch_says_which():
    class Spoils:
        """Good in the first pass, bad at the second step of the second."""

        passes = 0

        def __iter__(self):
            self.passes += 1
            return iter(regression() if self.passes == 1 else spoiled(2))

    model, recorder = nn.Linear(D, 1), Recorder()
    with pytest.raises(TrainingDivergedError, match="at epoch 2, step 2 .*loss nan"):
        fit(model, Spoils(), recorder, TrainingConfig(3), progress=False)
    assert len(recorder.weights) == N + 2
    assert_weights(model, recorder.weights[N])


def test_an_infinite_gradient_of_a_finite_loss_stops_training():
    calls = []

    def loss(model, batch):
        calls.append(1)
        value = square_loss(model, batch)
        if len(calls) == 3:  # the root has slope infinity at 0, and value 0
            value = value + (model.bias - model.bias.detach()).sqrt().sum()
        return value

    model, recorder = nn.Linear(D, 1), Recorder(loss)
    with pytest.raises(TrainingDivergedError, match=r"epoch 1, step 3 .*gradient inf"):
        fit(model, regression(), recorder, TrainingConfig(1), progress=False)
    assert_weights(model, recorder.weights[1])


def test_nan_in_validation_stops_training():
    model, recorder = nn.Linear(D, 1), Recorder()
    config = TrainingConfig(2)
    message = "at the validation of epoch 1 .*loss nan"
    with pytest.raises(TrainingDivergedError, match=message):
        fit(model, regression(), recorder, config, spoiled(2), progress=False)
    assert_weights(model, recorder.weights[N - 1])


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_weights_that_overflow_at_the_last_step_are_not_kept(n_epochs):
    """No later loss would tell: -3.3e38 less 3e37 is beyond float32."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, -3.3e38)
    config = TrainingConfig(n_epochs, learning_rate=3e37, weight_decay=0.0)
    batches = [torch.ones(1, 1)]
    message = r"at the end of epoch 1 \(weights -inf\)"
    with pytest.raises(TrainingDivergedError, match=message):
        fit(model, batches, lambda m, x: m(x).sum(), config, progress=False)
    assert model.weight.item() == pytest.approx(-3.3e38)


@pytest.mark.parametrize("function", ["fit", "validation", "mean", "predict"])
def test_no_batches_are_refused(function):
    model, config = nn.Linear(D, 1), TrainingConfig(1)
    run = {
        "fit": lambda: fit(model, [], square_loss, config),
        "validation": lambda: fit(model, regression(), square_loss, config, []),
        "mean": lambda: mean_loss(model, [], square_loss),
        "predict": lambda: predict_probabilities(model, []),
    }[function]
    with pytest.raises(ValueError, match=r"there are no batches \(0\): give at least"):
        run()


@pytest.mark.parametrize("function", ["fit", "mean"])
def test_a_batch_in_which_nothing_counts_is_refused(function):
    batch = (torch.ones(2, 3), torch.full((2, 3), IGNORE))
    run = {
        "fit": lambda: fit(nn.Linear(D, 1), [batch], square_loss, TrainingConfig(1)),
        "mean": lambda: mean_loss(nn.Linear(D, 1), [batch], square_loss),
    }[function]
    message = r"no target that counts \(all 6 are -100\): leave it out"
    with pytest.raises(ValueError, match=message):
        run()


def test_batches_that_run_out_are_refused():
    """A generator is empty in the second epoch."""
    once = (batch for batch in regression())
    with pytest.raises(ValueError, match=r"there are no batches \(0\)"):
        fit(nn.Linear(D, 1), once, square_loss, TrainingConfig(2), progress=False)

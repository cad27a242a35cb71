"""The training loop: what it does, what it keeps, and when it stops."""

import copy
import math

import pytest
import torch
from torch import nn
from torch_twins import assert_same

from marketllm.batches import LabelledBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.losses import classification_loss
from marketllm.models import Classifier
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


def test_progress_goes_to_stderr_only_where_asked(capfd):
    fit(nn.Linear(D, 1), regression(), square_loss, TrainingConfig(1), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1" in err
    assert "loss=" in err
    fit(nn.Linear(D, 1), regression(), square_loss, TrainingConfig(1), progress=False)
    fit(nn.Linear(D, 1), regression(), square_loss, TrainingConfig(1))  # no terminal
    assert capfd.readouterr() == ("", "")


def test_mean_loss_worked_example():
    model = nn.Dropout(0.9)  # in evaluation mode it does nothing
    values = [torch.tensor([1.0, 3.0]), torch.tensor([7.0])]
    assert mean_loss(model, values, lambda model, x: model(x).mean()) == 4.5
    assert not model.training


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


def test_batches_that_run_out_are_refused():
    """A generator is empty in the second epoch."""
    once = (batch for batch in regression())
    with pytest.raises(ValueError, match=r"there are no batches \(0\)"):
        fit(nn.Linear(D, 1), once, square_loss, TrainingConfig(2), progress=False)

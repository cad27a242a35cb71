"""A run that was stopped goes on as if nothing had happened, bit for bit."""

import copy
import math
import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from marketllm.batches import LabelledBatches, MaskedBatches, NextTokenBatches
from marketllm.checkpoints import load_checkpoint, save_checkpoint
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.losses import classification_loss, token_loss
from marketllm.models import GPT, Classifier, MaskedLanguageModel
from marketllm.training import TrainingDivergedError, fit

V = 23
SIZES = {"vocab_size": V, "max_len": 12, "d_model": 8, "n_heads": 2, "d_ff": 12}
SIZES |= {"n_layers": 1}
# Every part that has something to remember: moments, schedule, dropout (0.1),
# an update of three batches, and one of fewer at the end of each epoch.
SETTINGS = TrainingConfig(
    3, 0.02, beta2=0.9, schedule="cosine", warmup_share=0.3, accumulate=3
)


class Stopped(BaseException):
    """Somebody pulled the plug."""


def stopping(loss, after):
    """Give a loss that stops the run at its call number ``after``, and counts."""

    def call(model, batch):
        if model.training:
            call.count += 1
            if call.count == after:
                raise Stopped
        return loss(model, batch)

    call.count, call.__name__ = 0, loss.__name__
    return call


def rows(n=21, longest=9):
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(2, longest, (n,), generator=generator).tolist()
    return [torch.randint(3, V, (k,), generator=generator).tolist() for k in lengths]


def square(model, batch):
    return (model(batch[0]).squeeze(-1) - batch[1]).pow(2).mean()


def numbers(size=3):
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(21, 4, generator=generator), torch.randn(21, generator=generator)
    return list(zip(x.split(size), y.split(size), strict=True))


def classifier():
    labels = [i % 2 for i in range(21)]
    return (
        Classifier(ModelConfig(**SIZES), 2),
        LabelledBatches(rows(), labels, 3, seed=5),
        classification_loss,
        LabelledBatches(rows()[:7], labels[:7], 3),
    )


def gpt():
    """Cut at other places each epoch; output and input share a table."""
    return (
        GPT(ModelConfig(**SIZES, positions="learned")),
        NextTokenBatches(rows(), 8, 2, end_id=1, seed=5),
        token_loss,
        NextTokenBatches(rows()[:7], 8, 2, end_id=1),
    )


def masked():
    """The validation draws, too."""
    return (
        MaskedLanguageModel(ModelConfig(**SIZES)),
        MaskedBatches(rows(), 3, mask_id=2, vocab_size=V, seed=5),
        token_loss,
        MaskedBatches(rows()[:7], 3, mask_id=2, vocab_size=V, seed=6),
    )


def running_mean():
    """Batch normalisation changes its buffers when it only looks."""
    layers = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)
    return nn.Sequential(*layers), numbers(), square, numbers()[:2]


def loader():
    """The order is drawn from torch's own random numbers, as dropout is."""
    x, y = map(torch.cat, zip(*numbers(), strict=True))
    batches = DataLoader(TensorDataset(x, y), batch_size=3, shuffle=True)
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)), batches, square, None


def frozen():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    return model, numbers(), square, None


TASKS = pytest.mark.parametrize(
    "task", [classifier, gpt, masked, running_mean, loader, frozen]
)


def run(task, path=None, every=1, stop=0, config=SETTINGS, seed=11):
    """Build everything anew and fit: all that can be told afterwards."""
    torch.manual_seed(seed)
    model, batches, loss, validation = task()
    loss = stopping(loss, stop)
    history = fit(
        model,
        batches,
        loss,
        config,
        validation,
        progress=False,
        checkpoint=path,
        checkpoint_every=every,
    )
    found = {f"weights {name}": value for name, value in model.state_dict().items()}
    found["random numbers"] = torch.get_rng_state()
    for name, given in (("batches", batches), ("validation", validation)):
        generator = getattr(given, "generator", None)
        if generator is not None:
            found[f"random numbers of {name}"] = generator.get_state()
    found["step losses"] = torch.tensor(history.step_losses, dtype=torch.float64)
    found["rates"] = torch.tensor(history.learning_rates, dtype=torch.float64)
    table = history.to_frame().drop(columns="seconds")
    found["epochs"] = torch.tensor(table.to_numpy(), dtype=torch.float64)
    found["best"] = torch.tensor(history.best_epoch or 0)
    found["mode"] = torch.tensor(model.training)
    return found, loss.count


def assert_identical(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


# Going on --------------------------------------------------------------------


@TASKS
def test_stopped_anywhere_it_ends_the_same(task, tmp_path):
    """Stopped at batches of three epochs in turn."""
    expected, n_calls = run(task)
    assert n_calls >= 21
    places = []
    for stop in range(1, n_calls + 1, 2 if task is classifier else 4):
        path = tmp_path / f"{stop}"
        with pytest.raises(Stopped):
            run(task, path, stop=stop)
        if not path.exists():
            assert stop <= 3  # before the first update
            continue
        facts = load_checkpoint(path)[1]
        places.append((facts["epoch"], facts["n_batches"]))
        # The new model has other weights: those in the file are taken.
        found, more = run(task, path, seed=99)
        assert_identical(found, expected)
        n_kept = n_calls - more
        assert 0 <= stop - 1 - n_kept <= 5  # the last update and the one under way
    assert {epoch for epoch, _ in places} == {1, 2, 3}
    assert len([1 for _, n_batches in places if n_batches]) >= 2  # within an epoch
    other = run(task, seed=99)[0]
    assert any(not torch.equal(other[name], expected[name]) for name in expected)


@TASKS
@pytest.mark.parametrize("every", [2, 100])
def test_a_checkpoint_now_and_then_is_enough(task, every, tmp_path):
    expected, n_calls = run(task)
    with pytest.raises(Stopped):
        run(task, tmp_path / "a", every, stop=n_calls * 2 // 3)
    found, more = run(task, tmp_path / "a", every)
    assert_identical(found, expected)
    assert (more == n_calls) == (every == 100)  # the file had the first weights only


def test_stopped_again_and_again(tmp_path):
    """Seven batches at a time, of which the file knows three at least."""
    expected, n_calls = run(classifier)
    parts = 0
    while True:
        try:
            found, _ = run(classifier, tmp_path / "a", stop=7, seed=11 + parts)
        except Stopped:
            parts += 1
            assert parts < 50
        else:
            break
    assert parts >= n_calls // 7
    assert_identical(found, expected)


def test_a_checkpoint_changes_nothing_in_a_run_that_goes_through(tmp_path):
    expected, n_calls = run(classifier)
    found, calls = run(classifier, tmp_path / "a")
    assert_identical(found, expected)
    assert calls == n_calls
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@TASKS
def test_a_finished_run_is_given_at_once(task, tmp_path):
    expected, _ = run(task, tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    found, calls = run(task, tmp_path / "a", seed=99)
    assert calls == 0
    assert_identical(found, expected)
    assert (tmp_path / "a").read_bytes() == before


def test_the_best_weights_so_far_are_remembered(tmp_path):
    """The best epoch is the first; the run is stopped in the third."""

    def task():
        x = torch.eye(4)
        model = nn.Linear(4, 1)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        batches = [(x, torch.full((4,), 9.0))] * 2
        return model, batches, square, [(x, torch.full((4,), 0.1))]

    config = TrainingConfig(4, 0.1, weight_decay=0.0)
    expected, _ = run(task, config=config)
    assert expected["best"] == 1
    with pytest.raises(Stopped):
        run(task, tmp_path / "a", stop=6, config=config)
    found, _ = run(task, tmp_path / "a", config=config)
    assert_identical(found, expected)


def test_a_checkpoint_holds_weights_that_were_good(tmp_path):
    """Ana's run leaves the numbers. Its file is from before the bad update."""
    path = tmp_path / "a"
    torch.manual_seed(0)
    model, batches = nn.Linear(4, 1), numbers()
    batches[5][0][0, 0] = float("nan")
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(TrainingDivergedError, match="epoch 1, step 6"):
        fit(
            model,
            batches,
            square,
            TrainingConfig(1, 0.1),
            checkpoint=path,
            checkpoint_every=1,
        )
    tensors, facts = load_checkpoint(path)
    assert facts["n_batches"] == 4  # four updates, and their weights gave a loss
    assert torch.equal(tensors["model/weight"], model.weight)
    assert not torch.equal(model.weight, start["weight"])


def test_weights_that_overflow_do_not_reach_the_file(tmp_path):
    """The first update makes them huge; only the loss after it can tell."""
    model = nn.Linear(4, 1)
    start = copy.deepcopy(model.state_dict())
    config, more = TrainingConfig(1, 1e25), {"checkpoint_every": 1}
    with pytest.raises(TrainingDivergedError, match="step 2"):
        fit(model, numbers(), square, config, checkpoint=tmp_path / "a", **more)
    tensors, _ = load_checkpoint(tmp_path / "a")
    for name, value in start.items():
        assert torch.equal(tensors[f"model/{name}"], value)
        assert torch.equal(model.state_dict()[name], value)


def test_settings_that_json_does_not_know(tmp_path):
    """Infinity clips nothing."""
    config = TrainingConfig(1, 0.02, max_grad_norm=math.inf)
    with pytest.raises(Stopped):
        run(classifier, tmp_path / "a", stop=4, config=config)
    found, _ = run(classifier, tmp_path / "a", config=config)
    assert_identical(found, run(classifier, config=config)[0])
    message = "config max_grad_norm is 1.0 here and Infinity in the file"
    with pytest.raises(ValueError, match=message):
        run(classifier, tmp_path / "a", config=TrainingConfig(1, 0.02))


# Refusing --------------------------------------------------------------------


def change(name):
    """Give a task, and a config, that differ from ``classifier`` in one thing."""
    labels = [i % 2 for i in range(21)]
    model, batches, loss, validation = classifier()
    config = SETTINGS
    if name == "epochs":
        config = TrainingConfig(**{**vars(SETTINGS), "n_epochs": 4})
    if name == "rate":
        config = TrainingConfig(**{**vars(SETTINGS), "learning_rate": 0.03})
    if name == "accumulate":
        config = TrainingConfig(**{**vars(SETTINGS), "accumulate": 2})
    if name == "loss":
        loss = token_loss
    if name == "width":
        model = Classifier(ModelConfig(**(SIZES | {"d_model": 12})), 2)
    if name == "heads":  # the weights have the same shapes
        model = Classifier(ModelConfig(**(SIZES | {"n_heads": 4})), 2)
    if name == "dropout":
        model = Classifier(ModelConfig(**SIZES, dropout=0.2), 2)
    if name == "causal":
        model = Classifier(ModelConfig(**SIZES), 2, causal=True)
    if name == "kind":
        model = nn.Linear(3, 2)
    if name == "double":
        model = model.double()
    if name == "frozen":
        model.encoder.requires_grad_(False)
    if name == "seed":
        batches = LabelledBatches(rows(), labels, 3, seed=6)
    if name == "no seed":
        batches = LabelledBatches(rows(), labels, 3)
    if name == "size":
        batches = LabelledBatches(rows(), labels, 4, seed=5)
    if name == "one label":
        labels[20] = 1 - labels[20]
        batches = LabelledBatches(rows(), labels, 3, seed=5)
    if name == "used":
        list(batches)  # one epoch has been drawn from it
    if name == "validation":
        validation = LabelledBatches(rows()[:6], labels[:6], 3)
    if name == "no validation":
        validation = None
    return lambda: (model, batches, loss, validation), config


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("epochs", "config n_epochs is 4 here and 3 in the file"),
        ("rate", "config learning_rate is 0.03 here and 0.02 in the file"),
        ("accumulate", "config accumulate is 2 here and 3 in the file"),
        ("loss", "loss is token_loss here and classification_loss in the file"),
        ("width", r"model encoder.* is torch.float32 \(23, 12\), .* \(23, 8\), "),
        ("heads", r"model encoder\S*n_heads is 4 here and 2 in the file"),
        ("dropout", r"model encoder\S*\.p is 0.2 here and 0.1 in the file"),
        ("causal", r"model encoder.causal is True here and False in the file"),
        ("kind", r"model weight is .* here and missing in the file"),
        ("double", r"model encoder\S* is torch.float64 .* and torch.float32"),
        ("frozen", r"model encoder\S* is .*, fixed here and .*, trained in the file"),
        ("seed", "batches is"),
        ("no seed", "batches is"),
        ("size", "batches is"),
        ("one label", "batches is"),
        ("used", "batches is"),
        ("validation", "validation is"),
        ("no validation", "validation is"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(name, said, finished, tmp_path):
    path = tmp_path / "a"
    if finished:
        run(classifier, path)
    else:
        with pytest.raises(Stopped):
            run(classifier, path, stop=17)
    task, config = change(name)
    before = path.read_bytes()
    weights = copy.deepcopy(task()[0].state_dict())
    random = torch.get_rng_state()
    model, batches, loss, validation = task()
    generator = batches.generator and batches.generator.get_state()
    with pytest.raises(ValueError) as caught:
        fit(model, batches, loss, config, validation, checkpoint=path)
    message = str(caught.value)
    assert message.startswith(f"{path} belongs to another run: ")
    assert re.search(said, message)
    assert "left as it was" in message
    assert "give another path to begin another" in message
    # Nothing has changed: not the file, not the model, not what is random.
    assert path.read_bytes() == before
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key])
    assert torch.equal(torch.get_rng_state(), random)
    if generator is not None:
        assert torch.equal(batches.generator.get_state(), generator)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "folder"])
def test_a_damaged_or_foreign_file_is_refused(damage, tmp_path):
    path = tmp_path / "a"
    run(classifier, path)
    whole = path.read_bytes()
    data = {
        "cut": whole[:-100],
        "flip": whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:],
        "empty": b"",
        "text": b"Ana's tea",
        "folder": b"",
    }[damage]
    path.write_bytes(data)
    if damage == "folder":
        path.unlink()
        path.mkdir()
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} (is|was) "):
        run(classifier, path)
    if damage != "folder":
        assert path.read_bytes() == data


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a"
    save_checkpoint(path, {"weight": torch.ones(2)}, {"tokens": 7})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is a checkpoint, but not one of fit"):
        run(classifier, path)
    assert path.read_bytes() == before


class Unsteady:
    """Batches whose noise is drawn between the updates, from torch's own numbers."""

    def __len__(self):
        return 7

    def __iter__(self):
        for x, y in numbers():
            yield x + torch.randn_like(x), y


def test_batches_that_do_not_come_again_are_refused(tmp_path):
    """Dropout drew from the same numbers in between, so they are others now."""

    def task():
        return nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)), Unsteady(), square, None

    path = tmp_path / "a"
    with pytest.raises(Stopped):
        run(task, path, stop=5, config=TrainingConfig(1))
    before = path.read_bytes()
    message = "the first 3 batches of epoch 1 do not come again .*attribute generator"
    with pytest.raises(ValueError, match=message):
        run(task, path, config=TrainingConfig(1))
    assert path.read_bytes() == before


@pytest.mark.parametrize("which", ["batches", "validation"])
def test_batches_that_can_be_passed_once_are_refused(which, tmp_path):
    once = (batch for batch in numbers())
    batches = once if which == "batches" else numbers()
    validation = once if which == "validation" else None
    model, path = nn.Linear(4, 1), tmp_path / "a"
    with pytest.raises(ValueError, match=f"{which} can be passed through once only"):
        fit(model, batches, square, TrainingConfig(1), validation, checkpoint=path)
    assert not path.exists()
    assert len(list(once)) == 7


def test_settings_of_the_checkpoint_are_checked_before_training(tmp_path):
    model, calls = nn.Linear(4, 1), stopping(square, 1)
    config = TrainingConfig(1)
    with pytest.raises(ValueError, match="checkpoint_every is 0: give at least 1"):
        fit(
            model,
            numbers(),
            calls,
            config,
            checkpoint=tmp_path / "a",
            checkpoint_every=0,
        )
    with pytest.raises(ValueError, match="nowhere is no folder: make it, for a"):
        fit(model, numbers(), calls, config, checkpoint=tmp_path / "nowhere" / "a")
    assert calls.count == 0

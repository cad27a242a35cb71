"""Proofs for the errata of the training loop."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from marketllm.config import TrainingConfig
from marketllm.optim import Adam
from marketllm.training import fit, mean_loss

N_EPOCHS = 10  # as in the article


def squared(model, batch):
    x, y = batch
    return (model(x).squeeze(-1) - y).pow(2).mean()


def noisy_batches(n: int = 101, size: int = 10, d: int = 3) -> list:
    """Numbers with noise; the last batch has one of them."""
    x = torch.randn(n, d)
    y = x @ torch.tensor([2.0, -1.0, 0.5]) + torch.randn(n)
    return list(zip(x.split(size), y.split(size), strict=True))


def test_c21_the_loss_of_the_last_batch():
    """What the article's loop prints jumps about; the mean of the epoch does not."""
    torch.manual_seed(0)
    model, batches = nn.Linear(3, 1), noisy_batches()
    optimizer = Adam(model.parameters(), 0.03)
    printed, means = [], []
    for _ in range(N_EPOCHS):
        order = [batches[i] for i in torch.randperm(len(batches))]
        losses = []
        for batch in order:
            optimizer.zero_grad()
            loss = squared(model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(batch[1]))
        printed.append(loss.item())
        means.append(sum(losses) / 101)
    assert means == sorted(means, reverse=True)  # every epoch is better
    assert sum(later > before for before, later in pairwise(printed)) == 2
    off = [last / mean for last, mean in zip(printed, means, strict=True)]
    assert min(off) < 0.45
    assert max(off) > 1.2

    model = nn.Linear(3, 1)
    history = fit(model, batches, squared, TrainingConfig(1), batches, progress=False)
    n = torch.tensor([len(y) for _, y in batches])
    row, steps = history.epochs[0], torch.tensor(history.step_losses)
    assert row["train_loss"] == pytest.approx(((n * steps).sum() / n.sum()).item())
    assert abs(row["train_loss"] / history.step_losses[-1] - 1) > 0.05
    assert row["validation_loss"] == mean_loss(model, batches, squared)


def accuracies(n_runs: int = 300, n: int = 40, d: int = 20) -> dict:
    """Train on labels that are coin flips, so that nothing can be learned.

    Many runs at once, each with data of its own. Gives the accuracy on other data
    of every epoch and run: the truth is one half.
    """

    def draw(size):
        return torch.randn(n_runs, size, d), torch.randint(2, (n_runs, size)) * 1.0

    x, y = draw(n)
    others = {"validation": draw(n), "test": draw(n), "later": draw(500)}
    weights = nn.Parameter(torch.zeros(n_runs, d, 1))
    optimizer, found = Adam([weights], 0.3), {name: [] for name in others}
    for _ in range(N_EPOCHS):
        for rows in torch.randperm(n).split(4):
            optimizer.zero_grad()
            logits = (x[:, rows] @ weights).squeeze(-1)
            binary_cross_entropy_with_logits(logits, y[:, rows]).mul(n_runs).backward()
            optimizer.step()
        for name, (inputs, labels) in others.items():
            guess = (inputs @ weights.detach()).squeeze(-1) > 0
            found[name].append((guess == labels).double().mean(dim=1))
    return {name: torch.stack(rows) for name, rows in found.items()}


def test_c21_the_epoch_chosen_on_the_test_part():
    """With a part of its own for the choice, the test part tells the truth."""
    torch.manual_seed(0)
    found = accuracies()

    def at(chosen, part):
        return found[part].gather(0, chosen.unsqueeze(0)).mean().item()

    by_test, by_validation = (
        found[part].argmax(dim=0) for part in ("test", "validation")
    )
    assert 0.55 < at(by_test, "test") < 0.58  # promised
    assert abs(at(by_test, "later") - 0.5) < 0.01  # and not kept
    assert abs(at(by_validation, "test") - 0.5) < 0.02

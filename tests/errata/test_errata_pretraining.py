"""Proofs of the errata of pretraining: which targets count, and where they come from.

A test builds the article's fault in a few lines of its own, shows how it fails, and
shows that the right version, marketllm's or PyTorch's, does not. Numbers are float64.
"""

import math

import pytest
import torch
from proofs import sizes, train
from torch import nn

from marketllm.batches import (
    IGNORE,
    LabelledBatches,
    MaskedBatches,
    NextTokenBatches,
    corrupt,
)
from marketllm.config import TrainingConfig
from marketllm.losses import cross_entropy, token_loss
from marketllm.models import GPT, MaskedLanguageModel
from marketllm.training import fit

V, END, MASK, SPECIAL = 13, 1, 2, (0, 1, 2)  # ten ordinary tokens: 3 to 12
N_TOKENS = 12


def hide(ids):
    """Choose 15% of the tokens as BERT does."""
    return corrupt(ids, MASK, V, SPECIAL, torch.Generator().manual_seed(len(ids)))


def test_m10_masked_loss_on_every_place():
    """Scored everywhere, a model that sees no other token looks excellent.

    The text is noise, so there is nothing to know about a hidden token: ln 10.
    """

    def noise(n):
        return torch.randint(3, V, (n, N_TOKENS))

    def without_context():
        return nn.Sequential(nn.Embedding(V, 16), nn.Linear(16, V))

    generator = torch.Generator().manual_seed(0)

    def everywhere(n):
        ids = noise(n)
        seen, _ = corrupt(ids, MASK, V, SPECIAL, generator)
        return cross_entropy(model(seen), ids)

    model = without_context()
    train(model, everywhere)
    ids = noise(2000)
    seen, targets = hide(ids)
    chosen, hidden = targets != IGNORE, seen == MASK
    logits = model(seen)
    right = (logits.argmax(-1) == ids).double()
    # Copying is free: 2 tokens of 12 are chosen, and the others answer themselves.
    assert right.mean() > 0.85
    assert cross_entropy(logits, ids) < 0.5
    assert right[hidden].mean() == pytest.approx(0.1, abs=0.03)
    on_hidden = cross_entropy(logits[hidden], ids[hidden]).item()
    assert on_hidden == pytest.approx(math.log(10), abs=0.05)

    def where_chosen(n):
        seen, targets = corrupt(noise(n), MASK, V, SPECIAL, generator)
        return token_loss(model, (seen, targets))

    model = without_context()
    train(model, where_chosen)
    loss = token_loss(model, (seen, targets)).item()
    # Of the chosen, 80% are hidden; one seen is true with 11 chances in 20.
    seen_one = -(0.55 * math.log(0.55) + 0.45 * math.log(0.05))
    assert loss == pytest.approx(0.8 * math.log(10) + 0.2 * seen_one, abs=0.06)
    assert chosen.double().mean() == pytest.approx(2 / 12, abs=1e-9)


def counting(n):
    """Count up round a ring of ten tokens; one step in five is random."""
    ids = [torch.randint(3, V, (n,))]
    for _ in range(N_TOKENS - 1):
        following = 3 + (ids[-1] - 2) % 10
        slips = torch.rand(n) < 0.2
        ids.append(torch.where(slips, torch.randint(3, V, (n,)), following))
    return torch.stack(ids, dim=1)


def test_m22_masked_training_gives_no_language_model():
    """One text, one size, one number of steps; then both foretell from the left."""
    small = {"n_layers": 1, "norm_first": True, "positions": "rotary"}
    gpt = GPT(sizes(vocab_size=V, max_len=N_TOKENS, **small))
    masked = MaskedLanguageModel(gpt.config)
    generator = torch.Generator().manual_seed(0)

    def next_token(n):
        ids = counting(n)
        return token_loss(gpt, (ids[:, :-1], ids[:, 1:]))

    def hidden_token(n):
        return token_loss(
            masked, corrupt(counting(n), MASK, V, SPECIAL, generator, share=0.15)
        )

    train(gpt, next_token, n_steps=220)
    train(masked, hidden_token, n_steps=220)

    with torch.no_grad():
        ids = counting(500)
        mask = torch.full((500, 1), MASK)
        causal = token_loss(gpt, (ids[:, :-1], ids[:, 1:])).item()
        as_it_is = token_loss(masked, (ids[:, :-1], ids[:, 1:])).item()
        from_left, from_both = [], []
        for t in range(1, N_TOKENS):
            prefix = torch.cat([ids[:, :t], mask], dim=1)
            whole = torch.cat([prefix, ids[:, t + 1 :]], dim=1)
            from_left.append(cross_entropy(masked(prefix)[:, t], ids[:, t]).item())
            from_both.append(cross_entropy(masked(whole)[:, t], ids[:, t]).item())
    from_left, from_both = (sum(x) / len(x) for x in (from_left, from_both))

    # The text itself: its true step has 0.82, each of nine others 0.02.
    truth = -(0.82 * math.log(0.82) + 0.18 * math.log(0.02))
    assert causal == pytest.approx(truth, abs=0.05)
    # The masked model is good at its own exercise: it sees the right side, too.
    assert from_both < truth
    # Asked for the next token it names the one it stands on: worse than guessing.
    assert as_it_is > math.log(10) + 1
    # A mask at the end helps, for one pass a token, and it still foretells worse.
    assert from_left > causal + 0.1


def test_m23_where_the_labels_come_from():
    """Both loops of the article need (text, label); pretraining has text alone."""

    def loop_of_the_article(model, data):
        for text, label in data:
            cross_entropy(model(text), label).backward()

    texts = [[3, 4, 5, 6, 7, 8, 9], [5, 6, 7], [10, 11, 12, 3, 4, 5]] * 10
    config = sizes(vocab_size=V, n_layers=1, norm_first=True, positions="rotary")
    unlabelled = [torch.tensor([ids]) for ids in texts]
    with pytest.raises(ValueError, match="not enough values to unpack"):
        loop_of_the_article(GPT(config), unlabelled)

    # Ours make the label out of the text: by moving it, or by hiding some of it.
    next_token = NextTokenBatches(texts, length=8, batch_size=8, end_id=END, seed=0)
    masked = MaskedBatches(texts, 30, MASK, V, seed=0)
    ids, targets = next(iter(next_token))
    real = ids[:, 1:] != 0
    assert real.any()
    assert torch.equal(targets[:, :-1][real], ids[:, 1:][real])
    ids, targets = next(iter(masked))
    whole = ids.where(targets == IGNORE, targets).tolist()
    assert sorted([t for t in row if t] for row in whole) == sorted(texts)
    for model, batches in (
        (GPT(config), next_token),
        (MaskedLanguageModel(config), masked),
    ):
        settings = TrainingConfig(n_epochs=30, learning_rate=0.01)
        losses = fit(model, batches, token_loss, settings, progress=False).step_losses
        assert losses[0] == pytest.approx(math.log(V), abs=0.1)
        assert sum(losses[-5:]) / 5 < losses[0] - 0.5

    # A label of a task is no function of the text: one text may have two.
    ((ids, labels),) = LabelledBatches([texts[1], texts[1]], [0, 1])
    assert torch.equal(ids[0], ids[1])
    assert labels[0] != labels[1]

"""The encoder-decoder as a classifier: one label word behind one start token."""

import torch

from marketllm.config import ModelConfig
from marketllm.experiments.text_to_label import TextToLabel, label_word_loss

CONFIG = ModelConfig(vocab_size=11, max_len=7, d_model=6, n_heads=3, n_layers=2, d_ff=5)
IDS = torch.tensor([[3, 9, 2, 0], [4, 4, 8, 5], [7, 0, 0, 0]])
LABELS = torch.tensor([1, 0, 1])


def build():
    torch.manual_seed(3)
    return TextToLabel(CONFIG, label_ids=[2, 8]).eval()


def test_logits_are_those_of_the_label_words_after_the_start_token():
    model = build()
    start = torch.full((3, 1), 10)
    expected = model.model(IDS, start)[:, 0][:, [2, 8]]
    assert model(IDS).shape == (3, 2)
    torch.testing.assert_close(model(IDS), expected)
    assert (model(IDS)[:, 0] - model(IDS)[:, 1]).abs().min() > 1e-3


def test_loss_is_the_surprise_among_all_words():
    model = build()
    logits = model.model(IDS, torch.full((3, 1), 10))[:, 0]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([8, 2, 8]))
    loss = label_word_loss(model, (IDS, LABELS))
    torch.testing.assert_close(loss, expected)
    among_two = torch.nn.functional.cross_entropy(model(IDS), LABELS)
    assert abs(loss - among_two) > 0.5


def test_the_loss_reaches_both_stacks():
    model = build()
    label_word_loss(model, (IDS, LABELS)).backward()
    for name in ("encoder.blocks.0.feed_forward", "blocks.1.cross_attention"):
        part = model.model.get_submodule(name)
        assert all(weight.grad is not None for weight in part.parameters())
        assert max(weight.grad.abs().max() for weight in part.parameters()) > 1e-4

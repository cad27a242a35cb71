"""The way through the package in ten lines: the tour of the README, as a test."""

import inspect
import textwrap
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_flow():
    # tour: begin
    from marketllm.batches import LabelledBatches
    from marketllm.config import ModelConfig, TrainingConfig
    from marketllm.losses import classification_loss
    from marketllm.models import Classifier
    from marketllm.tokenizer import WordTokenizer
    from marketllm.training import fit, predict_probabilities

    texts = ["The tea tastes wonderful!", "It arrived late and stale."] * 8
    labels = [1, 0] * 8  # 1 is a happy customer

    tokenizer = WordTokenizer.train(texts, vocab_size=100)
    tokens = [tokenizer.encode(text) for text in texts]
    batches = LabelledBatches(tokens, labels, batch_size=4)
    model = Classifier(ModelConfig(len(tokenizer), max_len=16), n_classes=2)
    history = fit(model, batches, classification_loss, TrainingConfig(n_epochs=10))
    probabilities = predict_probabilities(model, batches)  # one row a text
    # tour: end

    assert len(tokenizer) == 11
    assert tokenizer.decode(tokens[0]) == "the tea tastes wonderful"
    assert history.step_losses[0] > 0.2
    assert history.step_losses[-1] < 0.1 < history.step_losses[0]
    assert probabilities.shape == (16, 2)
    assert probabilities.argmax(axis=1).tolist() == labels


def tour():
    source = inspect.getsource(test_flow)
    lines = source.split("# tour: begin\n")[1].split("# tour: end")[0]
    return textwrap.dedent(lines.rstrip() + "\n").strip()


def test_the_readme_shows_this_code():
    blocks = README.read_text().split("```python\n")[1:]
    blocks = [block.split("```")[0].strip() for block in blocks]
    assert tour() in blocks, f"paste this into the README:\n\n{tour()}"


def test_the_tour_is_about_ten_lines():
    lines = [line for line in tour().splitlines() if line and "import" not in line]
    assert 5 <= len(lines) <= 10

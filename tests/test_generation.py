"""Writing: greedy, by temperature, and reading no more than the model can."""

import math

import jaxtyping
import pytest
import torch
from torch import nn

from marketllm.config import ModelConfig
from marketllm.generation import generate
from marketllm.models import GPT

V, MAX_LEN = 6, 4


class Counter(GPT):
    """Made by hand: 1, 2, 3, 4, 5, 1, ...; the next one has 2 nats on the others."""

    def __init__(self, scores=(0.0,) * V):
        super().__init__(ModelConfig(V, MAX_LEN, d_model=4, n_heads=2, n_layers=1))
        self.scores = torch.tensor(scores)
        self.seen = []

    def forward(self, ids):
        self.seen.append(ids)
        following = 1 + ids % (V - 1)
        return 2.0 * nn.functional.one_hot(following, V) + self.scores


def draw(seed):
    return torch.Generator().manual_seed(seed)


def test_greedy_takes_the_likeliest():
    ids = torch.tensor([[4, 5], [1, 3]])
    written = generate(Counter(), ids, 5, temperature=0.0)
    assert written.tolist() == [[4, 5, 1, 2, 3, 4, 5], [1, 3, 4, 5, 1, 2, 3]]
    assert ids.tolist() == [[4, 5], [1, 3]]


def test_the_model_reads_the_end_of_a_long_text():
    model = Counter()
    generate(model, torch.tensor([[5, 1, 2]]), 4, temperature=0.0)
    read = [ids[0].tolist() for ids in model.seen]
    assert read == [[5, 1, 2], [5, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    model = Counter()
    long = torch.tensor([[1, 2, 3, 4, 5, 1]])
    assert generate(model, long, 1, temperature=0.0)[0, -1] == 2
    assert model.seen[0].tolist() == [[3, 4, 5, 1]]


def shares(temperature, scores=(0.0,) * V):
    ids = torch.ones(4000, 1, dtype=torch.long)
    written = generate(Counter(scores), ids, 1, temperature, draw(0))[:, 1]
    return (torch.bincount(written, minlength=V) / 4000).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_shares_are_the_softmax(temperature):
    top = math.exp(2 / temperature)
    share = top / (top + 4)  # four others, and no padding
    expected = [0, *[(1 - share) / 4] * 5]
    expected[2] = share
    assert shares(temperature) == pytest.approx(expected, abs=0.03)


def test_temperature_at_its_ends():
    ids = torch.ones(50, 1, dtype=torch.long)
    for temperature in (1e-3, 1e-30, 0.0):
        written = generate(Counter(), ids, 3, temperature)
        assert (written[:, 1:] == torch.tensor([2, 3, 4])).all()
    assert shares(1e6)[1:] == pytest.approx([0.2] * 5, abs=0.03)


def test_padding_is_never_written():
    scores = (50.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert shares(1.0, scores)[0] == 0
    model = Counter(scores)
    assert generate(model, torch.tensor([[1]]), 2, temperature=0.0).tolist() == [
        [1, 2, 3]
    ]
    assert model.scores[0] == 50  # the model's own tensors are left alone


def test_the_seed_decides():
    torch.manual_seed(3)
    model = GPT(ModelConfig(V, MAX_LEN, positions="rotary"))
    ids = torch.tensor([[1, 2], [3, 3]])
    first = generate(model, ids, 20, generator=draw(1))
    torch.manual_seed(4)
    assert torch.equal(generate(model, ids, 20, generator=draw(1)), first)
    assert not torch.equal(generate(model, ids, 20, generator=draw(2)), first)
    torch.manual_seed(4)
    free = generate(model, ids, 20)
    torch.manual_seed(4)
    assert torch.equal(generate(model, ids, 20), free)


def test_texts_of_a_batch_are_written_as_if_alone():
    torch.manual_seed(3)
    model = GPT(ModelConfig(V, MAX_LEN, positions="rotary", norm_first=True))
    ids = torch.tensor([[1, 2, 5], [3, 3, 4]])
    both = generate(model, ids, 9, temperature=0.0)
    for i in range(2):
        assert torch.equal(
            generate(model, ids[i : i + 1], 9, temperature=0.0)[0], both[i]
        )


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_mode_and_writes_without_dropout(training):
    torch.manual_seed(3)
    config = ModelConfig(V, MAX_LEN, dropout=0.5, positions="rotary")
    model = GPT(config).train(training)
    model.body.norm.eval()  # a frozen part stays frozen
    modes = [module.training for module in model.modules()]
    ids = torch.tensor([[1, 2]])
    first = generate(model, ids, 30, generator=draw(1))
    assert torch.equal(generate(model, ids, 30, generator=draw(1)), first)
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(ValueError, match="token id 77 is outside"):
        generate(model, torch.tensor([[77]]), 1)
    assert [module.training for module in model.modules()] == modes
    assert not generate(model, ids, 1).requires_grad


@pytest.mark.parametrize("n_tokens", [0, -1])
def test_a_number_of_tokens_below_1_is_refused(n_tokens):
    with pytest.raises(ValueError, match=f"n_tokens is {n_tokens}: give at least 1"):
        generate(Counter(), torch.tensor([[1]]), n_tokens)


@pytest.mark.parametrize("temperature", [-0.1, math.inf, math.nan])
def test_an_impossible_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match=f"temperature is {temperature}: give 0"):
        generate(Counter(), torch.tensor([[1]]), 1, temperature)


def test_padding_in_a_text_is_refused():
    with pytest.raises(ValueError, match=r"padding \(id 0\).*one at a time"):
        generate(Counter(), torch.tensor([[1, 2], [1, 0]]), 1)


def test_ids_of_the_wrong_shape_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model = GPT(ModelConfig(V, MAX_LEN))
    with pytest.raises(ValueError, match="must be whole numbers of shape"):
        generate(model, torch.tensor([1, 2]), 1)
    with pytest.raises(ValueError, match=r"shape \(1, 0\) and so no token"):
        generate(model, torch.ones(1, 0, dtype=torch.long), 1)

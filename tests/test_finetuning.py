"""Freezing and LoRA; the library peft is the reference."""

import copy
import math

import jaxtyping
import pytest
import torch
from torch import nn

from marketllm.config import ModelConfig, TrainingConfig
from marketllm.finetuning import (
    LoRA,
    add_lora,
    freeze,
    merge_lora,
    n_trainable,
    trainable_weights,
)
from marketllm.losses import classification_loss
from marketllm.models import Classifier
from marketllm.training import fit

RANK, ALPHA = 3, 5.0
NAMES = {
    "query and value": ("to_query", "to_value"),
    "all of attention": ("to_query", "to_key", "to_value", "to_output"),
    "head": ("to_logits",),
}
CONFIG = ModelConfig(13, 12, d_model=16, n_heads=2, d_ff=24, dropout=0.0)


@pytest.fixture(autouse=True)
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def batch():
    return torch.randint(1, 13, (5, 7)), torch.tensor([0, 2, 1, 1, 0])


@pytest.fixture
def model():
    return Classifier(CONFIG, n_classes=3)


def stir(model):
    """Move B away from zero, as training would."""
    for part in model.modules():
        if isinstance(part, LoRA):
            nn.init.normal_(part.up)
    return model


def gap(first, second):
    assert first.shape == second.shape
    return (first - second).abs().max().item()


def peft_twin(model, names):
    """Give peft's model around a copy of ours, with the same A and B if we have any."""
    peft = pytest.importorskip("peft")
    plain = copy.deepcopy(model)
    loras = {n: p for n, p in plain.named_modules() if isinstance(p, LoRA)}
    for name, lora in loras.items():
        plain.set_submodule(name, lora.linear)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(names))
    twin = peft.LoraModel(plain, config, "default")
    for name, lora in loras.items():
        layer = twin.model.get_submodule(name)
        layer.lora_A["default"].weight.data.copy_(lora.down)
        layer.lora_B["default"].weight.data.copy_(lora.up)
    return twin


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_forward_and_gradients_are_those_of_peft(model, batch, names):
    freeze(model)
    add_lora(model, RANK, ALPHA, names)
    twin = peft_twin(stir(model), names)
    ids, labels = batch
    assert gap(model(ids), twin(ids)) < 1e-12
    gradients = {}
    for key, network in (("ours", model), ("peft", twin.model)):
        nn.functional.cross_entropy(network(ids), labels).backward()
        learned = [w for w in network.parameters() if w.requires_grad]
        gradients[key] = [w.grad for w in learned]
    assert len(gradients["ours"]) == len(gradients["peft"]) > 0
    for ours, theirs in zip(gradients["ours"], gradients["peft"], strict=True):
        assert gap(ours, theirs) < 1e-12
        assert theirs.abs().max() > 1e-6


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_merged_weights_are_those_of_peft(model, batch, names):
    before = copy.deepcopy(model)
    add_lora(model, RANK, ALPHA, names)
    twin = peft_twin(stir(model), names)
    expected = model(batch[0])
    merge_lora(model)
    theirs = twin.merge_and_unload()
    assert set(model.state_dict()) == set(before.state_dict())
    for name, weight in model.state_dict().items():
        assert gap(weight, theirs.state_dict()[name]) < 1e-12
        moved = gap(weight, before.state_dict()[name]) > 0.1
        assert moved == (name.split(".")[-2] in names and "weight" in name)
    assert gap(model(batch[0]), expected) < 1e-12
    assert not any(isinstance(part, LoRA) for part in model.modules())


def test_the_start_is_that_of_peft(model):
    """A is uniform within one over the root of the layer's inputs, B is zero."""
    wide = nn.Linear(64, 10)
    ours = [LoRA(wide, 20, 1.0).down.detach() for _ in range(20)]
    twin = peft_twin(nn.Sequential(wide), ["0"])
    theirs = torch.cat(
        [p.detach().flatten() for n, p in twin.named_parameters() if "lora_A" in n]
    )
    for drawn in (torch.stack(ours), theirs):
        assert 0.97 / 8 < drawn.abs().max() <= 1 / 8
    assert torch.stack(ours).std().item() == pytest.approx(1 / 8 / math.sqrt(3), 0.02)
    assert not LoRA(wide, 20, 1.0).up.any()


def test_at_the_start_nothing_has_changed_to_the_last_bit(model, batch):
    before = copy.deepcopy(model)
    add_lora(model, RANK, ALPHA)
    assert torch.equal(model(batch[0]), before(batch[0]))
    assert gap(stir(model)(batch[0]), before(batch[0])) > 0.01


@pytest.mark.parametrize("first", ["freeze", "add"])
def test_only_lora_and_head_get_gradients(model, batch, first):
    if first == "freeze":
        freeze(model, except_for=["to_logits"])
        add_lora(model, RANK, ALPHA)
    else:
        add_lora(model, RANK, ALPHA)
        freeze(model, except_for=["to_logits", "down", "up"])
    classification_loss(stir(model), batch).backward()
    learned = {n for n, w in model.named_parameters() if w.grad is not None}
    assert learned == set(trainable_weights(model))
    assert {n.split(".")[-1] for n in learned} == {"down", "up", "weight", "bias"}
    assert {n for n in learned if "encoder" not in n} == {
        "to_logits.weight",
        "to_logits.bias",
    }
    # two blocks, query and value, A and B of rank 3 by 16; 16 x 3 + 3 in the head
    assert n_trainable(model) == 2 * 2 * 2 * 3 * 16 + 16 * 3 + 3
    assert sum(w.numel() for w in trainable_weights(model).values()) == 435


def test_training_moves_what_is_free_and_nothing_else(model, batch):
    freeze(model, except_for=["to_logits"])
    add_lora(model, RANK, ALPHA)
    before = copy.deepcopy(model.state_dict())
    free = set(trainable_weights(model))
    # Weight decay would move a frozen weight too, if the optimiser held it.
    settings = TrainingConfig(n_epochs=3, learning_rate=0.1, weight_decay=0.5)
    fit(model, [batch], classification_loss, settings)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == (name not in free)


def test_one_body_carries_two_tasks(model, batch):
    """The trained weights of a task, and the body, are all that is needed."""
    body = copy.deepcopy(model.state_dict())
    expected, kept = [], []
    for seed in (1, 2):
        task = Classifier(CONFIG, n_classes=3)
        task.load_state_dict(body)
        freeze(task, except_for=["to_logits"])
        torch.manual_seed(seed)
        add_lora(task, RANK, ALPHA)
        fit(task, [batch], classification_loss, TrainingConfig(3, 0.1))
        expected.append(task(batch[0]))
        kept.append(copy.deepcopy(trainable_weights(task)))
    assert gap(*expected) > 1e-3
    add_lora(model, RANK, ALPHA)
    for task, outputs in zip(kept, expected, strict=True):
        model.load_state_dict(task, strict=False)
        assert torch.equal(model(batch[0]), outputs)


def test_freeze_without_exception_freezes_all_and_can_be_undone(model):
    n_all = n_trainable(model)
    assert n_all == sum(w.numel() for w in model.parameters())
    freeze(model)
    assert n_trainable(model) == 0
    assert trainable_weights(model) == {}
    freeze(model, except_for=["encoder", "to_logits"])
    assert n_trainable(model) == n_all


def test_a_name_fits_whole_parts_only(model):
    freeze(model, except_for=["to_key"])
    assert n_trainable(model) == 2 * (16 * 16 + 16)
    freeze(model, except_for=["bias"])
    assert all("bias" in name for name in trainable_weights(model))
    with pytest.raises(ValueError, match="has 'to_k', but no weight of the model is"):
        freeze(model, except_for=["to_k"])
    heads = nn.ModuleDict({"head": nn.Linear(2, 3), "head_2": nn.Linear(2, 3)})
    freeze(heads, except_for=["head"])
    assert set(trainable_weights(heads)) == {"head.weight", "head.bias"}


def test_lora_freezes_its_own_layers_and_no_other(model):
    add_lora(model, RANK, ALPHA)
    frozen = {n for n, _ in model.named_parameters()} - set(trainable_weights(model))
    assert len(frozen) == 4 * 2
    assert all(".linear." in name for name in frozen)


def test_the_new_weights_have_the_type_of_the_layer():
    lora = LoRA(nn.Linear(4, 6, dtype=torch.float32), 2, 1.0)
    assert lora.down.dtype == lora.up.dtype == torch.float32
    assert lora.down.shape == (2, 4)
    assert lora.up.shape == (6, 2)


def test_merging_leaves_a_shared_weight_alone():
    """A word table shared with the output layer stays the table it was."""
    network = nn.ModuleDict({"table": nn.Embedding(9, 4), "out": nn.Linear(4, 9)})
    network["out"].weight = network["table"].weight
    before = network["table"].weight.clone()
    add_lora(network, 2, 1.0, ["out"])
    merge_lora(stir(network))
    assert torch.equal(network["table"].weight, before)
    assert gap(network["out"].weight, before) > 0.01


@pytest.mark.parametrize(
    ("rank", "alpha", "names", "message"),
    [
        (0, 1.0, ["to_query"], "rank is 0: give at least 1"),
        (2, 0.0, ["to_query"], "alpha is 0.0: .* alpha / 2, so give a number above 0"),
        (2, float("nan"), ["to_query"], "alpha is nan"),
        (2, 1.0, ["to_query", "q_proj"], "names has 'q_proj', .* there are .*to_value"),
        (2, 1.0, ["self_attention"], "'self_attention', but no linear layer"),
        (2, 1.0, [], "names is empty: give some of .*to_value"),
        (2, 1.0, "to_query", r"names is one string: give a list such as \['to_query"),
    ],
)
def test_impossible_settings_are_refused(
    model, monkeypatch, rank, alpha, names, message
):
    before = [name for name, _ in model.named_modules()]
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        add_lora(model, rank, alpha, names)
    assert [name for name, _ in model.named_modules()] == before


def test_a_second_lora_is_refused(model):
    add_lora(model, RANK, ALPHA)
    with pytest.raises(ValueError, match=r"4 LoRA layers already, .*0\.self_attention"):
        add_lora(model, RANK, ALPHA, ["to_key"])
    merge_lora(model)
    add_lora(model, RANK, ALPHA)


def test_merging_without_lora_is_refused(model):
    with pytest.raises(ValueError, match="0 LoRA layers: call add_lora first"):
        merge_lora(model)

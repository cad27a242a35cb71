"""Sizes that cannot be are refused, with both numbers and the remedy."""

import dataclasses

import jaxtyping
import pytest
import torch

from marketllm.config import LlamaConfig, ModelConfig, TrainingConfig
from marketllm.models import GPT, Classifier, EncoderDecoder, Llama

SIZES = {"vocab_size": 11, "max_len": 7}


def test_defaults_are_a_model_that_can_be_built():
    config = ModelConfig(**SIZES)
    n = sum(p.numel() for p in EncoderDecoder(config).parameters())
    assert n > 100_000
    assert config.d_model % config.n_heads == 0


def test_config_is_frozen():
    config = ModelConfig(**SIZES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.d_model = 128
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig().n_epochs = 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 12, "n_heads": 5}, "n_heads=5 does not divide d_model=12.*change"),
        ({"vocab_size": 0}, "vocab_size is 0: give a whole number of at least 1"),
        ({"max_len": -3}, "max_len is -3: give a whole number of at least 1"),
        ({"n_heads": 0}, "n_heads is 0: give a whole number of at least 1"),
        ({"n_layers": 0}, "n_layers is 0: give a whole number of at least 1"),
        ({"d_ff": 0}, "d_ff is 0: give a whole number of at least 1"),
        ({"d_model": True}, "d_model is True: give a whole number"),
        ({"dropout": 1.0}, r"dropout is 1\.0.*give 0 <= dropout < 1"),
        ({"dropout": -0.1}, r"dropout is -0\.1.*give 0 <= dropout < 1"),
        ({"dropout": float("nan")}, "dropout is nan.*give 0 <= dropout < 1"),
        (
            {"positions": "rotary", "d_model": 12, "n_heads": 4},
            "d_model=12 with n_heads=4 gives heads of the odd width 3: change",
        ),
        ({"pad_id": 11}, "pad_id=11 is no token id.*vocab_size=11.*0 to 10"),
        ({"pad_id": -1}, "pad_id=-1 is no token id"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_kv_heads=3 does not divide n_heads=4"),
        ({"n_kv_heads": 0}, "n_kv_heads is 0: give a whole number of at least 1"),
        ({"norm_eps": 0.0}, r"norm_eps is 0\.0: give a number above 0"),
    ],
)
def test_model_config_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**(SIZES | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "relative"}, "'relative'; choose .*, 'rotary' or 'none'"),
        ({"feed_forward": "elu"}, "feed_forward is 'elu'; choose .* or 'swiglu'"),
        ({"norm": "batch"}, "norm is 'batch'; choose 'layer' or 'rms'"),
        ({"d_model": 12.0}, r"d_model is 12\.0: give a whole number"),
    ],
)
def test_model_config_refuses_a_wrong_type(change, message, monkeypatch):
    # As a reader runs it: without the type checks of the tests.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        ModelConfig(**(SIZES | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 12, "n_heads": 5}, "n_heads=5 does not divide d_model=12.*change"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_kv_heads=3 does not divide n_heads=4"),
        ({"n_kv_heads": 0}, "n_kv_heads is 0: give a whole number of at least 1"),
        ({"d_model": 12, "n_heads": 4}, "gives heads of the odd width 3: change"),
        ({"n_layers": 0}, "n_layers is 0: give a whole number of at least 1"),
        ({"rotary_base": 0.0}, r"rotary_base is 0\.0: give a number above 0"),
        ({"norm_eps": -1.0}, r"norm_eps is -1\.0: give a number above 0"),
    ],
)
def test_llama_config_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(**(SIZES | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_epochs": 0}, "n_epochs is 0: give a whole number of at least 1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0: give a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: give a number above"),
        ({"max_grad_norm": -1.0}, r"max_grad_norm is -1\.0: give a number above 0"),
        ({"weight_decay": -0.5}, r"weight_decay is -0\.5: give 0 or a number above it"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"beta2": 1.0}, r"beta2 is 1\.0: give a share, 0 <= beta2 < 1"),
        ({"warmup_share": -0.5}, r"warmup_share is -0\.5: give a share"),
        ({"accumulate": 0}, "accumulate is 0: give a whole number of at least 1"),
    ],
)
def test_training_config_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**change)


def test_training_config_refuses_an_unknown_schedule(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="'linear'; choose 'constant' or 'cosine'"):
        TrainingConfig(schedule="linear")


@pytest.mark.parametrize("norm_first", [False, True])
def test_every_size_reaches_the_model(norm_first):
    config = ModelConfig(
        vocab_size=11,
        max_len=7,
        d_model=12,
        n_heads=3,
        n_layers=2,
        d_ff=20,
        dropout=0.25,
        norm_first=norm_first,
        positions="learned",
    )
    model = Classifier(config, n_classes=4)
    encoder = model.encoder
    assert encoder.embedding.tokens.weight.shape == (11, 12)
    assert encoder.embedding.positions.table.shape == (7, 12)
    assert len(encoder.blocks) == 2
    block = encoder.blocks[1]
    assert block.self_attention.n_heads == 3
    assert block.feed_forward.inner.weight.shape == (20, 12)
    rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.25}
    assert block.around_attention.norm_first is norm_first
    assert model.to_logits.weight.shape == (4, 12)


def test_every_choice_reaches_the_model():
    config = ModelConfig(
        vocab_size=11,
        max_len=7,
        d_model=12,
        n_heads=6,
        n_kv_heads=2,
        d_ff=20,
        norm_first=True,
        norm="rms",
        norm_eps=0.5,
        norm_embedding=True,
        feed_forward="swiglu",
        bias=False,
        tied=False,
    )
    for model in (GPT(config), EncoderDecoder(config)):
        norms = [m for m in model.modules() if type(m).__name__.endswith("Norm")]
        assert {type(norm).__name__ for norm in norms} == {"RMSNorm"}
        assert {norm.eps for norm in norms} == {0.5}
        for name, module in model.named_modules():
            if name.endswith(("self_attention", "cross_attention")):
                assert module.to_key.weight.shape == (4, 12)
                assert module.to_query.bias is None
            if name.endswith(".feed_forward") and "around" not in name:
                assert module.gate.weight.shape == (20, 12)
                assert module.outer.bias is None
    body = GPT(config).body
    assert type(body.embedding.norm).__name__ == "RMSNorm"
    assert type(body.norm).__name__ == "RMSNorm"
    assert GPT(config).output.shape == (11, 12)


def test_every_size_reaches_llama():
    config = LlamaConfig(
        vocab_size=11,
        max_len=7,
        d_model=12,
        n_heads=6,
        n_kv_heads=3,
        n_layers=5,
        d_ff=20,
        rotary_base=77.0,
        norm_eps=0.5,
        tied=False,
    )
    model = Llama(config)
    assert model.embedding.weight.shape == (11, 12)
    assert len(model.blocks) == 5
    block = model.blocks[4]
    assert block.attention.to_key.weight.shape == (6, 12)
    assert block.attention.base == 77.0
    assert block.feed_forward.gate.weight.shape == (20, 12)
    norms = [m for m in model.modules() if type(m).__name__ == "RMSNorm"]
    assert [norm.eps for norm in norms] == [0.5] * 11
    assert model.to_logits.weight is not model.embedding.weight
    assert not [name for name, _ in model.named_parameters() if "bias" in name]

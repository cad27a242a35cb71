"""The weights of a BERT in our encoder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from marketllm.config import ModelConfig
from marketllm.models import Encoder
from marketllm.pretrained.hollow import _hollow
from marketllm.pretrained.sources import _AGAIN, _OTHER, _refuse

# Sizes in config.json, by our names.
_SIZES = {
    "vocab_size": "vocab_size",
    "max_len": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_layers": "num_hidden_layers",
    "d_ff": "intermediate_size",
}
_NUMBERS = {"norm_eps": "layer_norm_eps", "dropout": "hidden_dropout_prob"}
_CHOICES = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "hidden_act": "gelu",
    "pad_token_id": 0,
    "type_vocab_size": 2,
}
# Modules in the file: modules in our encoder.
_NORM = {"embeddings.LayerNorm": "embedding.norm"}
_BLOCK = {
    "attention.self.query": "self_attention.to_query",
    "attention.self.key": "self_attention.to_key",
    "attention.self.value": "self_attention.to_value",
    "attention.output.dense": "self_attention.to_output",
    "attention.output.LayerNorm": "around_attention.norm",
    "intermediate.dense": "feed_forward.inner",
    "output.dense": "feed_forward.outer",
    "output.LayerNorm": "around_feed_forward.norm",
}
_WORDS = "embeddings.word_embeddings.weight"
_PLACES = "embeddings.position_embeddings.weight"
_SEGMENTS = "embeddings.token_type_embeddings.weight"
# In the file, and of no use for the vector of a sentence.
_UNUSED = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}


def _config(file: Path) -> ModelConfig:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        _refuse(file, f"is not whole, or not JSON ({error})", _AGAIN)
    if not isinstance(content, dict):
        _refuse(file, "is JSON, but no object with keys", _AGAIN)
    absent = {*_SIZES.values(), *_NUMBERS.values(), *_CHOICES} - content.keys()
    for key in sorted(absent):
        _refuse(file, f"has no key {key}", _OTHER)
    for key, only in _CHOICES.items():
        if content[key] != only:
            _refuse(file, f"has {key} {content[key]!r}, and we know {only!r}", _OTHER)
    for key in _NUMBERS.values():
        if not isinstance(content[key], int | float):
            _refuse(file, f"has {key} {content[key]!r}, which is no number", _AGAIN)
    for key in _SIZES.values():
        if type(content[key]) is not int:
            _refuse(file, f"has {key} {content[key]!r}, no whole number", _AGAIN)
    sizes: dict[str, Any] = {ours: content[key] for ours, key in _SIZES.items()}
    sizes |= {ours: float(content[key]) for ours, key in _NUMBERS.items()}
    try:
        return ModelConfig(
            **sizes,
            positions="learned",
            feed_forward="gelu",
            norm_embedding=True,
        )
    except ValueError as error:
        raise ValueError(f"{file} has impossible sizes: {error}") from error


def _model(file: Path, config: ModelConfig) -> Encoder:
    try:
        stored = load_file(file)
    except (SafetensorError, OSError) as error:
        _refuse(file, f"is torn, or no safetensors file ({error})", _AGAIN)
    n_blocks = len({n.split(".")[2] for n in stored if n[:14] == "encoder.layer."})
    if n_blocks != config.n_layers:
        _refuse(
            file,
            f"holds tensors of {n_blocks} blocks, but num_hidden_layers in config.json "
            f"is {config.n_layers}",
            _OTHER,
        )
    modules = dict(_NORM)
    for i in range(config.n_layers):
        modules |= {
            f"encoder.layer.{i}.{theirs}": f"blocks.{i}.{ours}"
            for theirs, ours in _BLOCK.items()
        }
    names = {_WORDS: "embedding.tokens.weight", _PLACES: "embedding.positions.table"}
    for theirs, ours in modules.items():
        for kind in ("weight", "bias"):
            names[f"{theirs}.{kind}"] = f"{ours}.{kind}"
    model = _hollow(lambda: Encoder(config), file.with_name("config.json"))
    shapes = {theirs: model.state_dict()[ours].shape for theirs, ours in names.items()}
    shapes[_SEGMENTS] = torch.Size([2, config.d_model])
    _check_tensors(file, stored, shapes)
    stored[_WORDS] = stored[_WORDS] + stored[_SEGMENTS][0]
    weights = {ours: stored[theirs] for theirs, ours in names.items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _check_tensors(
    file: Path, stored: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]
) -> None:
    for name in sorted(shapes.keys() - stored.keys()):
        _refuse(file, f"has no tensor {name}", _AGAIN)
    for name in sorted(stored.keys() - shapes.keys() - _UNUSED):
        _refuse(file, f"has the tensor {name}, for which we have no place", _OTHER)
    for name, shape in shapes.items():
        found = stored[name]
        if found.dtype != torch.float32:
            _refuse(
                file,
                f"has the tensor {name} of type {found.dtype}, not float32",
                _OTHER,
            )
        if found.shape != shape:
            _refuse(
                file,
                f"has the tensor {name} of shape {tuple(found.shape)}, but config.json "
                f"asks for {tuple(shape)}",
                _AGAIN,
            )
        if not found.isfinite().all():
            _refuse(
                file,
                f"has numbers in tensor {name} that are infinite or not numbers",
                _AGAIN,
            )

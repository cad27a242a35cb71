"""Tokens behind tokens: greedy, by chance, in batches, with a cache and without."""

import jaxtyping
import pytest
import torch
from writers import MAX_LEN, Counter, V, draw, tiny_llama

from marketllm.cache import KeyValueCache
from marketllm.config import ModelConfig
from marketllm.generation import GREEDY, Sampling, generate
from marketllm.models import GPT, MaskedLanguageModel

LONG = [5, 46, 9, 9, 30, 2, 17, 41, 0, 8, 23]
PROMPTS = [[3, 4, 5], [7], LONG, [46, 0, 12, 1, 9]]
BOLD = Sampling(1.3, 20, 0.95, 1.1)


def tiny_gpt(**changes):
    torch.manual_seed(3)
    return GPT(ModelConfig(V, MAX_LEN, positions="rotary", **changes))


# A model made by hand ---------------------------------------------------------


def test_greedy_takes_the_likeliest():
    prompts = [[4, 5], [1, 3], [2]]
    written = generate(Counter(), prompts, 5, GREEDY)
    assert written == [[1, 2, 3, 4, 5], [4, 5, 1, 2, 3], [3, 4, 5, 1, 2]]
    assert prompts == [[4, 5], [1, 3], [2]]


def test_a_gpt_reads_the_end_of_a_long_text():
    model = Counter()
    generate(model, [[5, 1, 2]], 4, GREEDY)
    assert [ids for (ids,) in model.seen] == [
        [5, 1, 2],
        [5, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4, 5],
    ]
    model = Counter()
    assert generate(model, [[1, 2, 3, 4, 5, 1], [4, 4]], 1, GREEDY) == [[2], [5]]
    assert model.seen == [[[3, 4, 5, 1], [4, 4, 0, 0]]]


def test_the_end_token_ends_a_text_and_the_last_ends_it_all():
    model = Counter()
    written = generate(model, [[4], [5], [3]], 9, GREEDY, end_ids=[5, 2])
    assert written == [[], [1], [4]]
    assert len(model.seen) == 2  # nobody is read for when all are done


def test_no_chance_is_needed_for_the_end():
    model = Counter((0.0, 0.0, 0.0, 0.0, 0.0, 30.0))
    assert generate(model, [[1], [2]], 3, end_ids={5}) == [[], []]
    assert generate(model, [[1], [2]], 3) == [[5, 5, 5], [5, 5, 5]]


def test_padding_of_a_gpt_is_never_written():
    model = Counter((50.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    for sampling in (GREEDY, Sampling(), Sampling(1e300), Sampling(top_k=6)):
        written = generate(model, [[1]] * 200, 2, sampling, generator=draw(0))
        assert all(0 not in tokens for tokens in written)
    assert model.scores[0] == 50  # the model's own tensors are left alone


def test_the_penalty_counts_what_was_given_and_what_was_written():
    # 5, 1, 2, ... has 2 nats on the others; shared out over a penalty of 3, none.
    model = Counter((0.0, 0.5, 0.6, 0.7, 0.8, 0.9))
    greedy = Sampling(0.0, repetition_penalty=9.0)
    assert generate(model, [[5, 1]], 3, greedy) == [[2, 3, 4]]
    assert generate(model, [[1, 2, 3], [2, 3, 4]], 2, greedy) == [[4, 5], [5, 1]]
    assert generate(model, [[4, 3, 2, 5, 1]], 1, greedy) == [[2]]  # 2.6 / 9 is most
    assert generate(model, [[2, 5, 1]], 2, greedy) == [[4, 3]]


# A small Llama ------------------------------------------------------------------


@pytest.mark.parametrize("n_kv_heads", [1, 2, 6])
@pytest.mark.parametrize("sampling", [GREEDY, BOLD])
def test_cached_equals_uncached(sampling, n_kv_heads):
    model, found = tiny_llama(n_kv_heads=n_kv_heads), set()
    for prompts in (PROMPTS, PROMPTS[2:3], PROMPTS[:1] * 3):
        first, second = (
            generate(model, prompts, 20, sampling, generator=draw(5), cached=cached)
            for cached in (True, False)
        )
        assert first == second
        found.update(*first)
    assert len(found) > 10  # not one token again and again


@pytest.mark.parametrize("cached", [True, False])
def test_a_text_is_written_as_if_alone(cached):
    model = tiny_llama()
    together = generate(model, PROMPTS, 25, GREEDY, cached=cached)
    for prompt, tokens in zip(PROMPTS, together, strict=True):
        assert generate(model, [prompt], 25, GREEDY, cached=cached) == [tokens]


@pytest.mark.parametrize("cached", [True, False])
def test_an_end_is_that_of_the_text_alone(cached):
    model = tiny_llama()
    whole = generate(model, PROMPTS, 25, GREEDY)
    end = whole[2][6]
    cut = generate(model, PROMPTS, 25, GREEDY, end_ids=[end], cached=cached)
    expected = [t[: t.index(end)] if end in t else t for t in whole]
    assert cut == expected
    assert len(cut[2]) <= 6 < max(map(len, cut))  # some end, others go on


def test_texts_of_a_gpt_are_written_as_if_alone():
    model = tiny_gpt(norm_first=True)
    prompts = [[1, 2, 5], [3], [3, 3, 4, 2, 2, 1]]
    together = generate(model, prompts, 9, GREEDY)
    for prompt, tokens in zip(prompts, together, strict=True):
        assert generate(model, [prompt], 9, GREEDY) == [tokens]


def read_in_parts(model, ids, real, size):
    cache = KeyValueCache(model.config, len(ids), ids.shape[1])
    parts = []
    for start in range(0, ids.shape[1], size):
        here = slice(start, start + size)
        parts.append(model(ids[:, here], cache, real[:, here]))
    assert cache.length == ids.shape[1]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("size", [1, 3, 7, 11])
@torch.no_grad()
def test_logits_of_a_left_padded_batch_read_in_parts(size):
    """Those of each text read alone, whole and without a cache."""
    model, n = tiny_llama(), len(LONG)
    ids = torch.tensor([[0] * (n - len(text)) + text for text in PROMPTS])
    real = torch.tensor([[False] * (n - len(t)) + [True] * len(t) for t in PROMPTS])
    logits = read_in_parts(model, ids, real, size)
    for text, row in zip(PROMPTS, logits, strict=True):
        alone = model(torch.tensor([text]))[0]
        assert alone.std() > 0.5
        torch.testing.assert_close(row[-len(text) :], alone, rtol=0, atol=2e-5)


@torch.no_grad()
def test_a_forked_cache_goes_on_where_the_first_stood():
    model = tiny_llama()
    cache = KeyValueCache(model.config, 1, len(LONG))
    model.states(torch.tensor([LONG]), cache)
    more = torch.tensor([[1, 2, 3, 4], [30, 20, 10, 0]])
    fork = cache.fork(2, len(LONG) + 4)
    logits = torch.cat([model(more[:, :1], fork), model(more[:, 1:], fork)], dim=1)
    whole = torch.cat([torch.tensor([LONG, LONG]), more], dim=1)
    expected = model(whole)[:, -4:]
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)
    assert cache.length == len(LONG)


def test_each_token_is_read_once():
    model, read = tiny_llama(), []
    states = model.states

    def spy(ids, cache=None, real=None):
        read.append((tuple(ids.shape), cache is not None, real is not None))
        return states(ids, cache, real)

    model.states = spy
    generate(model, PROMPTS, 4, GREEDY)
    assert read == [((4, 11), True, True), *[((4, 1), True, False)] * 3]
    read.clear()
    generate(model, PROMPTS[:1], 3, GREEDY)  # nothing to pad
    assert read == [((1, 3), True, False), *[((1, 1), True, False)] * 2]
    read.clear()
    generate(model, PROMPTS, 3, GREEDY, cached=False)
    assert read == [((4, n), False, False) for n in (11, 12, 13)]


def test_a_llama_may_write_up_to_its_length():
    model = tiny_llama(max_len=14)
    for cached in (True, False):
        (tokens,) = generate(model, [LONG], 3, GREEDY, cached=cached)
        assert len(tokens) == 3
        message = "prompt 1 of 2 has 11 tokens, and 4 more make 15, but max_len is 14"
        with pytest.raises(ValueError, match=message):
            generate(model, [[1], LONG], 4, GREEDY, cached=cached)


def test_greedy_continuations_equal_hugging_face():
    transformers = pytest.importorskip("transformers")
    model = tiny_llama(tied=True)
    c = model.config
    peer = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.d_model,
            intermediate_size=c.d_ff,
            num_hidden_layers=c.n_layers,
            num_attention_heads=c.n_heads,
            num_key_value_heads=c.n_kv_heads,
            max_position_embeddings=c.max_len,
            rms_norm_eps=c.norm_eps,
            tie_word_embeddings=c.tied,
            rope_parameters={"rope_theta": c.rotary_base, "rope_type": "default"},
        )
    ).eval()
    names = {
        "embedding": "model.embed_tokens",
        "blocks": "model.layers",
        "attention_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
        "attention": "self_attn",
        "feed_forward": "mlp",
        "to_query": "q_proj",
        "to_key": "k_proj",
        "to_value": "v_proj",
        "to_output": "o_proj",
        "gate": "gate_proj",
        "inner": "up_proj",
        "outer": "down_proj",
        "norm": "model.norm",
        "to_logits": "lm_head",
    }
    weights = {
        ".".join(names.get(part, part) for part in name.split(".")): weight
        for name, weight in model.state_dict().items()
    }
    peer.load_state_dict(weights)
    n = len(LONG)
    ids = torch.tensor([[0] * (n - len(text)) + text for text in PROMPTS])
    real = torch.tensor([[0] * (n - len(text)) + [1] * len(text) for text in PROMPTS])
    for penalty in (1.0, 1.4):
        theirs = peer.generate(
            ids,
            attention_mask=real,
            max_new_tokens=20,
            do_sample=False,
            repetition_penalty=penalty,
            pad_token_id=0,
            eos_token_id=None,
        )
        sampling = Sampling(0.0, repetition_penalty=penalty)
        ours = generate(model, PROMPTS, 20, sampling)
        assert ours == theirs[:, n:].tolist()


# Seeds and modes ----------------------------------------------------------------


@pytest.mark.parametrize("build", [tiny_gpt, tiny_llama])
def test_the_seed_decides(build):
    model, prompts = build(), [[1, 2], [3, 3, 1]]
    first = generate(model, prompts, 20, generator=draw(1))
    torch.manual_seed(4)
    assert generate(model, prompts, 20, generator=draw(1)) == first
    assert generate(model, prompts, 20, generator=draw(2)) != first
    torch.manual_seed(4)
    free = generate(model, prompts, 20)
    torch.manual_seed(4)
    assert generate(model, prompts, 20) == free


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_mode_and_writes_without_dropout(training):
    model = tiny_gpt(dropout=0.5).train(training)
    model.body.blocks[0].eval()  # a frozen part stays frozen
    modes = [module.training for module in model.modules()]
    first = generate(model, [[1, 2]], 30, generator=draw(1))
    assert generate(model, [[1, 2]], 30, generator=draw(1)) == first
    assert [module.training for module in model.modules()] == modes
    model.body.embedding.forward = None  # the first look-up fails
    with pytest.raises(TypeError):
        generate(model, [[1]], 1)
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


# Refused --------------------------------------------------------------------------


@pytest.mark.parametrize("build", [Counter, tiny_llama])
def test_what_cannot_be_done_is_refused(build):
    model = build()
    last = model.config.vocab_size - 1
    for n_tokens in (0, -1):
        with pytest.raises(ValueError, match=f"n_tokens is {n_tokens}: give a whole"):
            generate(model, [[1]], n_tokens)
    with pytest.raises(ValueError, match="there are 0 prompts: give at least one"):
        generate(model, [], 1)
    with pytest.raises(ValueError, match="prompt 1 of 2 has no token"):
        generate(model, [[1], []], 1)
    outside = f"which is outside the vocabulary: ids run from 0 to {last}"
    with pytest.raises(ValueError, match=f"prompt 1 of 2 holds token id 77, {outside}"):
        generate(model, [[1], [1, 77, 2]], 1)
    with pytest.raises(ValueError, match=f"prompt 0 of 2 holds token id -1, {outside}"):
        generate(model, [[-1, 2], [1]], 1)


def test_padding_in_a_prompt_is_refused_by_a_gpt_alone():
    with pytest.raises(ValueError, match=r"prompt 1 of 2 holds padding \(id 0\)"):
        generate(Counter(), [[1, 2], [1, 0]], 1)
    assert len(generate(tiny_llama(), [[0, 1, 0]], 2)[0]) == 2


def test_a_model_with_broken_weights_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model = tiny_llama()
    with torch.no_grad():
        model.norm.weight[3] = torch.nan
    with pytest.raises(ValueError, match="logit of row 0 is nan"):
        generate(model, [[1, 2]], 3)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("hello", "the prompts are no lists of token ids"),
        (["hello"], "the prompts are no lists of token ids"),
        ([1, 2, 3], "the prompts are no lists of token ids"),
        ([[1.0, 2.0]], "the prompts are no lists of token ids"),
    ],
)
def test_prompts_that_are_no_ids_are_refused(prompts, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=f"{message}.*encode each text"):
        generate(tiny_llama(), prompts, 1)


def test_what_a_reader_may_mix_up_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"end_ids is 2: give a list of ids, \[2\]"):
        generate(tiny_llama(), [[1]], 1, end_ids=2)
    with pytest.raises(ValueError, match=r"n_tokens is 2\.0: give a whole number"):
        generate(tiny_llama(), [[1]], 2.0)
    masked = MaskedLanguageModel(ModelConfig(V, 9))
    with pytest.raises(ValueError, match="is a MaskedLanguageModel.*give a GPT or a"):
        generate(masked, [[1]], 1)

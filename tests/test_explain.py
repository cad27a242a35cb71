"""Looking inside: what is seen is what the model does, and what others see in it."""

import re

import jaxtyping
import pytest
import torch
from torch import nn

from marketllm.config import LlamaConfig, ModelConfig
from marketllm.explain import ROWS, attention_maps, logit_lens, residual_stream
from marketllm.models import GPT, Encoder, Llama

transformers = pytest.importorskip("transformers")

L, B, T, V, D, H = 3, 2, 7, 37, 24, 6
IDS = torch.tensor([[3, 9, 4, 4, 1, 36, 10], [5, 2, 8, 6, 6, 1, 3]])
PADDED = torch.tensor([[3, 9, 4, 4, 1, 36, 10], [5, 2, 8, 6, 0, 0, 0]])
CLOSE = {"rtol": 0, "atol": 1e-5}
# Our name of a weight, theirs.
LLAMA_NAMES = {
    "embedding": "model.embed_tokens",
    "blocks": "model.layers",
    "attention_norm": "input_layernorm",
    "feed_forward_norm": "post_attention_layernorm",
    "attention.to_query": "self_attn.q_proj",
    "attention.to_key": "self_attn.k_proj",
    "attention.to_value": "self_attn.v_proj",
    "attention.to_output": "self_attn.o_proj",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.inner": "mlp.up_proj",
    "feed_forward.outer": "mlp.down_proj",
    "norm": "model.norm",
    "to_logits": "lm_head",
}
BERT_NAMES = {
    "embedding.tokens": "embeddings.word_embeddings",
    "embedding.positions.table": "embeddings.position_embeddings.weight",
    "embedding.norm": "embeddings.LayerNorm",
    "blocks": "encoder.layer",
    "self_attention.to_query": "attention.self.query",
    "self_attention.to_key": "attention.self.key",
    "self_attention.to_value": "attention.self.value",
    "self_attention.to_output": "attention.output.dense",
    "around_attention.norm": "attention.output.LayerNorm",
    "feed_forward.inner": "intermediate.dense",
    "feed_forward.outer": "output.dense",
    "around_feed_forward.norm": "output.LayerNorm",
}


def put_into(theirs, ours, names):
    """Copy our weights into their model, and see that all found a place."""
    parts = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    renamed = {
        re.sub(rf"(?<![\w])({parts})(?![\w])", lambda m: names[m[1]], name): weight
        for name, weight in ours.state_dict().items()
    }
    missing, unexpected = theirs.load_state_dict(renamed, strict=False)
    assert unexpected == []
    assert [m for m in missing if "token_type" not in m] == []
    return theirs.eval()


def vary(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def llama():
    return vary(Llama(LlamaConfig(V, 19, D, H, n_kv_heads=2, n_layers=L, d_ff=20)))


@pytest.fixture
def their_llama(llama):
    config = transformers.LlamaConfig(
        vocab_size=V,
        hidden_size=D,
        num_attention_heads=H,
        num_key_value_heads=2,
        num_hidden_layers=L,
        intermediate_size=20,
        rms_norm_eps=llama.config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    return put_into(transformers.LlamaForCausalLM(config), llama, LLAMA_NAMES)


def bert_config(**changes):
    bert = {"positions": "learned", "norm_eps": 1e-12, "feed_forward": "gelu"}
    bert |= {"norm_embedding": True, "n_layers": L, "d_ff": 20, "dropout": 0.0}
    return ModelConfig(V, 19, D, H, **(bert | changes))


@pytest.fixture
def bert():
    return vary(Encoder(bert_config()))


@pytest.fixture
def their_bert(bert):
    config = transformers.BertConfig(
        vocab_size=V,
        max_position_embeddings=19,
        hidden_size=D,
        num_attention_heads=H,
        num_hidden_layers=L,
        intermediate_size=20,
        attn_implementation="eager",
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False)
    nn.init.zeros_(theirs.embeddings.token_type_embeddings.weight)
    return put_into(theirs, bert, BERT_NAMES)


@pytest.fixture
def _no_shape_check():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# The same as Hugging Face sees ---------------------------------------------------


def look(theirs, ids, **options):
    with torch.no_grad():
        return theirs(ids, output_hidden_states=True, output_attentions=True, **options)


def test_llama_is_seen_as_transformers_sees_it(llama, their_llama):
    theirs = look(their_llama, IDS)
    stream, maps = residual_stream(llama, IDS), attention_maps(llama, IDS)
    assert stream.shape == (L + 1, B, T, D)
    assert maps.shape == (L, B, H, T, T)
    states = torch.stack(theirs.hidden_states)
    assert stream[:-1].std() > 0.1
    assert torch.allclose(stream[:-1], states[:-1], **CLOSE)
    assert torch.allclose(llama.norm(stream[-1]), states[-1], **CLOSE)
    assert torch.allclose(maps, torch.stack(theirs.attentions), **CLOSE)


def test_bert_is_seen_as_transformers_sees_it(bert, their_bert):
    real = PADDED != 0
    theirs = look(their_bert, PADDED, attention_mask=real.long())
    stream, maps = residual_stream(bert, PADDED), attention_maps(bert, PADDED)
    states = torch.stack(theirs.hidden_states)
    assert stream.shape == (L + 1, B, T, D)
    assert torch.allclose(stream[:, real], states[:, real], **CLOSE)
    assert maps.shape == (L, B, H, T, T)
    at_real = real[None, :, None, :, None].expand_as(maps)  # rows of padding: no matter
    assert torch.allclose(
        maps[at_real], torch.stack(theirs.attentions)[at_real], **CLOSE
    )


# What is seen is what the model does ----------------------------------------------


def test_the_stream_starts_at_the_embedding_and_leads_to_the_logits(llama):
    stream = residual_stream(llama, IDS)
    assert torch.equal(stream[0], llama.embedding(IDS))
    assert torch.allclose(llama.to_logits(llama.norm(stream[-1])), llama(IDS), **CLOSE)
    assert (stream[1:] - stream[:-1]).abs().amax((1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_stream_of_an_encoder_leads_to_its_output(norm_first):
    model = vary(Encoder(bert_config(norm_first=norm_first)))
    last = residual_stream(model, IDS)[-1]
    assert torch.allclose(model.norm(last), model(IDS), **CLOSE)
    assert torch.allclose(last, model(IDS), **CLOSE) != norm_first


def test_rows_of_attention_sum_to_1_and_a_llama_looks_back_only(llama):
    maps = attention_maps(llama, IDS)
    assert torch.allclose(maps.sum(-1), torch.ones(L, B, H, T), **CLOSE)
    assert maps.triu(1).abs().max() == 0
    assert maps.tril().min() >= 0
    assert maps[..., 1, 0].min() > 0


def test_an_encoder_looks_both_ways_but_not_at_padding(bert):
    maps = attention_maps(bert, PADDED)
    assert torch.allclose(maps.sum(-1), torch.ones(L, B, H, T), **CLOSE)
    assert maps[:, 0].triu(1).amax((1, 2, 3)).min() > 0.05
    assert maps[:, 1, :, :, 4:].max() == 0


def test_a_causal_encoder_looks_back_only():
    maps = attention_maps(vary(Encoder(bert_config(), causal=True)), IDS)
    assert maps.triu(1).max() == 0


def test_watching_changes_nothing_and_leaves_nothing_behind(llama):
    before, n_hooks = llama(IDS), []
    for watch in (residual_stream, attention_maps, logit_lens):
        watch(llama, IDS)
        with pytest.raises(ValueError, match="max_len is 19"):
            watch(llama, torch.ones(1, 20, dtype=torch.long))
        n_hooks += [len(part._forward_hooks) for part in llama.modules()]
    assert sum(n_hooks) == 0
    assert torch.equal(before, llama(IDS))
    assert not residual_stream(llama, IDS).requires_grad
    assert all(parameter.requires_grad for parameter in llama.parameters())


# The lens ----------------------------------------------------------------------


def by_hand(model, ids):
    """All log-probabilities of all layers: what the lens is there to avoid."""
    return torch.stack(
        [model.to_logits(model.norm(x)) for x in residual_stream(model, ids)]
    ).log_softmax(-1)


def test_the_last_lens_is_the_model_itself(llama):
    lens = logit_lens(llama, IDS, n_top=V)
    own = llama(IDS).log_softmax(-1)
    assert torch.equal(lens.top_ids[-1], own.argsort(dim=-1, descending=True))
    again = torch.empty_like(own).scatter(
        -1, lens.top_ids[-1], lens.top_log_probabilities[-1]
    )
    assert torch.allclose(again, own, **CLOSE)
    assert lens.top_log_probabilities[0].std() > 0.1


def test_the_lens_equals_the_whole_table(llama):
    targets, places = IDS.roll(-1, dims=1), [1, 4, 5]
    table = by_hand(llama, IDS)[:, :, places]
    lens = logit_lens(llama, IDS, targets, places, n_top=2)
    top = table.topk(2)
    assert torch.equal(lens.top_ids, top.indices)
    assert torch.allclose(lens.top_log_probabilities, top.values, **CLOSE)
    at = targets[:, places].expand(L + 1, -1, -1).unsqueeze(-1)
    own = table.gather(-1, at).squeeze(-1)
    assert torch.allclose(lens.target_log_probabilities, own, **CLOSE)
    order = table.argsort(dim=-1, descending=True)
    assert torch.equal(lens.target_ranks, (order == at).int().argmax(-1))
    assert len(lens.target_ranks.unique()) > 5


def test_without_targets_the_last_guess_is_followed(llama):
    lens = logit_lens(llama, IDS)
    guess = llama(IDS).argmax(-1).expand(L + 1, -1, -1)
    assert torch.all(lens.target_ranks[-1] == 0)
    assert torch.equal(lens.target_ranks == 0, lens.top_ids[..., 0] == guess)
    assert torch.any(lens.target_ranks[0] > 0)


def test_many_places_are_read_in_parts(llama):
    ids = torch.randint(V, (3, 19))
    assert (L + 1) * ids.numel() > ROWS
    lens = logit_lens(llama, ids, ids)
    own = by_hand(llama, ids).gather(-1, ids.expand(L + 1, -1, -1).unsqueeze(-1))
    assert torch.allclose(lens.target_log_probabilities, own.squeeze(-1), **CLOSE)


# Refusals ------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_shape_check")
@pytest.mark.parametrize("watch", [residual_stream, attention_maps, logit_lens])
def test_unknown_models_are_refused(watch):
    gpt = GPT(bert_config(norm_embedding=False, norm_first=True)).eval()
    with pytest.raises(ValueError, match=r"GPT is no model .* give its part \.body"):
        watch(gpt, IDS)
    if watch is not logit_lens:
        assert len(watch(gpt.body, IDS)) >= L
    with pytest.raises(ValueError, match="Linear is no model .* give one of the two"):
        watch(nn.Linear(2, 3).eval(), IDS)
    with pytest.raises(ValueError, match=r"in training mode.*call model\.eval"):
        watch(Encoder(bert_config()), IDS)


@pytest.mark.usefixtures("_no_shape_check")
@pytest.mark.parametrize("watch", [residual_stream, attention_maps, logit_lens])
def test_ids_that_do_not_fit_are_refused(llama, watch):
    with pytest.raises(ValueError, match="token id 37 is outside"):
        watch(llama, torch.tensor([[1, V]]))
    with pytest.raises(ValueError, match=r"ids have shape \(7,\)"):
        watch(llama, IDS[0])


@pytest.mark.usefixtures("_no_shape_check")
def test_the_lens_refuses_what_does_not_fit(llama, bert):
    with pytest.raises(ValueError, match="Encoder makes vectors and no logits"):
        logit_lens(bert, IDS)
    with pytest.raises(ValueError, match=r"targets have shape \(2, 6\), but ids .* 7"):
        logit_lens(llama, IDS, IDS[:, 1:])
    with pytest.raises(ValueError, match="target -1 is outside .* 0 to 36"):
        logit_lens(llama, IDS, IDS - 2)
    for places in ([], [7], [-1, 2]):
        with pytest.raises(ValueError, match=r"places are .* places 0 to 6"):
            logit_lens(llama, IDS, places=places)
    for n_top in (0, V + 1):
        with pytest.raises(ValueError, match=f"n_top is {n_top}: give 1 to 37"):
            logit_lens(llama, IDS, n_top=n_top)


# The real one ----------------------------------------------------------------------


def test_the_real_llama(smollm2):
    model = smollm2.model
    ids = torch.tensor([smollm2.tokenizer.encode("The tea arrived late but it tastes")])
    lens = logit_lens(model, ids, places=[ids.shape[1] - 1], n_top=3)
    with torch.no_grad():
        own = model(ids)[:, -1].log_softmax(-1).topk(3)
    assert torch.equal(lens.top_ids[-1, :, 0], own.indices)
    assert torch.allclose(lens.top_log_probabilities[-1, :, 0], own.values, atol=1e-3)
    words = [smollm2.tokenizer.decode([i]) for i in lens.top_ids[-1, 0, 0].tolist()]
    assert any(word in (" amazing", " great", " delicious", " good") for word in words)
    maps = attention_maps(model, ids)
    assert maps.shape == (30, 1, 9, ids.shape[1], ids.shape[1])
    assert maps[..., 1:, 0].mean() > 0.5  # most of it rests on the first token

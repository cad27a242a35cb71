"""Llama, GPT-2 and BERT of Hugging Face, small and random, with our weights in them.

The logits and the gradient of every weight are compared. Hugging Face's Llama takes
the root of its norms and the angles of its positions in float32, whatever the type of
the weights is; the other two keep to float64.
"""

import pytest
import torch
import transformers
from torch_twins import FORWARD, GRADIENT, assert_same, vary

from marketllm.config import LlamaConfig, ModelConfig
from marketllm.models import GPT, Encoder, Llama

B, T, V, D, H, F, L, MAX_LEN = 2, 7, 17, 24, 6, 20, 3, 11
SIZES = {"vocab_size": V, "max_len": MAX_LEN, "d_model": D, "n_heads": H, "d_ff": F}
SIZES |= {"n_layers": L}
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
GROUPS = pytest.mark.parametrize("n_kv_heads", [1, 3, 6])
TIED = pytest.mark.parametrize("tied", [True, False])
# Three texts, two of them with padding (id 0) on the right.
IDS = torch.tensor(
    [[3, 9, 4, 4, 1, 7, 16], [5, 2, 8, 6, 0, 0, 0], [11, 13, 1, 15, 2, 5, 0]]
)
MAPS = ("query", "key", "value", "output")


def layer(ours, theirs):
    """Pairs of one layer: the twin's tensor, ours, and whether ours is turned."""
    turned = isinstance(theirs, transformers.pytorch_utils.Conv1D)
    ours = ours if isinstance(ours, list) else [ours]
    pairs = [(theirs.weight, [o.weight for o in ours], turned)]
    if getattr(theirs, "bias", None) is not None:
        pairs += [(theirs.bias, [o.bias for o in ours], False)]
    return pairs


def llama_pairs(ours, theirs):
    body = theirs.model
    pairs = [(body.embed_tokens.weight, [ours.embedding.weight], False)]
    pairs += [(body.norm.weight, [ours.norm.weight], False)]
    if not ours.config.tied:
        pairs += layer(ours.to_logits, theirs.lm_head)
    for a, b in zip(ours.blocks, body.layers, strict=True):
        for name, letter in zip(MAPS, "qkvo", strict=True):
            their_map = getattr(b.self_attn, f"{letter}_proj")
            pairs += layer(getattr(a.attention, f"to_{name}"), their_map)
        pairs += layer(a.attention_norm, b.input_layernorm)
        pairs += layer(a.feed_forward_norm, b.post_attention_layernorm)
        pairs += layer(a.feed_forward.gate, b.mlp.gate_proj)
        pairs += layer(a.feed_forward.inner, b.mlp.up_proj)
        pairs += layer(a.feed_forward.outer, b.mlp.down_proj)
    return pairs


def gpt_pairs(ours, theirs):
    body, tables = theirs.transformer, ours.body.embedding
    pairs = [(body.wte.weight, [tables.tokens.weight], False)]
    pairs += [(body.wpe.weight, [tables.positions.table], False)]
    pairs += layer(ours.body.norm, body.ln_f)
    if not ours.config.tied:
        pairs += [(theirs.lm_head.weight, [ours.output], False)]
    for a, b in zip(ours.body.blocks, body.h, strict=True):
        attention = a.self_attention
        parts = [attention.to_query, attention.to_key, attention.to_value]
        pairs += layer(parts, b.attn.c_attn)
        pairs += layer(attention.to_output, b.attn.c_proj)
        pairs += layer(a.around_attention.norm, b.ln_1)
        pairs += layer(a.around_feed_forward.norm, b.ln_2)
        pairs += layer(a.feed_forward.inner, b.mlp.c_fc)
        pairs += layer(a.feed_forward.outer, b.mlp.c_proj)
    return pairs


def bert_pairs(ours, theirs):
    tables = theirs.embeddings
    pairs = [(tables.word_embeddings.weight, [ours.embedding.tokens.weight], False)]
    places = ours.embedding.positions.table
    pairs += [(tables.position_embeddings.weight, [places], False)]
    pairs += layer(ours.embedding.norm, tables.LayerNorm)
    for a, b in zip(ours.blocks, theirs.encoder.layer, strict=True):
        for name in MAPS[:3]:
            their_map = getattr(b.attention.self, name)
            pairs += layer(getattr(a.self_attention, f"to_{name}"), their_map)
        pairs += layer(a.self_attention.to_output, b.attention.output.dense)
        pairs += layer(a.around_attention.norm, b.attention.output.LayerNorm)
        pairs += layer(a.feed_forward.inner, b.intermediate.dense)
        pairs += layer(a.feed_forward.outer, b.output.dense)
        pairs += layer(a.around_feed_forward.norm, b.output.LayerNorm)
    return pairs


def joined(tensors, turned):
    whole = torch.cat(tensors)
    return whole.T if turned else whole


def fill(pairs, ours, theirs, n_more=0):
    """Put our weights into the twin, and see that none is left out, or ``n_more``."""
    with torch.no_grad():
        for weight, parts, turned in pairs:
            weight.copy_(joined(parts, turned))
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    n_pairs = sum(weight.numel() for weight, _, _ in pairs)
    assert n_pairs == counts[0] == counts[1] - n_more, (n_pairs, counts)


def compare(pairs, ours, theirs, forward, gradient, flat=()):
    """Compare two outputs, and the gradients of a random weighted sum of them.

    Those in ``flat`` are 0 on both sides.
    """
    assert_same(ours, theirs, forward, "output")
    direction = torch.randn_like(ours)
    (ours * direction).sum().backward()
    (theirs * direction).sum().backward()
    for i, (weight, parts, turned) in enumerate(pairs):
        found = joined([part.grad for part in parts], turned)
        if any(weight is other for other in flat):
            assert max(found.abs().max(), weight.grad.abs().max()) < gradient
        else:
            assert_same(found, weight.grad, gradient, f"gradient {i}")


def made(kind, config, dtype, *arguments):
    torch.manual_seed(1)
    model = kind(config, *arguments).to(dtype)
    vary(model)
    return model.eval()


def llama_twin(config, dtype):
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=V,
            max_position_embeddings=MAX_LEN,
            hidden_size=D,
            num_attention_heads=H,
            num_key_value_heads=config.n_kv_heads,
            num_hidden_layers=L,
            intermediate_size=F,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rotary_base},
            tie_word_embeddings=config.tied,
        )
    ).to(dtype)


@TYPES
@TIED
@GROUPS
def test_llama(dtype, tied, n_kv_heads):
    config = LlamaConfig(
        **SIZES, n_kv_heads=n_kv_heads, rotary_base=50.0, norm_eps=0.02, tied=tied
    )
    ours = made(Llama, config, dtype)
    theirs = llama_twin(config, dtype)
    pairs = llama_pairs(ours, theirs)
    fill(pairs, ours, theirs)
    ids = IDS.clamp(min=1)
    compare(pairs, ours(ids), theirs(ids).logits, 5e-6, 5e-5)


@TYPES
@TIED
def test_gpt_2(dtype, tied):
    config = ModelConfig(
        **SIZES,
        dropout=0.0,
        norm_first=True,
        positions="learned",
        feed_forward="gelu_tanh",
        norm_eps=0.02,
        tied=tied,
    )
    ours = made(GPT, config, dtype)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=V,
            n_positions=MAX_LEN,
            n_embd=D,
            n_head=H,
            n_layer=L,
            n_inner=F,
            activation_function="gelu_new",
            layer_norm_epsilon=0.02,
            tie_word_embeddings=tied,
        )
    )
    theirs = theirs.to(dtype).eval()
    pairs = gpt_pairs(ours, theirs)
    if not tied:
        assert ours.output is not None
    fill(pairs, ours, theirs)
    ids = IDS.clamp(min=1)
    forward, gradient = 10 * FORWARD[dtype], 10 * GRADIENT[dtype]
    compare(pairs, ours(ids), theirs(ids).logits, forward, gradient)


@TYPES
def test_bert(dtype):
    config = ModelConfig(
        **SIZES,
        dropout=0.0,
        positions="learned",
        feed_forward="gelu",
        norm_embedding=True,
        norm_eps=1e-12,
    )
    ours = made(Encoder, config, dtype)
    theirs = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=V,
            max_position_embeddings=MAX_LEN,
            hidden_size=D,
            num_attention_heads=H,
            num_hidden_layers=L,
            intermediate_size=F,
            hidden_act="gelu",
            layer_norm_eps=1e-12,
            type_vocab_size=1,
        ),
        add_pooling_layer=False,
    )
    theirs = theirs.to(dtype).eval()
    segment = theirs.embeddings.token_type_embeddings.weight
    pairs = bert_pairs(ours, theirs)
    fill(pairs, ours, theirs, n_more=D)
    with torch.no_grad():  # one segment: its vector moves into the table of tokens
        segment.normal_()
        theirs.embeddings.word_embeddings.weight.sub_(segment)
    real = IDS != 0
    found = ours(IDS)[real]
    expected = theirs(IDS, attention_mask=real.long()).last_hidden_state[real]
    # Of BERT's id 0 no gradient is kept; ours is 0, for nothing looks at padding.
    forward, gradient = 10 * FORWARD[dtype], 10 * GRADIENT[dtype]
    # A key's bias adds the same to all scores of a query, and softmax forgets it.
    flat = [block.attention.self.key.bias for block in theirs.encoder.layer]
    compare(pairs, found, expected, forward, gradient, flat)
    assert ours.embedding.tokens.weight.grad[0].abs().max() == 0


@TIED
@GROUPS
def test_a_gpt_with_all_of_llamas_switches_is_llama(tied, n_kv_heads):
    llama = made(
        Llama,
        LlamaConfig(**SIZES, n_kv_heads=n_kv_heads, norm_eps=0.02, tied=tied),
        torch.float64,
    )
    config = ModelConfig(
        **SIZES,
        dropout=0.0,
        norm="rms",
        norm_eps=0.02,
        norm_first=True,
        positions="rotary",
        feed_forward="swiglu",
        n_kv_heads=n_kv_heads,
        bias=False,
        tied=tied,
    )
    gpt = made(GPT, config, torch.float64)
    body = gpt.body
    pairs = [(body.embedding.tokens.weight, [llama.embedding.weight], False)]
    pairs += layer(llama.norm, body.norm)
    if not tied:
        pairs += [(gpt.output, [llama.to_logits.weight], False)]
    for a, b in zip(llama.blocks, body.blocks, strict=True):
        for name in MAPS:
            theirs = getattr(b.self_attention, f"to_{name}")
            pairs += layer(getattr(a.attention, f"to_{name}"), theirs)
        pairs += layer(a.attention_norm, b.around_attention.norm)
        pairs += layer(a.feed_forward_norm, b.around_feed_forward.norm)
        for name in ("gate", "inner", "outer"):
            theirs = getattr(b.feed_forward, name)
            pairs += layer(getattr(a.feed_forward, name), theirs)
    fill(pairs, llama, gpt)
    ids = IDS.clamp(min=1)
    compare(pairs, llama(ids), gpt(ids), 1e-12, 1e-10)

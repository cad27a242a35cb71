"""Proofs with the published models: what they are, and how they read words.

They are skipped where the packages with the weights are not installed.
"""

import torch
from proofs import reach, sizes

from marketllm.attention import MultiHeadAttention
from marketllm.blocks import DecoderBlock, EncoderBlock
from marketllm.models import EncoderDecoder
from marketllm.models.llama import LlamaBlock


def attentions(model):
    """Count the attentions in each block, and name the parts that look elsewhere."""
    kinds = EncoderBlock | DecoderBlock | LlamaBlock
    blocks = [module for module in model.modules() if isinstance(module, kinds)]
    counts = [
        sum(isinstance(module, MultiHeadAttention) for module in block.modules())
        for block in blocks
    ]
    crossed = [
        name for name, _ in model.named_modules() if name.endswith("cross_attention")
    ]
    return counts, crossed


def test_k11_one_is_a_decoder(smollm2):
    """SmolLM2 has one attention a block, none on a source, and never looks ahead."""
    counts, crossed = attentions(smollm2.model)
    assert counts == [1] * 30
    assert crossed == []
    ids = torch.tensor(
        [smollm2.tokenizer.encode("the tea arrived late but it is good")]
    )
    moved = reach(lambda ids: smollm2.model(ids), ids, place=3)
    assert moved[:3].max() == 0
    assert moved[3:].min() > 1e-2


def test_k11_one_is_an_encoder(minilm):
    """MiniLM has one attention a block, none on a source, and looks both ways."""
    counts, crossed = attentions(minilm.model)
    assert counts == [1] * 6
    assert crossed == []
    ids = torch.tensor(minilm.ids(["the tea arrived late but it is good"]))
    moved = reach(minilm.model, ids, place=3)
    assert moved.min() > 1e-3


def test_k11_the_article_is_neither():
    """An encoder-decoder has two attentions in each block of its decoder."""
    counts, crossed = attentions(EncoderDecoder(sizes()))
    assert counts == [1, 1, 2, 2]
    assert crossed == ["blocks.0.cross_attention", "blocks.1.cross_attention"]


def test_k14_words_are_not_tokens(minilm):
    """Two English words are eight tokens; Chinese is lost, without a warning."""

    def pieces(text):
        (ids,) = minilm.ids([text])
        return [minilm.tokenizer.id_to_token(i) for i in ids[1:-1]]

    english = pieces("personalised unsubscribing")
    assert len(english) == 8
    assert "".join(english).replace("##", "") == "personalisedunsubscribing"
    chinese = pieces("这款手机物美价廉")
    assert len(chinese) == 8
    assert chinese.count("[UNK]") == 6
    # "Good and cheap" and "handsome and dear": one vector. So are good and bad.
    for praise, blame in (("这款手机物美价廉", "这款手机又美又贵"), ("好", "差")):
        assert pieces(praise) == pieces(blame)
        one, other = minilm.encode([praise, blame])
        assert one @ other > 0.999
    good, bad = minilm.encode(["good", "bad"])
    assert good @ bad < 0.9

"""Token ids to vectors: the embedding, and the stack that mixes them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.attention import causal_mask, padding_mask
from marketllm.blocks import EncoderBlock
from marketllm.config import LlamaConfig, ModelConfig
from marketllm.layers import _make_norm
from marketllm.positions import LearnedPositions, SinusoidalPositions


class Encoder(nn.Module):
    """Read a text: one vector for each token.

    An encoder reads in both directions. With ``causal=True`` the same stack is
    what the field calls a decoder-only stack: no token sees a later one. The name
    is history. The stack has no cross-attention, and the mask is all that changes.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices.
    causal : bool
        True hides from each token those that come after it.

    References
    ----------
    Vaswani et al. (2017), section 3.1; Devlin et al. (2019), section 3; Radford
    et al. (2018), section 3.1, for the causal stack.
    """

    def __init__(self, config: ModelConfig, causal: bool = False) -> None:
        super().__init__()
        self.config = config
        self.causal = causal
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(
            EncoderBlock(**_block_options(config)) for _ in range(config.n_layers)
        )
        self.norm = _last_norm(config)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Turn token ids into vectors that know their context.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids, padded with ``config.pad_id``.

        Returns
        -------
        Tensor of shape (B, T, D)
            One vector for each token; those of padding mean nothing.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary, a sequence is too long, or the
            batch or an example in it is empty. A causal stack also refuses
            padding on the left: the first token would see nothing.
        """
        x = self.embedding(ids)
        mask = padding_mask(ids, self.config.pad_id)
        if self.causal:
            mask = mask & causal_mask(ids.shape[1]).to(ids.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class Embedding(nn.Module):
    """Token vectors plus positions: the start of the residual stream.

    Rotary positions are not added here: they enter in each attention.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices.

    References
    ----------
    Vaswani et al. (2017), sections 3.4 and 3.5. The vectors start with variance
    1, which is what the paper's factor of the root of ``d_model`` gives.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.positions: nn.Module = nn.Identity()
        if config.positions == "sinusoidal":
            self.positions = SinusoidalPositions(config.max_len, config.d_model)
        if config.positions == "learned":
            self.positions = LearnedPositions(config.max_len, config.d_model)
        self.norm: nn.Module = nn.Identity()
        if config.norm_embedding:
            self.norm = _make_norm(config.norm, config.d_model, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Look up each token and add its place.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids.

        Returns
        -------
        Tensor of shape (B, T, D)

        Raises
        ------
        ValueError
            If ids are not whole numbers in two axes, one is outside the vocabulary,
            a sequence is longer than ``config.max_len``, or there is no token at all.
        """
        _check_ids(ids, self.config)
        return self.dropout(self.norm(self.positions(self.tokens(ids))))


def _check_ids(ids: Tensor, config: ModelConfig | LlamaConfig) -> None:
    """Refuse ids that a model cannot read."""
    if ids.ndim != 2 or ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"ids have shape {tuple(ids.shape)} and type {ids.dtype}, but must be "
            "whole numbers of shape (batch, tokens), as torch.int64 or torch.int32: "
            "see marketllm.batches.pad."
        )
    if not ids.numel():
        raise ValueError(
            f"the batch has shape {tuple(ids.shape)} and so no token: "
            "give at least one example with at least one token."
        )
    if ids.shape[1] > config.max_len:
        raise ValueError(
            f"the sequence has {ids.shape[1]} tokens, but max_len is "
            f"{config.max_len}: cut the text or raise max_len."
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= config.vocab_size:
        raise ValueError(
            f"token id {low if low < 0 else high} is outside the vocabulary: "
            f"ids run from 0 to {config.vocab_size - 1}; was the text "
            "encoded with another tokenizer?"
        )


def _block_options(config: ModelConfig) -> dict[str, Any]:
    """Name what a block of this model is made with."""
    return {
        "d_model": config.d_model,
        "n_heads": config.n_heads,
        "d_ff": config.d_ff,
        "dropout": config.dropout,
        "norm_first": config.norm_first,
        "rotary": config.positions == "rotary",
        "feed_forward": config.feed_forward,
        "norm": config.norm,
        "norm_eps": config.norm_eps,
        "n_kv_heads": config.n_kv_heads,
        "bias": config.bias,
    }


def _last_norm(config: ModelConfig) -> nn.Module:
    """Make the norm behind the last block: pre-norm blocks need one more."""
    if not config.norm_first:
        return nn.Identity()
    return _make_norm(config.norm, config.d_model, config.norm_eps)

"""Llama, whole: from token ids to a guess at the next token."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from marketllm.attention import MultiHeadAttention, causal_mask
from marketllm.cache import KeyValueCache, LayerCache
from marketllm.config import LlamaConfig
from marketllm.layers import Linear, RMSNorm, SwiGLU
from marketllm.models.encoder import _check_ids
from marketllm.models.language import START


class LlamaBlock(nn.Module):
    """Self-attention, then a gated feed-forward network, each behind a norm.

    Parameters
    ----------
    config : LlamaConfig
        Sizes.

    References
    ----------
    Touvron et al. (2023), section 2.2.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = MultiHeadAttention(
            config.d_model,
            config.n_heads,
            n_kv_heads=config.n_kv_heads,
            bias=False,
            rotary=True,
            base=config.rotary_base,
        )
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config.d_model, config.d_ff)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Tensor | None = None,
        past: LayerCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Let the tokens look back, then work on each alone.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            Token vectors.
        mask : Tensor of bool, broadcasting to (B, T, S), optional
            True where a token may look.
        past : LayerCache, optional
            Keys and values of the tokens before ``x``.

        Returns
        -------
        Tensor of shape (B, T, D)
        """
        x = x + self.attention(self.attention_norm(x), mask=mask, past=past)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Llama(nn.Module):
    """Guess the next token from those before it.

    A text may be read at once, or in parts with a cache between them. A token's
    place enters by rotation alone, and only distances between tokens count.

    Parameters
    ----------
    config : LlamaConfig
        Sizes.

    References
    ----------
    Touvron et al. (2023), section 2.2; Radford et al. (2019), section 2.3, for the
    start of the weights that write into the residual stream.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.to_logits = Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied:
            self.to_logits.weight = self.embedding.weight
        self._start_small()

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        cache: KeyValueCache | None = None,
        real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Score each possible next token at each place.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids.
        cache : KeyValueCache, optional
            What was read before ``ids``, which are added to it.
        real : Tensor of bool of shape (B, T), optional
            False for padding. Padding on the right needs none, for no token looks
            ahead; where a cache is used, put it on the left.

        Returns
        -------
        Tensor of shape (B, T, V)
            Logits; those at t are a guess at the token after ``ids[:, t]``.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary, the text is longer than
            ``config.max_len``, the batch is empty, or the cache is full or of
            another model.
        """
        return self.to_logits(self.states(ids, cache, real))

    def states(
        self,
        ids: Int[Tensor, "B T"],
        cache: KeyValueCache | None = None,
        real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Turn token ids into vectors that know what came before.

        Parameters
        ----------
        ids, cache, real
            As for :meth:`forward`.

        Returns
        -------
        Tensor of shape (B, T, D)
            The vectors behind the last norm, from which ``to_logits`` guesses.
        """
        self._check(ids, cache, real)
        if cache is not None:
            real = cache.extend(real, *ids.shape)
        mask = _mask(ids.shape[1], 0 if cache is None else cache.length, real)
        x = self.embedding(ids)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, None if cache is None else cache.layers[i])
        return self.norm(x)

    def _check(
        self, ids: Tensor, cache: KeyValueCache | None, real: Tensor | None
    ) -> None:
        _check_ids(ids, self.config)
        if cache is not None:
            self._check_cache(cache)
        n_before = 0 if cache is None else cache.length
        if n_before + ids.shape[1] > self.config.max_len:
            raise ValueError(
                f"{n_before} tokens were read and {ids.shape[1]} come, but max_len is "
                f"{self.config.max_len}: cut the text."
            )
        if real is not None and (real.shape != ids.shape or real.dtype != torch.bool):
            raise ValueError(
                f"real is {real.dtype} of shape {tuple(real.shape)}, but must be "
                f"torch.bool of the shape of ids, {tuple(ids.shape)}."
            )

    def _check_cache(self, cache: KeyValueCache) -> None:
        for what, own, its in (
            ("the sizes", self.config, cache.config),
            ("the number type", self.embedding.weight.dtype, cache.dtype),
        ):
            if own != its:
                raise ValueError(
                    f"the cache has {what} {its}, but the model has {own}: make it "
                    "anew, by KeyValueCache(model.config, ..., dtype)."
                )

    def _start_small(self) -> None:
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                writes = name.endswith(("to_output.weight", "outer.weight"))
                deep = math.sqrt(2 * self.config.n_layers) if writes else 1
                nn.init.normal_(weight, std=START / deep)


def _mask(n_new: int, n_before: int, real: Tensor | None) -> Tensor | None:
    """Let each new token see itself and all real tokens before it."""
    if real is None and n_new == 1:
        return None  # the newest token sees all
    mask = causal_mask(n_before + n_new)[n_before:]  # T, S
    if real is None:
        return mask
    # Padding looks at itself, so that no row is empty; nobody else looks at it.
    itself = torch.eye(n_before + n_new, dtype=torch.bool)[n_before:]
    return mask & real.unsqueeze(1) | itself  # B, T, S

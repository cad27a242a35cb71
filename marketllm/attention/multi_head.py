"""Many attentions side by side."""

from jaxtyping import Float
from torch import Tensor, nn

from marketllm.attention.function import attention, attention_weights
from marketllm.cache import LayerCache
from marketllm.layers import Linear
from marketllm.positions import rotate


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each on its own projections.

    Parameters
    ----------
    d_model : int
        Width of the residual stream, D.
    n_heads : int
        Heads, H. Must divide ``d_model`` where ``d_key`` is not given.
    d_key : int, optional
        Width of one head's queries and keys, E. Default ``d_model // n_heads``.
    d_value : int, optional
        Width of one head's values. Default ``d_key``.
    bias : bool
        Whether the four projections have a bias.
    rotary : bool
        True turns queries and keys by their place (see
        :func:`marketllm.positions.rotate`).
    n_kv_heads : int, optional
        Heads of keys and values, G. Each serves the same number of neighbouring
        query heads: grouped-query attention. Default one for each head.
    base : float
        Base of the rotary angles.

    Raises
    ------
    ValueError
        If ``n_heads`` does not divide ``d_model`` and no ``d_key`` is given, or
        ``n_kv_heads`` does not divide ``n_heads``.

    References
    ----------
    Vaswani et al. (2017), section 3.2.2; Su et al. (2021) for ``rotary``; Ainslie
    et al. (2023), section 2.2, for ``n_kv_heads``.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_key: int | None = None,
        d_value: int | None = None,
        bias: bool = True,
        rotary: bool = False,
        n_kv_heads: int | None = None,
        base: float = 10_000.0,
    ) -> None:
        super().__init__()
        if d_key is None:
            if n_heads < 1 or d_model % n_heads:
                raise ValueError(
                    f"n_heads={n_heads} does not divide d_model={d_model}: "
                    "change one of the two, or give d_key."
                )
            d_key = d_model // n_heads
        d_value = d_key if d_value is None else d_value
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(
                f"n_kv_heads={n_kv_heads} does not divide n_heads={n_heads}: "
                "change one of the two."
            )
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.rotary, self.base = rotary, base
        self.to_query = Linear(d_model, n_heads * d_key, bias)
        self.to_key = Linear(d_model, n_kv_heads * d_key, bias)
        self.to_value = Linear(d_model, n_kv_heads * d_value, bias)
        self.to_output = Linear(n_heads * d_value, d_model, bias)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"] | None = None,
        mask: Tensor | None = None,
        past: LayerCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Look from each token of ``x`` at the tokens of ``memory``.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            The tokens that look.
        memory : Tensor of shape (B, S, D), optional
            The tokens looked at. None is self-attention: ``x`` itself.
        mask : Tensor of bool, broadcasting to (B, T, S), optional
            True where a token may look; the same for every head.
        past : LayerCache, optional
            Keys and values of the tokens before ``x``. Those of ``x`` are put behind
            them, and all are looked at.

        Returns
        -------
        Tensor of shape (B, T, D)

        Raises
        ------
        ValueError
            If a tensor has the wrong width or number of axes, rotary attention or
            one with a past is given a memory, or the past is full; else as for
            :func:`attention_weights`.
        """
        query, key, value = self._project(x, memory, past)
        heads = attention(query, key, value, self._for_groups(mask))  # B, G, R * T, E
        heads = heads.unflatten(2, (-1, x.shape[1])).flatten(1, 2)  # B, H, T, E
        return self.to_output(heads.transpose(1, 2).flatten(2))

    def weights(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"] | None = None,
        mask: Tensor | None = None,
    ) -> Float[Tensor, "B H T S"]:
        """Return each head's attention weights, to be looked at.

        Parameters
        ----------
        x, memory, mask
            As for :meth:`forward`.

        Returns
        -------
        Tensor of shape (B, H, T, S)
            Every row sums to 1.
        """
        query, key, _ = self._project(x, memory)
        weights = attention_weights(query, key, self._for_groups(mask))
        return weights.unflatten(2, (-1, x.shape[1])).flatten(1, 2)

    def _project(
        self, x: Tensor, memory: Tensor | None, past: LayerCache | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries (B, G, R * T, E), keys and values (B, G, S, E).

        The R heads that share keys and values stand one below the other, as if they
        were more queries.
        """
        if memory is not None and memory is not x and (self.rotary or past is not None):
            raise ValueError(
                "rotary places and a past are of 1 text, not 2: give no memory."
            )
        memory = x if memory is None else memory
        self._check_vectors(x=x, memory=memory)
        query = _split(self.to_query(x), self.n_heads)
        key = _split(self.to_key(memory), self.n_kv_heads)
        value = _split(self.to_value(memory), self.n_kv_heads)
        if self.rotary:
            start = 0 if past is None else past.length
            query, key = (rotate(part, self.base, start) for part in (query, key))
        if past is not None:
            key, value = past.append(key, value)
        return query.unflatten(1, (self.n_kv_heads, -1)).flatten(2, 3), key, value

    def _for_groups(self, mask: Tensor | None) -> Tensor | None:
        if mask is None or mask.ndim < 2:
            return mask
        if mask.ndim == 3:
            mask = mask.unsqueeze(1)  # one mask for all heads
        n_shared = self.n_heads // self.n_kv_heads
        if n_shared == 1 or mask.shape[-2] == 1:
            return mask
        return mask.repeat(*[1] * (mask.ndim - 2), n_shared, 1)

    def _check_vectors(self, **tensors: Tensor) -> None:
        d_model = self.to_query.in_features
        for name, tensor in tensors.items():
            if tensor.ndim != 3 or tensor.shape[-1] != d_model:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, but this layer takes "
                    f"(batch, tokens, {d_model}): for one text add a batch axis with "
                    "unsqueeze(0)."
                )


def _split(x: Tensor, n_heads: int) -> Tensor:
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)  # B, H, T, E

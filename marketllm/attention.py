"""Attention: the function, the masks, and many heads side by side.

A mask is boolean and True means "may look". It broadcasts to the scores.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from marketllm.positions import rotate


def causal_mask(n_tokens: int) -> Bool[Tensor, "T T"]:
    """Let each token look at itself and at what came before it.

    Parameters
    ----------
    n_tokens : int
        Length of the sequence, T.

    Returns
    -------
    Tensor of shape (T, T)
        True on and below the diagonal.

    References
    ----------
    Vaswani et al. (2017), section 3.2.3.
    """
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()


def padding_mask(ids: Int[Tensor, "B S"], pad_id: int) -> Bool[Tensor, "B 1 S"]:
    """Hide the padding of a batch from every query.

    Parameters
    ----------
    ids : Tensor of shape (B, S)
        Token ids.
    pad_id : int
        The id that stands for padding.

    Returns
    -------
    Tensor of shape (B, 1, S)
        True where there is a real token.

    Raises
    ------
    ValueError
        If an example is all padding, so that it has no key to look at.
    """
    real = ids != pad_id
    empty = (~real.any(dim=-1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"example {empty[0]} of {len(ids)} is all padding (token id {pad_id}): "
            "its queries would have no key to look at; leave it out of the batch."
        )
    return real.unsqueeze(1)


def attention_weights(
    query: Float[Tensor, "*B T E"],
    key: Float[Tensor, "*B S E"],
    mask: Tensor | None = None,
) -> Float[Tensor, "*B T S"]:
    r"""How much each query takes from each key.

    .. math:: \operatorname{softmax}\left(Q K^\top / \sqrt{d_k}\right)

    Parameters
    ----------
    query : Tensor of shape (..., T, E)
        What each token looks for.
    key : Tensor of shape (..., S, E)
        What each token offers to be found by.
    mask : Tensor of bool, broadcasting to (..., T, S), optional
        True where a query may look at a key.

    Returns
    -------
    Tensor of shape (..., T, S)
        Non-negative; every row sums to 1.

    Raises
    ------
    ValueError
        If the mask is not boolean, does not fit the scores, or leaves a query
        without any key.

    References
    ----------
    Vaswani et al. (2017), section 3.2.1, equation 1.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        _check_mask(mask, scores)
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1)


def attention(
    query: Float[Tensor, "*B T E"],
    key: Float[Tensor, "*B S E"],
    value: Float[Tensor, "*B S D"],
    mask: Tensor | None = None,
) -> Float[Tensor, "*B T D"]:
    r"""Scaled dot-product attention: an average of the values for each query.

    .. math:: \operatorname{softmax}\left(Q K^\top / \sqrt{d_k}\right) V

    Parameters
    ----------
    query : Tensor of shape (..., T, E)
        What each token looks for.
    key : Tensor of shape (..., S, E)
        What each token offers to be found by.
    value : Tensor of shape (..., S, D)
        What each token passes on.
    mask : Tensor of bool, broadcasting to (..., T, S), optional
        True where a query may look at a key.

    Returns
    -------
    Tensor of shape (..., T, D)
        One weighted average of the values for each query.

    Raises
    ------
    ValueError
        As for :func:`attention_weights`.

    References
    ----------
    Vaswani et al. (2017), section 3.2.1, equation 1.
    """
    return attention_weights(query, key, mask) @ value


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

    Raises
    ------
    ValueError
        If ``n_heads`` does not divide ``d_model`` and no ``d_key`` is given.

    References
    ----------
    Vaswani et al. (2017), section 3.2.2; Su et al. (2021) for ``rotary``.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_key: int | None = None,
        d_value: int | None = None,
        bias: bool = True,
        rotary: bool = False,
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
        self.n_heads = n_heads
        self.rotary = rotary
        self.to_query = nn.Linear(d_model, n_heads * d_key, bias)
        self.to_key = nn.Linear(d_model, n_heads * d_key, bias)
        self.to_value = nn.Linear(d_model, n_heads * d_value, bias)
        self.to_output = nn.Linear(n_heads * d_value, d_model, bias)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"] | None = None,
        mask: Tensor | None = None,
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

        Returns
        -------
        Tensor of shape (B, T, D)

        Raises
        ------
        ValueError
            If a tensor has the wrong width or number of axes, or rotary attention
            is given a memory; else as for :func:`attention_weights`.
        """
        memory = x if memory is None else memory
        self._check_vectors(x=x, memory=memory)
        value = self._split(self.to_value(memory))
        heads = self.weights(x, memory, mask) @ value  # B, H, T, E
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
        memory = x if memory is None else memory
        self._check_vectors(x=x, memory=memory)
        query = self._split(self.to_query(x))
        key = self._split(self.to_key(memory))
        if self.rotary:
            if memory is not x:
                raise ValueError("rotary places are of 1 text, not 2: give no memory.")
            query, key = rotate(query), rotate(key)
        if mask is not None and mask.ndim == 3:
            mask = mask.unsqueeze(1)  # one mask for all heads
        return attention_weights(query, key, mask)

    def _check_vectors(self, **tensors: Tensor) -> None:
        d_model = self.to_query.in_features
        for name, tensor in tensors.items():
            if tensor.ndim != 3 or tensor.shape[-1] != d_model:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, but this layer takes "
                    f"(batch, tokens, {d_model}): for one text add a batch axis with "
                    "unsqueeze(0)."
                )

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # B, H, T, E


def _check_mask(mask: Tensor, scores: Tensor) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(
            f"the mask is {mask.dtype}, but it must be torch.bool with True for "
            "'may look': compare it with something, such as ids != pad_id."
        )
    try:
        fits = torch.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, but the scores have shape "
            f"{tuple(scores.shape)}: it must broadcast to (..., queries, keys)."
        )
    if not mask.any(dim=-1).all():
        raise ValueError(
            f"the mask hides all {scores.shape[-1]} keys from at least one of the "
            f"{scores.shape[-2]} queries: softmax over nothing is undefined; "
            "let each query see at least one key."
        )

"""The attention function, and the masks.

A mask is boolean and True means "may look". It broadcasts to the scores.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


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

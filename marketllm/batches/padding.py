"""Sequences of different length in one tensor, and targets moved by one."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

IGNORE = -100  # a target that does not count; PyTorch has the same number


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int = 0, max_len: int | None = None
) -> Int[Tensor, "B T"]:
    """Put sequences of different length into one tensor.

    Parameters
    ----------
    sequences : sequence of sequences of int
        Token ids; each sequence has at least one.
    pad_id : int
        The id that fills up the shorter sequences, on the right.
    max_len : int, optional
        Longer sequences are cut after this many tokens.

    Returns
    -------
    Tensor of shape (B, T)
        The token ids; T is the length of the longest sequence kept.

    Raises
    ------
    ValueError
        If there is no sequence, one of them is empty, or ``max_len`` is below 1.
    """
    if not len(sequences):
        raise ValueError("the batch is empty (0 sequences): give at least one.")
    kept = [torch.tensor(_cut(ids, max_len), dtype=torch.long) for ids in sequences]
    _refuse_empty(kept)
    return torch.nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=pad_id)


def shift_right(target: Int[Tensor, "B T"], start_id: int) -> Int[Tensor, "B T"]:
    """Move a target one place to the right, behind a start token.

    The decoder is given the shifted target and asked for the target itself: at
    each place it has seen everything before, and not the token asked for.

    Parameters
    ----------
    target : Tensor of shape (B, T)
        Token ids to be predicted.
    start_id : int
        The id that stands for the beginning.

    Returns
    -------
    Tensor of shape (B, T)
        The start token and all but the last token of ``target``.

    References
    ----------
    Vaswani et al. (2017), section 3.1.
    """
    start = torch.full_like(target[:, :1], start_id)
    return torch.cat([start, target[:, :-1]], dim=1)


def _cut(ids: Sequence[int], max_len: int | None) -> list[int]:
    if max_len is not None and max_len < 1:
        raise ValueError(f"max_len is {max_len}: give at least 1, or None for all.")
    return list(ids)[:max_len]


def _refuse_empty(sequences: Sequence[Sequence[int] | Tensor]) -> None:
    for i, ids in enumerate(sequences):
        if not len(ids):
            raise ValueError(
                f"sequence {i} of {len(sequences)} has no token: "
                "attention would have nothing to look at; leave it out."
            )

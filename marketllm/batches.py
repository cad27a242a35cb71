"""Sequences of token ids to batches of equal length."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor


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
    for i, ids in enumerate(kept):
        if not len(ids):
            raise ValueError(
                f"sequence {i} of {len(kept)} has no token: "
                "attention would have nothing to look at; leave it out."
            )
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


class LabelledBatches:
    """Batches of padded sequences with their labels, in a new order each epoch.

    Each batch is padded to its own longest sequence. Texts of similar length
    share a batch, which saves most of the padding.

    Parameters
    ----------
    sequences : sequence of sequences of int
        Token ids of each example.
    labels : sequence of int
        The class of each example.
    batch_size : int
        Examples in a batch; the last batch may be smaller.
    pad_id : int
        The id that fills up the shorter sequences.
    max_len : int, optional
        Longer sequences are cut after this many tokens.
    seed : int, optional
        Seed of the order of the batches. None keeps the given order.

    Raises
    ------
    ValueError
        If there is nothing to batch, or sequences and labels differ in number.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        labels: Sequence[int],
        batch_size: int = 32,
        pad_id: int = 0,
        max_len: int | None = None,
        seed: int | None = None,
    ) -> None:
        if len(sequences) != len(labels):
            raise ValueError(
                f"{len(sequences)} sequences but {len(labels)} labels: "
                "give one label for each sequence."
            )
        if not len(sequences):
            raise ValueError("no examples (0 sequences): give at least one.")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: give at least 1.")
        self.sequences = [_cut(ids, max_len) for ids in sequences]
        self.labels = torch.as_tensor(list(labels), dtype=torch.long)
        self.batch_size = batch_size
        self.pad_id = pad_id
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.sequences) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]]:
        for rows in self._chunks():
            ids = pad([self.sequences[i] for i in rows], self.pad_id)
            yield ids, self.labels[rows]

    def _chunks(self) -> list[list[int]]:
        n, size = len(self.sequences), self.batch_size
        order = list(range(n))
        if self._generator is not None:
            # Shuffle, then sort by length: equal lengths stay in random order.
            order = torch.randperm(n, generator=self._generator).tolist()
            order.sort(key=lambda i: len(self.sequences[i]))
        chunks = [order[start : start + size] for start in range(0, n, size)]
        if self._generator is None:
            return chunks
        shuffled = torch.randperm(len(chunks), generator=self._generator).tolist()
        return [chunks[i] for i in shuffled]


def _cut(ids: Sequence[int], max_len: int | None) -> list[int]:
    if max_len is not None and max_len < 1:
        raise ValueError(f"max_len is {max_len}: give at least 1, or None for all.")
    return list(ids)[:max_len]

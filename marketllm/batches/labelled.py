"""Texts with a label each."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from marketllm.batches.padding import _cut, _refuse_empty, pad


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

    Attributes
    ----------
    generator : torch.Generator or None
        Draws the order; its state is all that the next epoch depends on.

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
        _check(sequences, batch_size)
        self.sequences = [_cut(ids, max_len) for ids in sequences]
        self.labels = torch.as_tensor(list(labels), dtype=torch.long)
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.sequences) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]]:
        for rows in _rows(self.sequences, self.batch_size, self.generator):
            ids = pad([self.sequences[i] for i in rows], self.pad_id)
            yield ids, self.labels[rows]


def _check(sequences: Sequence[Sequence[int]], batch_size: int) -> None:
    if not len(sequences):
        raise ValueError("no examples (0 sequences): give at least one.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give at least 1.")
    _refuse_empty(sequences)


def _rows(
    sequences: Sequence[Sequence[int]],
    batch_size: int,
    generator: torch.Generator | None,
) -> list[list[int]]:
    """Say which examples share a batch."""
    n = len(sequences)
    order = list(range(n))
    if generator is not None:
        # Shuffle, then sort by length: equal lengths stay in random order.
        order = torch.randperm(n, generator=generator).tolist()
        order.sort(key=lambda i: len(sequences[i]))
    chunks = [order[start : start + batch_size] for start in range(0, n, batch_size)]
    if generator is None:
        return chunks
    shuffled = torch.randperm(len(chunks), generator=generator).tolist()
    return [chunks[i] for i in shuffled]

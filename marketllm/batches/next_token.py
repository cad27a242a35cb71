"""Running text, each token with the one that follows it."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from marketllm.batches.labelled import _check
from marketllm.batches.padding import IGNORE


class NextTokenBatches:
    """Windows of running text, each token with the token that follows it.

    The sequences stand one behind the other, ``end_id`` behind each, and the end
    of the last one stands before the first: a ring. It is cut into windows. Every
    token, ends included, is the target exactly once an epoch.

    With a seed each epoch cuts at other places and gives the windows in another
    order. Without one the first window starts at the first token. The last window
    cut may be short: it is padded, and its padding is no target.

    Parameters
    ----------
    sequences : sequence of sequences of int
        Token ids of each text.
    length : int
        Tokens in a window, T.
    batch_size : int
        Windows in a batch; the last batch may be smaller.
    end_id : int
        The id that stands for the end of a text.
    seed : int, optional
        Seed of the cuts and the order. None cuts at the start and keeps the order.
    pad_id : int
        The id that fills up the last window.

    Attributes
    ----------
    generator : torch.Generator or None
        Draws cuts and order; its state is all that the next epoch depends on.

    Raises
    ------
    ValueError
        If there is nothing to batch, a text is empty or holds padding, or a size
        is below 1.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        length: int,
        batch_size: int,
        end_id: int,
        seed: int | None = None,
        pad_id: int = 0,
    ) -> None:
        _check(sequences, batch_size)
        if length < 1:
            raise ValueError(f"length is {length}: give at least 1 token.")
        if end_id == pad_id:
            raise ValueError(
                f"end_id and pad_id are both {pad_id}: the end of a text is a token "
                "to learn, padding is not; give them two ids."
            )
        self.ring = torch.cat([torch.tensor([*ids, end_id]) for ids in sequences])
        if (self.ring == pad_id).any():
            raise ValueError(
                f"a text holds the padding id {pad_id}, which attention would not "
                "see: leave padding to the batches."
            )
        self.length = length
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        n_windows = -(-len(self.ring) // self.length)
        return -(-n_windows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
        targets = self.ring
        if self.generator is not None:
            cut = torch.randint(len(targets), (1,), generator=self.generator)
            targets = targets.roll(-int(cut))
        ids = self._windows(targets.roll(1), self.pad_id)  # each stands one earlier
        targets = self._windows(targets, IGNORE)
        order = torch.arange(len(ids))
        if self.generator is not None:
            order = torch.randperm(len(ids), generator=self.generator)
        for rows in order.split(self.batch_size):
            yield ids[rows], targets[rows]

    def _windows(self, stream: Tensor, fill: int) -> Tensor:
        n_missing = -len(stream) % self.length
        stream = torch.nn.functional.pad(stream, (0, n_missing), value=fill)
        return stream.unflatten(0, (-1, self.length))

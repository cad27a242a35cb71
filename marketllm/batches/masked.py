"""Texts with some tokens hidden: BERT's exercise."""

from collections.abc import Collection, Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from marketllm.batches.labelled import _check, _rows
from marketllm.batches.padding import IGNORE, _cut, pad


def corrupt(
    ids: Int[Tensor, "B T"],
    mask_id: int,
    vocab_size: int,
    special_ids: Collection[int],
    generator: torch.Generator,
    share: float = 0.15,
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Hide some tokens of each sequence, as BERT does, and ask for them.

    In each sequence a share of the ordinary tokens is chosen, rounded, and at
    least one. Of the chosen ones 80% become the mask token, 10% a random ordinary
    token, and 10% stay as they are.

    Parameters
    ----------
    ids : Tensor of shape (B, T)
        Token ids.
    mask_id : int
        The id that stands for a hidden token.
    vocab_size : int
        Number of different token ids, V.
    special_ids : collection of int
        Ids that are never chosen and never drawn: padding, end, mask.
    generator : torch.Generator
        Draws everything.
    share : float
        Share of the ordinary tokens that is chosen, above 0 and up to 1.

    Returns
    -------
    tuple of Tensor of shape (B, T)
        The corrupted ids, and the targets: the true id where a token was chosen,
        :data:`IGNORE` everywhere else.

    Raises
    ------
    ValueError
        If the share is impossible, the mask is no special id, the vocabulary has
        no ordinary token, or a sequence has none.

    References
    ----------
    Devlin et al. (2019), section 3.1, task 1. The number in each sequence, rounded
    and at least one, is that of BERT's code (``create_pretraining_data.py``).
    """
    special = torch.tensor(sorted(special_ids))
    ordinary = torch.arange(vocab_size)
    ordinary = ordinary[~torch.isin(ordinary, special)]
    candidates = ~torch.isin(ids, special)
    _check_corruption(mask_id, special_ids, share, ordinary, candidates)
    n_chosen = (share * candidates.sum(dim=1).double()).round().clamp(min=1)
    # The dtype is named so that the default dtype does not change the draws.
    draws = torch.rand(ids.shape, generator=generator, dtype=torch.float64)
    rank = draws.masked_fill(~candidates, 2).argsort(dim=1).argsort(dim=1)
    chosen = rank < n_chosen.unsqueeze(1)
    fate = torch.rand(ids.shape, generator=generator, dtype=torch.float64)
    other = torch.randint(len(ordinary), ids.shape, generator=generator)
    corrupted = ids.where(~chosen | (fate >= 0.8), mask_id)
    corrupted = corrupted.where(~chosen | (fate < 0.8) | (fate >= 0.9), ordinary[other])
    return corrupted, ids.where(chosen, IGNORE)


class MaskedBatches:
    """Texts with some tokens hidden, and the hidden tokens as targets.

    Each epoch hides others and has another order. Texts of similar length share a
    batch. For the same batches at every pass, keep them: ``list(batches)``.

    Parameters
    ----------
    sequences : sequence of sequences of int
        Token ids of each text.
    batch_size : int
        Texts in a batch; the last batch may be smaller.
    mask_id : int
        The id that stands for a hidden token.
    vocab_size : int
        Number of different token ids, V.
    seed : int
        Seed of the order and of what is hidden.
    share : float
        Share of the ordinary tokens that is chosen, above 0 and up to 1.
    max_len : int, optional
        Longer texts are cut after this many tokens.
    special_ids : collection of int
        Ids that are never chosen and never drawn; the mask and padding are among
        them. The default is padding, end and mask of our byte-pair tokenizer.
    pad_id : int
        The id that fills up the shorter texts.

    Attributes
    ----------
    generator : torch.Generator
        Draws everything; its state is all that the next epoch depends on.

    Raises
    ------
    ValueError
        If there is nothing to batch; as for :func:`corrupt` when passed through.

    References
    ----------
    Devlin et al. (2019), section 3.1, task 1. Hiding others each epoch is from Liu
    et al. (2019), section 4.1.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        batch_size: int,
        mask_id: int,
        vocab_size: int,
        seed: int,
        share: float = 0.15,
        max_len: int | None = None,
        special_ids: Collection[int] = (0, 1, 2),
        pad_id: int = 0,
    ) -> None:
        _check(sequences, batch_size)
        if pad_id not in special_ids:
            raise ValueError(
                f"pad_id={pad_id} is not among the special ids {tuple(special_ids)}: "
                "add it, or padding would be hidden and asked for."
            )
        self.sequences = [_cut(ids, max_len) for ids in sequences]
        self.batch_size = batch_size
        self.mask_id = mask_id
        self.vocab_size = vocab_size
        self.share = share
        self.special_ids = special_ids
        self.pad_id = pad_id
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.sequences) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
        for rows in _rows(self.sequences, self.batch_size, self.generator):
            yield corrupt(
                pad([self.sequences[i] for i in rows], self.pad_id),
                self.mask_id,
                self.vocab_size,
                self.special_ids,
                self.generator,
                self.share,
            )


def _check_corruption(
    mask_id: int,
    special_ids: Collection[int],
    share: float,
    ordinary: Tensor,
    candidates: Tensor,
) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}: give a share, 0 < share <= 1.")
    if mask_id not in special_ids:
        raise ValueError(
            f"mask_id={mask_id} is not among the special ids {tuple(special_ids)}: "
            "add it, or the mask itself would be hidden and drawn."
        )
    if not len(ordinary):
        raise ValueError(
            f"the special ids {tuple(special_ids)} leave no ordinary token to draw: "
            "is vocab_size right?"
        )
    empty = (~candidates.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"sequence {empty[0]} of {len(candidates)} has no ordinary token, so "
            "nothing can be hidden in it: leave it out."
        )

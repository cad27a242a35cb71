"""From logits to the probabilities that the next token is drawn with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from a model's logits.

    The four settings act in the order in which Hugging Face applies them: the
    penalty, the temperature, ``top_k``, ``top_p``.

    Parameters
    ----------
    temperature : float
        1 draws from the model's own distribution, more is bolder, less keeps
        closer to the likeliest token, and 0 takes it.
    top_k : int, optional
        Draw from this many likeliest tokens; those level with the last of them
        stay too. None draws from all.
    top_p : float
        Draw from the smallest set of likeliest tokens whose probabilities add up
        to this much; at least one stays. 1 draws from all.
    repetition_penalty : float
        The logit of each token that the text holds is divided by this if it is
        positive, multiplied if it is negative. 1 does nothing, more makes
        repeating harder.

    Raises
    ------
    ValueError
        If a setting is impossible.

    References
    ----------
    Hinton, Vinyals and Dean (2015), section 2, equation 1, for the temperature;
    Fan, Lewis and Dauphin (2018), section 5, for ``top_k``; Holtzman et al. (2020),
    section 3.1, for ``top_p``; Keskar et al. (2019), section 4.1, for the penalty.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature is {self.temperature}: give 0 (the likeliest token) or "
                "more."
            )
        if self.top_k is not None and (
            isinstance(self.top_k, bool)
            or not isinstance(self.top_k, Integral)
            or self.top_k < 1
        ):
            raise ValueError(
                f"top_k is {self.top_k!r}: give a whole number of at least 1, or None "
                "for all tokens."
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p is {self.top_p}, but it is a probability to reach: give "
                "0 < top_p <= 1."
            )
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"repetition_penalty is {self.repetition_penalty}, and logits are "
                "divided by it: give more than 0; 1 does nothing."
            )


GREEDY = Sampling(temperature=0.0)


def next_probabilities(
    logits: Float[Tensor, "B V"],
    sampling: Sampling,
    ids: Sequence[Sequence[int]] | None = None,
) -> Float[Tensor, "B V"]:
    r"""Turn logits into the probabilities of the next token.

    .. math:: p = \operatorname{softmax}(z / temperature)

    over the tokens that ``top_k`` and ``top_p`` leave; all others get 0.

    Parameters
    ----------
    logits : Tensor of shape (B, V)
        A model's scores for the next token of each text. A token with a logit of
        minus infinity stays impossible.
    sampling : Sampling
        How to choose. Temperature 0 gives all probability to one token.
    ids : sequence of sequences of int, optional
        The tokens of each text so far, for the repetition penalty.

    Returns
    -------
    Tensor of shape (B, V)
        Each row sums to 1.

    Raises
    ------
    ValueError
        If a row has no largest finite logit, or there is a penalty and not one
        list of ids for each row.
    """
    if sampling.repetition_penalty != 1:
        logits = _penalise(logits, sampling.repetition_penalty, ids)
    largest = logits.amax(dim=-1, keepdim=True)
    if not largest.isfinite().all():
        row = int((~largest.isfinite()).flatten().nonzero()[0])
        raise ValueError(
            f"the largest logit of row {row} is {largest[row].item()}: no token can be "
            "chosen. Has the training of the model diverged?"
        )
    if sampling.temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0)
    # The largest becomes 0 first, and the temperature stays a number of this type:
    # so the least one cannot overflow, nor the largest wake a forbidden token.
    limits = torch.finfo(logits.dtype)
    logits = (logits - largest) / min(
        max(sampling.temperature, limits.tiny), limits.max
    )
    if sampling.top_k is not None:
        k = min(sampling.top_k, logits.shape[-1])
        last = logits.topk(k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < last, -math.inf)
    if sampling.top_p < 1:
        logits = _keep_top_p(logits, sampling.top_p)
    return logits.softmax(dim=-1)


def _penalise(
    logits: Tensor, penalty: float, ids: Sequence[Sequence[int]] | None
) -> Tensor:
    if ids is None or len(ids) != len(logits):
        raise ValueError(
            f"there are {len(logits)} rows of logits and "
            f"{'no' if ids is None else len(ids)} lists of ids: the repetition penalty "
            "needs the tokens of each text so far."
        )
    seen = torch.zeros_like(logits, dtype=torch.bool)
    for row, text in zip(seen, ids, strict=True):
        row[torch.tensor(text, dtype=torch.long, device=row.device)] = True
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)


def _keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    ascending, order = logits.sort(dim=-1)
    # What all less likely tokens and this one have: up to 1 - top_p it can go.
    reached = ascending.softmax(dim=-1).cumsum(dim=-1)
    dropped = reached <= 1 - top_p
    dropped[:, -1] = False
    return logits.masked_fill(dropped.scatter(-1, order, dropped), -math.inf)

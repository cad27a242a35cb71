"""What training makes small."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.batches import IGNORE


def log_sum_exp(logits: Float[Tensor, "*B C"]) -> Float[Tensor, "*B"]:
    r"""Logarithm of a sum of exponentials, for logits of any size.

    .. math:: \log \sum_c e^{z_c} = m + \log \sum_c e^{z_c - m}, \qquad m = \max_c z_c

    No exponent on the right is above 0 and one of them is 0, so nothing overflows and
    the logarithm is not taken of 0.

    Parameters
    ----------
    logits : Tensor of shape (..., C)
        The numbers z. Minus infinity adds nothing to the sum.

    Returns
    -------
    Tensor of shape (...)
        One number a row; minus infinity where the whole row is that.

    References
    ----------
    Goodfellow, Bengio and Courville (2016), section 4.1.
    """
    top = logits.detach().amax(dim=-1, keepdim=True)
    top = top.where(top.isfinite(), 0.0)
    return (logits - top).exp().sum(dim=-1).log() + top.squeeze(-1)


def cross_entropy(
    logits: Float[Tensor, "*B C"],
    targets: Int[Tensor, "*B"],
    ignore_id: int | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    r"""Average surprise at the true classes, in nats.

    .. math:: -\frac{1}{N} \sum_n \sum_c q_{nc} \log \operatorname{softmax}(z_n)_c

    where :math:`q_n` is 1 at the true class and 0 elsewhere. With label smoothing s it
    is s/C everywhere, and 1 - s more at the true class.

    Parameters
    ----------
    logits : Tensor of shape (..., C)
        Scores of the C classes.
    targets : Tensor of shape (...)
        The true class of each row.
    ignore_id : int, optional
        Rows with this target do not count: padding, for example.
    label_smoothing : float
        Share s of each target that is spread evenly over all classes, 0 <= s < 1.

    Returns
    -------
    Tensor of shape ()
        The mean over the rows that count.

    Raises
    ------
    ValueError
        If the shapes do not fit, a target is no class, no row counts, or the share is
        impossible.

    References
    ----------
    Goodfellow, Bengio and Courville (2016), section 6.2.2.3. Label smoothing: Szegedy
    et al. (2016), section 7.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and targets "
            f"{tuple(targets.shape)}: targets need one class for each row of logits."
        )
    if targets.is_floating_point():
        raise ValueError(
            f"targets have type {targets.dtype}: a class is a whole number, from 0 to "
            f"{logits.shape[-1] - 1}."
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"label_smoothing is {label_smoothing}: give a share, "
            "0 <= label_smoothing < 1."
        )
    counted = torch.ones_like(targets, dtype=torch.bool)
    if ignore_id is not None:
        counted = targets != ignore_id
    rows, classes = logits[counted], targets[counted].long()
    if not len(classes):
        raise ValueError(
            f"none of the {targets.numel()} targets counts (ignore_id={ignore_id}): "
            "the mean over nothing is undefined; give at least one."
        )
    n_classes = logits.shape[-1]
    wrong = classes[(classes < 0) | (classes >= n_classes)]
    if len(wrong):
        raise ValueError(
            f"target {int(wrong[0])} is no class: with {n_classes} logits a row, "
            f"targets run from 0 to {n_classes - 1}."
        )
    # A constant changes no probability; near 0 the logits have the finest steps.
    rows = rows - rows.detach().amax(dim=-1, keepdim=True)
    log_shares = rows - log_sum_exp(rows).unsqueeze(-1)
    surprise = -log_shares.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    if label_smoothing:
        spread = -log_shares.mean(dim=-1)
        surprise = (1 - label_smoothing) * surprise + label_smoothing * spread
    return surprise.mean()


def mean_squared_error(
    predictions: Float[Tensor, "*N"], targets: Float[Tensor, "*N"]
) -> Float[Tensor, ""]:
    """Average squared difference between predictions and what they should be.

    Parameters
    ----------
    predictions, targets : Tensor of one shape
        Numbers on one scale, such as ratings.

    Returns
    -------
    Tensor of shape ()
        The mean over all entries, in the square of their unit.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no entry.

    References
    ----------
    Goodfellow, Bengio and Courville (2016), section 5.1.4.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions have shape {tuple(predictions.shape)} and targets "
            f"{tuple(targets.shape)}: give one target for each prediction, in one "
            "shape, or each would be compared with others' targets."
        )
    if not targets.numel():
        raise ValueError(
            "there are 0 predictions: the mean over nothing is undefined; "
            "give at least one."
        )
    return (predictions - targets).square().mean()


def perplexity(surprise: float) -> float:
    """Give the number of equally likely choices that would surprise as much.

    Parameters
    ----------
    surprise : float
        Average surprise (cross-entropy) in nats.

    Returns
    -------
    float
        e to the power of it: 1 for perfect knowledge, V for a blind guess among V.

    Raises
    ------
    ValueError
        If the surprise is below 0, which no probability can bring about.
    """
    if surprise < 0:
        raise ValueError(
            f"surprise is {surprise} nats, but a probability is at most 1 and its "
            "surprise at least 0: give an average of -log(probability)."
        )
    return torch.tensor(surprise, dtype=torch.float64).exp().item()


def classification_loss(
    model: nn.Module, batch: tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]
) -> Float[Tensor, ""]:
    """Cross-entropy of a classifier on one batch.

    Parameters
    ----------
    model : nn.Module
        Maps token ids of shape (B, T) to logits of shape (B, C).
    batch : tuple of Tensor
        Token ids of shape (B, T) and classes of shape (B,).

    Returns
    -------
    Tensor of shape ()
        The mean over the batch, in nats.
    """
    ids, labels = batch
    return cross_entropy(model(ids), labels)


def token_loss(
    model: nn.Module, batch: tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]
) -> Float[Tensor, ""]:
    """Cross-entropy of a language model on one batch, causal or masked.

    Parameters
    ----------
    model : nn.Module
        Maps token ids of shape (B, T) to logits of shape (B, T, V).
    batch : tuple of Tensor
        Token ids and targets of shape (B, T): the token that should stand at each
        place, or `IGNORE` where nothing is asked.

    Returns
    -------
    Tensor of shape ()
        The mean over the tokens that are asked for, in nats.
    """
    ids, targets = batch
    return cross_entropy(model(ids), targets, ignore_id=IGNORE)


def _hidden_token_loss(
    model: Any, batch: tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]
) -> Float[Tensor, ""]:
    """Compute what `token_loss` does, and score the vocabulary at hidden tokens only.

    The model is a `MaskedLanguageModel`; most logits of it would not be looked at.
    """
    ids, targets = batch
    asked = targets != IGNORE
    table = model.body.embedding.tokens.weight
    return cross_entropy(model.body(ids)[asked] @ table.T + model.bias, targets[asked])

"""What training makes small."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def cross_entropy(
    logits: Float[Tensor, "*B C"],
    targets: Int[Tensor, "*B"],
    ignore_id: int | None = None,
) -> Float[Tensor, ""]:
    r"""Average surprise at the true classes, in nats.

    .. math:: -\frac{1}{N} \sum_n \log \operatorname{softmax}(z_n)_{y_n}

    Parameters
    ----------
    logits : Tensor of shape (..., C)
        Scores of the C classes.
    targets : Tensor of shape (...)
        The true class of each row.
    ignore_id : int, optional
        Rows with this target do not count: padding, for example.

    Returns
    -------
    Tensor of shape ()
        The mean over the rows that count.

    Raises
    ------
    ValueError
        If a target is no class, or no row counts.

    References
    ----------
    Goodfellow, Bengio and Courville (2016), section 6.2.2.3.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and targets "
            f"{tuple(targets.shape)}: targets need one class for each row of logits."
        )
    counted = torch.ones_like(targets, dtype=torch.bool)
    if ignore_id is not None:
        counted = targets != ignore_id
    rows, classes = logits[counted], targets[counted]
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
    log_total = rows.logsumexp(dim=-1)
    log_true = rows.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    return (log_total - log_true).mean()


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

"""How well a language model foretells text."""

from collections.abc import Iterable

from jaxtyping import Int
from torch import Tensor, nn

from marketllm.losses import token_loss
from marketllm.training import mean_loss


def mean_surprise(
    model: nn.Module, batches: Iterable[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]
) -> float:
    """Average the surprise of a model over all tokens that count.

    Each token weighs the same, whatever batch it is in: a mean over the means of
    batches would give those of short batches more weight. The exponential of the
    result is the perplexity.

    Parameters
    ----------
    model : nn.Module
        Maps token ids of shape (B, T) to logits of shape (B, T, V); put into
        evaluation mode.
    batches : iterable of tuple of Tensor of shape (B, T)
        Token ids and targets; targets of :data:`marketllm.batches.IGNORE` do not
        count.

    Returns
    -------
    float
        Nats per token that counts.

    Raises
    ------
    ValueError
        If there are no batches, or a batch in which nothing counts.

    References
    ----------
    Jelinek et al. (1977) for perplexity.
    """
    return mean_loss(model, batches, token_loss)

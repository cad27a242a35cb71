"""Writing: one token at a time, each put behind the text and read again."""

import math

import torch
from jaxtyping import Int
from torch import Tensor

from marketllm.models import GPT


@torch.no_grad()
def generate(
    model: GPT,
    ids: Int[Tensor, "B T"],
    n_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "B S"]:
    r"""Continue texts with tokens drawn from the model.

    .. math:: p = \operatorname{softmax}(z / temperature)

    Where the text has grown longer than the model reads, it reads the end of it.
    Padding is never drawn.

    Parameters
    ----------
    model : GPT
        Reads the ids and scores the next one; left in the mode it was in.
    ids : Tensor of shape (B, T)
        Texts to continue, all of the same length.
    n_tokens : int
        Tokens to write.
    temperature : float
        1 draws from the model's own distribution, more is bolder, less keeps
        closer to the likeliest token, and 0 takes it.
    generator : torch.Generator, optional
        Draws the tokens. None is torch's global one.

    Returns
    -------
    Tensor of shape (B, T + n_tokens)
        The texts and what was written.

    Raises
    ------
    ValueError
        If a number is impossible, a text holds padding, or as for the model.

    References
    ----------
    Hinton, Vinyals and Dean (2015), section 2, equation 1, for the temperature.
    """
    if n_tokens < 1:
        raise ValueError(f"n_tokens is {n_tokens}: give at least 1.")
    if not 0 <= temperature < math.inf:
        raise ValueError(
            f"temperature is {temperature}: give 0 (the likeliest token) or more."
        )
    pad_id, max_len = model.config.pad_id, model.config.max_len
    if (ids == pad_id).any():
        raise ValueError(
            f"a text holds padding (id {pad_id}), and nothing can be written behind "
            "it: give texts of one length, or one at a time."
        )
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for _ in range(n_tokens):
            logits = model(ids[..., -max_len:])[:, -1]
            logits = logits.index_fill(1, ids.new_tensor([pad_id]), -math.inf)
            ids = torch.cat([ids, _draw(logits, temperature, generator)], dim=1)
    finally:
        for module, training in modes.items():
            module.training = training
    return ids


def _draw(
    logits: Tensor, temperature: float, generator: torch.Generator | None
) -> Tensor:
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    # The largest becomes 0 first, so that a tiny temperature cannot overflow.
    logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)

"""Looking inside a model: what it carries, where it looks, what it would guess.

Everything here only watches: nothing is trained, and the model stays as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from marketllm.attention import MultiHeadAttention
from marketllm.models import Encoder, Llama

ROWS = 128  # places read off at once: a row has one number for each token there is


@dataclass(frozen=True)
class LogitLens:
    """What each layer would guess if it were the last one.

    The first axis counts the layers that were passed, from 0 (the embedding) to L.
    P are the places looked at, K the best guesses that were kept.

    Parameters
    ----------
    top_ids : Tensor of shape (L + 1, B, P, K)
        The best guesses at the next token, the likeliest first.
    top_log_probabilities : Tensor of shape (L + 1, B, P, K)
        Their log-probabilities, in nats.
    target_log_probabilities : Tensor of shape (L + 1, B, P)
        Those of the targets; with the sign turned, the surprise.
    target_ranks : Tensor of shape (L + 1, B, P)
        Tokens that are held for likelier than the target: 0 is the best guess.
    """

    top_ids: Int[Tensor, "L1 B P K"]
    top_log_probabilities: Float[Tensor, "L1 B P K"]
    target_log_probabilities: Float[Tensor, "L1 B P"]
    target_ranks: Int[Tensor, "L1 B P"]


def residual_stream(
    model: Llama | Encoder, ids: Int[Tensor, "B T"]
) -> Float[Tensor, "L1 B T D"]:
    """Return the vectors of a text before the first block and after each block.

    Parameters
    ----------
    model : Llama or Encoder
        The model, in eval mode.
    ids : Tensor of shape (B, T)
        Token ids; padded on the right, if at all.

    Returns
    -------
    Tensor of shape (L + 1, B, T, D)
        First what the embedding gives, last what goes into the model's last norm:
        ``model.norm`` of it is what the model works with. No gradients.

    Raises
    ------
    ValueError
        If the model is of another kind or in training mode, or it refuses the ids.

    References
    ----------
    Elhage et al. (2021) for the name.
    """
    _require_known(model)
    seen: list[Tensor] = []
    hooks = [
        part.register_forward_hook(lambda _part, _inputs, x: seen.append(x))
        for part in (model.embedding, *model.blocks)
    ]
    _run(model, ids, hooks)
    return torch.stack(seen)


def attention_maps(
    model: Llama | Encoder, ids: Int[Tensor, "B T"]
) -> Float[Tensor, "L B H T T"]:
    """Return the weights of every head of every layer over a text.

    Parameters
    ----------
    model : Llama or Encoder
        The model, in eval mode.
    ids : Tensor of shape (B, T)
        Token ids; padded on the right, if at all.

    Returns
    -------
    Tensor of shape (L, B, H, T, T)
        Each row is a token that looks and sums to 1; each column is a token that is
        looked at. The maps take 4 * L * B * H * T * T bytes. No gradients.

    Raises
    ------
    ValueError
        If the model is of another kind or in training mode, or it refuses the ids.
    """
    _require_known(model)
    maps: list[Tensor] = []

    def look(part: Any, inputs: Any, options: Any, _output: Tensor) -> None:
        maps.append(part.weights(*inputs, mask=options["mask"]))

    hooks = [
        part.register_forward_hook(look, with_kwargs=True)
        for part in model.modules()
        if isinstance(part, MultiHeadAttention)
    ]
    _run(model, ids, hooks)
    return torch.stack(maps)


def logit_lens(
    model: Llama,
    ids: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"] | None = None,
    places: Sequence[int] | None = None,
    n_top: int = 1,
) -> LogitLens:
    """Read each layer's vectors as if they were the last: norm, then logits.

    All logits of a text would be (L + 1) * T * V numbers, 6 GB for 1,000 tokens of a
    model of 30 layers and 49,152 tokens. What is kept is the best guesses, and how
    the targets fare. Reading a place off at all layers costs several times as much
    as running the model over it.

    Parameters
    ----------
    model : Llama
        The model, in eval mode.
    ids : Tensor of shape (B, T)
        Token ids; padded on the right, if at all.
    targets : Tensor of shape (B, T), optional
        For each place the token that is followed through the layers. Default is what
        the model itself guesses there in the end. For the true next token give
        ``ids.roll(-1, dims=1)``; the last place then has no truth.
    places : sequence of int, optional
        The P places to look at, from 0 to T - 1. Default is all.
    n_top : int
        How many best guesses are kept, K.

    Returns
    -------
    LogitLens
        Guesses of the embedding, of each block, and last of the model itself.

    Raises
    ------
    ValueError
        If the model is no Llama or in training mode, it refuses the ids, or targets,
        places or ``n_top`` do not fit.

    References
    ----------
    nostalgebraist (2020); Belrose et al. (2023) on where it misleads.
    """
    _require_known(model)
    if not isinstance(model, Llama):
        raise ValueError(
            f"{type(model).__name__} makes vectors and no logits, so there is no guess "
            "to read: the logit lens takes a Llama."
        )
    if not 1 <= n_top <= model.config.vocab_size:
        raise ValueError(
            f"n_top is {n_top}: give 1 to {model.config.vocab_size}, the vocabulary."
        )
    states = residual_stream(model, ids)
    n_places = ids.shape[1]
    chosen = list(range(n_places)) if places is None else list(places)
    if not chosen or min(chosen) < 0 or max(chosen) >= n_places:
        raise ValueError(
            f"places are {chosen}, but the text has the places 0 to {n_places - 1}: "
            "give at least one of them."
        )
    states = states[:, :, chosen]
    if targets is None:
        with torch.no_grad():
            wanted = _best(model, states[-1])
    else:
        wanted = _check_targets(targets, ids, model.config.vocab_size)[:, chosen]
    rows = states.flatten(0, 2)  # (L + 1) * B * P, D
    every = wanted.expand(len(states), -1, -1).flatten()
    read = [
        _read(model, *part, n_top)
        for part in zip(rows.split(ROWS), every.split(ROWS), strict=True)
    ]
    shape = states.shape[:3]
    return LogitLens(
        *(torch.cat(p).unflatten(0, shape) for p in zip(*read, strict=True))
    )


def _best(model: Llama, states: Tensor) -> Tensor:
    parts = states.flatten(0, 1).split(ROWS)
    best = torch.cat([model.to_logits(model.norm(p)).argmax(dim=-1) for p in parts])
    return best.unflatten(0, states.shape[:2])


def _read(
    model: Llama, x: Tensor, wanted: Tensor, n_top: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.no_grad():
        logits = model.to_logits(model.norm(x))  # rows, V
    total = logits.logsumexp(dim=-1, keepdim=True)
    top = logits.topk(n_top, dim=-1)
    own = logits.gather(-1, wanted.unsqueeze(-1))
    ranks = (logits > own).sum(dim=-1)
    return top.indices, top.values - total, (own - total).squeeze(-1), ranks


def _run(model: Llama | Encoder, ids: Tensor, hooks: list[RemovableHandle]) -> None:
    """Let the model read the text, and take the hooks off whatever happens."""
    try:
        with torch.no_grad():
            model.states(ids) if isinstance(model, Llama) else model(ids)
    finally:
        for hook in hooks:
            hook.remove()


def _require_known(model: nn.Module) -> None:
    if not isinstance(model, Llama | Encoder):
        inner = "its part .body" if hasattr(model, "body") else "one of the two"
        raise ValueError(
            f"{type(model).__name__} is no model that can be looked into here, only "
            f"Llama and Encoder are: give {inner}."
        )
    if model.training:
        raise ValueError(
            f"the {type(model).__name__} is in training mode, where dropout makes each "
            "look another: call model.eval() first."
        )


def _check_targets(targets: Tensor, ids: Tensor, vocab_size: int) -> Tensor:
    if targets.shape != ids.shape:
        raise ValueError(
            f"targets have shape {tuple(targets.shape)}, but ids have shape "
            f"{tuple(ids.shape)}: give one target for each place."
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"target {low if low < 0 else high} is outside the vocabulary: ids run "
            f"from 0 to {vocab_size - 1}."
        )
    return targets

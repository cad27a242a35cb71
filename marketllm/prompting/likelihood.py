"""How likely some words are behind each of many texts that begin alike."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from marketllm.cache import KeyValueCache
from marketllm.generation.text import _require_own
from marketllm.models import Llama
from marketllm.tokenizer import BytePairTokenizer


def _require_llama(model: Llama, tokenizer: BytePairTokenizer) -> None:
    """Refuse a model that has no cache, and the tokenizer of another one."""
    if not isinstance(model, Llama):
        raise ValueError(f"the model is a {type(model).__name__}: give a Llama.")
    _require_own(model, tokenizer)


@torch.no_grad()
def _read(model: Llama, prefix: list[int]) -> KeyValueCache:
    """Read what all texts begin with; it may be nothing."""
    dtype = model.embedding.weight.dtype
    past = KeyValueCache(model.config, 1, max(len(prefix), 1), dtype)
    if prefix:
        model.states(torch.tensor([prefix]), past)
    return past


def _word_likelihood(
    model: Llama,
    past: KeyValueCache,
    suffixes: Sequence[list[int]],
    words: Sequence[list[int]],
    batch_size: int,
) -> Float[np.ndarray, "N C"]:
    """Give log p(word | prefix, suffix) for each suffix and each word, in nats."""
    scores = np.empty((len(suffixes), len(words)))
    # Texts of like length together: little padding.
    order = np.argsort([len(suffix) for suffix in suffixes], kind="stable")
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        found = _batch_likelihood(model, past, [suffixes[i] for i in batch], words)
        scores[batch] = found.numpy()
    return scores


@torch.no_grad()
def _batch_likelihood(
    model: Llama,
    past: KeyValueCache,
    suffixes: list[list[int]],
    words: Sequence[list[int]],
) -> Float[Tensor, "B C"]:
    """Read each suffix once for all words of one token, and once for each other.

    Padding stands on the right: on the left it would move the suffix away from the
    prefix. A word of several tokens cannot follow it there, so it is read with it.
    """
    # Half precision is too coarse for sums of logarithms, and unknown to NumPy.
    dtype = torch.promote_types(model.embedding.weight.dtype, torch.float32)
    scores = torch.empty(len(suffixes), len(words), dtype=dtype)
    ends = torch.tensor([len(suffix) - 1 for suffix in suffixes])
    for head in dict.fromkeys(tuple(word[:-1]) for word in words):
        ids = _pad_right([[*suffix, *head] for suffix in suffixes])
        states = model.states(ids, past.fork(len(ids), past.length + ids.shape[1]))
        places = ends[:, None] + torch.arange(len(head) + 1)
        states = states[torch.arange(len(ids))[:, None], places]  # B, word, D
        found = model.to_logits(states).log_softmax(dim=-1, dtype=dtype)
        for c, word in enumerate(words):
            if tuple(word[:-1]) == head:
                scores[:, c] = found[:, range(len(word)), word].sum(dim=1)
    return scores


def _pad_right(rows: list[list[int]]) -> Int[Tensor, "B T"]:
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])

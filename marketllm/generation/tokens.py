"""Token ids behind token ids: a batch of texts continued, with and without a cache."""

from collections.abc import Collection, Iterator, Sequence
from operator import index

import torch
from torch import Tensor

from marketllm.batches import pad
from marketllm.cache import KeyValueCache
from marketllm.generation.sampling import Sampling, next_probabilities
from marketllm.models import GPT, Llama
from marketllm.models.reading import _reading

AS_TRAINED = Sampling()


def generate(
    model: GPT | Llama,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    sampling: Sampling = AS_TRAINED,
    end_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
    cached: bool = True,
) -> list[list[int]]:
    """Continue texts, one token at a time, all of them side by side.

    A Llama reads each token once and keeps its keys and values. A GPT has no
    cache: it reads the whole text again for each token, and the end of it where
    the text has grown longer than ``max_len``. Its padding token is never drawn.

    What a text becomes does not depend on its neighbours, as long as no chance is
    involved. Where tokens are drawn, all texts share one generator, and what it
    deals to a text depends on how many there are.

    Parameters
    ----------
    model : GPT or Llama
        Reads the ids and scores the next one; left in the mode it was in.
    prompts : sequence of sequences of int
        Token ids of each text; the lengths may differ.
    n_tokens : int
        The most tokens to write behind each.
    sampling : Sampling
        How a token is chosen; ``GREEDY`` takes the likeliest.
    end_ids : collection of int
        Tokens that end a text.
    generator : torch.Generator, optional
        Draws the tokens. None is torch's global one.
    cached : bool
        False makes a Llama read everything again for each token, as a GPT does.

    Returns
    -------
    list of list of int
        The new tokens of each text, without the one that ended it.

    Raises
    ------
    ValueError
        If there is nothing to go on from, an id is outside the vocabulary, a text
        holds a GPT's padding, ``n_tokens`` is below 1, or a Llama has no room.
    """
    if isinstance(end_ids, int):
        raise ValueError(f"end_ids is {end_ids}: give a list of ids, [{end_ids}].")
    drawn = _draw(model, prompts, n_tokens, sampling, generator, cached)
    written: list[list[int]] = [[] for _ in prompts]
    going = set(range(len(prompts)))
    for tokens in drawn:
        for row in list(going):
            if tokens[row] in end_ids:
                going.remove(row)
            else:
                written[row].append(tokens[row])
        if not going:
            break
    return written


def _draw(
    model: GPT | Llama,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    sampling: Sampling,
    generator: torch.Generator | None,
    cached: bool = True,
) -> Iterator[list[int]]:
    """Check what is asked for; then give one more token of each text at a time."""
    if not isinstance(model, GPT | Llama):
        raise ValueError(
            f"the model is a {type(model).__name__}, which does not guess the next "
            "token: give a GPT or a Llama."
        )
    if not isinstance(n_tokens, int) or n_tokens < 1:
        raise ValueError(f"n_tokens is {n_tokens}: give a whole number of at least 1.")
    try:
        texts = [[index(i) for i in ids] for ids in prompts]
    except TypeError as error:
        raise ValueError(
            f"the prompts are no lists of token ids ({error}): encode each text with "
            "the tokenizer, and give a list of the results."
        ) from error
    if not texts:
        raise ValueError("there are 0 prompts: give at least one.")
    for i, ids in enumerate(texts):
        _check(model, f"prompt {i} of {len(texts)}", ids, n_tokens)
    return _drawn(model, texts, n_tokens, sampling, generator, cached)


def _drawn(
    model: GPT | Llama,
    texts: list[list[int]],
    n_tokens: int,
    sampling: Sampling,
    generator: torch.Generator | None,
    cached: bool,
) -> Iterator[list[int]]:
    cache = None
    if cached and isinstance(model, Llama):
        room = max(map(len, texts)) + n_tokens - 1  # the last token is never read
        dtype = next(model.parameters()).dtype
        cache = KeyValueCache(model.config, len(texts), room, dtype)
    for _ in range(n_tokens):
        with _reading(model):
            logits = _read(model, texts, cache)
        chances = next_probabilities(logits, sampling, texts)
        if sampling.temperature == 0:
            tokens = chances.argmax(dim=-1).tolist()
        else:
            tokens = torch.multinomial(chances, 1, generator=generator)[:, 0].tolist()
        for text, token in zip(texts, tokens, strict=True):
            text.append(token)
        yield tokens


def _read(
    model: GPT | Llama, texts: list[list[int]], cache: KeyValueCache | None
) -> Tensor:
    """Give the logits of the token after each text, shape (B, V)."""
    if cache is not None and isinstance(model, Llama):
        if cache.length:  # all but the last token of each text has been read
            ids = torch.tensor([text[-1:] for text in texts])
            return model.to_logits(model.states(ids, cache)[:, -1])
        ids, real = _pad_left(texts)
        return model.to_logits(model.states(ids, cache, real)[:, -1])
    # Read it all. Padding on the right comes too late to be seen.
    texts = [text[-model.config.max_len :] for text in texts]
    rows, last = range(len(texts)), [len(text) - 1 for text in texts]
    if isinstance(model, Llama):
        return model.to_logits(model.states(pad(texts))[rows, last])
    pad_id = model.config.pad_id
    logits = model(pad(texts, pad_id))[rows, last]
    return logits.index_fill(-1, torch.tensor([pad_id]), -torch.inf)


def _pad_left(texts: list[list[int]]) -> tuple[Tensor, Tensor | None]:
    """Let all texts end in the last column, where the next tokens are put."""
    ids = pad([text[::-1] for text in texts]).flip(1)
    if len({len(text) for text in texts}) == 1:
        return ids, None
    n_real = torch.tensor([[len(text)] for text in texts])
    n_columns = ids.shape[1]
    return ids, torch.arange(n_columns) >= n_columns - n_real


def _check(model: GPT | Llama, name: str, ids: list[int], n_tokens: int) -> None:
    if not ids:
        raise ValueError(
            f"{name} has no token, and a model needs one to go on from: leave it out, "
            "or give the token that begins a text."
        )
    vocab_size, max_len = model.config.vocab_size, model.config.max_len
    for i in (min(ids), max(ids)):
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"{name} holds token id {i}, which is outside the vocabulary: ids run "
                f"from 0 to {vocab_size - 1}; was it encoded with another tokenizer?"
            )
    if isinstance(model, Llama):
        if len(ids) + n_tokens > max_len:
            raise ValueError(
                f"{name} has {len(ids)} tokens, and {n_tokens} more make "
                f"{len(ids) + n_tokens}, but max_len is {max_len}: shorten the prompt "
                "or ask for fewer."
            )
    elif model.config.pad_id in ids:
        raise ValueError(
            f"{name} holds padding (id {model.config.pad_id}), which this model cannot "
            "see: leave it out; prompts may differ in length."
        )

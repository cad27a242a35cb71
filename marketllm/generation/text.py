"""Text behind text: pieces that are sure, and strings that end it."""

import codecs
from collections.abc import Iterator, Sequence

import torch

from marketllm.generation.sampling import Sampling
from marketllm.generation.tokens import AS_TRAINED, _draw
from marketllm.models import GPT, Llama
from marketllm.tokenizer import BytePairTokenizer


def stream(
    model: GPT | Llama,
    tokenizer: BytePairTokenizer,
    prompt: str | Sequence[int],
    n_tokens: int,
    sampling: Sampling = AS_TRAINED,
    stop: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """Continue a text and give each piece of it as soon as it is sure.

    A token may be half a character, or half a stop string. Such a piece is held
    back until the next tokens tell what it is.

    Parameters
    ----------
    model : GPT or Llama
        Reads the ids and scores the next one.
    tokenizer : BytePairTokenizer
        The model's own. Its ``end_id`` ends the text.
    prompt : str or sequence of int
        What to go on from, as text or as token ids.
    n_tokens : int
        The most tokens to write.
    sampling : Sampling
        How a token is chosen.
    stop : sequence of str
        The text ends before the first of these that is complete. Of several that
        become complete with the same character, the longest counts. Those in the
        prompt do not count.
    generator : torch.Generator, optional
        Draws the tokens. None is torch's global one.

    Returns
    -------
    iterator over str
        Pieces of the new text, none of them empty.

    Raises
    ------
    ValueError
        If the tokenizer is not the model's, a stop string is empty, or as for
        :func:`generate`; at once, not when the first piece is asked for.
    """
    if isinstance(stop, str):
        raise ValueError(f"stop is one string: give a list of strings, [{stop!r}].")
    if "" in stop:
        raise ValueError(
            f"stop string {list(stop).index('')} of {len(stop)} is empty and would "
            "end every text before it begins: leave it out."
        )
    _require_own(model, tokenizer)
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    drawn = _draw(model, [ids], n_tokens, sampling, generator)
    return _until(stop, _characters(tokenizer, (token for (token,) in drawn)))


def write(
    model: GPT | Llama,
    tokenizer: BytePairTokenizer,
    prompt: str | Sequence[int],
    n_tokens: int,
    sampling: Sampling = AS_TRAINED,
    stop: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> str:
    """Continue a text: the pieces of :func:`stream` in one.

    Parameters
    ----------
    model, tokenizer, prompt, n_tokens, sampling, stop, generator
        As for :func:`stream`.

    Returns
    -------
    str
        The new text, without the prompt.

    Raises
    ------
    ValueError
        As for :func:`stream`.
    """
    return "".join(
        stream(model, tokenizer, prompt, n_tokens, sampling, stop, generator)
    )


def _require_own(model: GPT | Llama, tokenizer: BytePairTokenizer) -> None:
    """Refuse the tokenizer of another model."""
    if len(tokenizer) != model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model's vocabulary "
            f"has {model.config.vocab_size}: give the tokenizer that the model was "
            "trained with."
        )


def _characters(tokenizer: BytePairTokenizer, drawn: Iterator[int]) -> Iterator[str]:
    """Turn tokens into text, up to the end token and never half a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in drawn:
        if token == tokenizer.end_id:
            break
        if token != tokenizer.pad_id:
            yield decoder.decode(tokenizer.tokens[token])
    yield decoder.decode(b"", final=True)


def _until(stop: Sequence[str], pieces: Iterator[str]) -> Iterator[str]:
    """Give a text up to the first stop string that is complete in it."""
    held = ""  # the most at the end of the text that may begin a stop string
    for piece in pieces:
        sure = ""
        for character in piece:
            held += character
            ended = [len(string) for string in stop if held.endswith(string)]
            if ended:
                sure += held[: -max(ended)]
                if sure:
                    yield sure
                return
            begins = (
                i
                for i in range(len(held))
                if any(string.startswith(held[i:]) for string in stop)
            )
            n_sure = next(begins, len(held))
            sure, held = sure + held[:n_sure], held[n_sure:]
        if sure:
            yield sure
    if held:
        yield held

"""Where a token stands: sinusoidal, learned and rotary positions."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal(n_positions: int, d_model: int) -> Float[Tensor, "T D"]:
    r"""Build fixed position vectors out of sines and cosines.

    Dimension pair i turns with the position p at the angle
    :math:`p / 10000^{2i/D}`: fast in the first pair, slowly in the last.

    Parameters
    ----------
    n_positions : int
        Number of positions, T.
    d_model : int
        Width, D; even.

    Returns
    -------
    Tensor of shape (T, D)
        Sines in the even columns, cosines in the odd ones.

    Raises
    ------
    ValueError
        If ``d_model`` is odd: each sine needs its cosine.

    References
    ----------
    Vaswani et al. (2017), section 3.5.
    """
    if d_model % 2:
        raise ValueError(
            f"d_model={d_model} is odd, but sines and cosines come in pairs: "
            f"use {d_model + 1} or learned positions."
        )
    places = torch.arange(n_positions, dtype=torch.float64)
    pairs = torch.arange(0, d_model, 2, dtype=torch.float64)
    angles = torch.outer(places, torch.exp(-math.log(10_000) * pairs / d_model))
    table = torch.stack([angles.sin(), angles.cos()], dim=-1)  # T, D/2, 2
    return table.flatten(1).to(torch.get_default_dtype())


class SinusoidalPositions(nn.Module):
    """Add the fixed sine and cosine vectors to the residual stream.

    Parameters
    ----------
    max_len : int
        Longest sequence.
    d_model : int
        Width, D; even.
    """

    table: Tensor

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoidal(max_len, d_model), persistent=False)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Add to each token the vector of its place.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            Token vectors.

        Returns
        -------
        Tensor of shape (B, T, D)

        Raises
        ------
        ValueError
            If the sequence is longer than ``max_len``.
        """
        return x + _first_rows(self.table, x.shape[1])


class LearnedPositions(nn.Module):
    """Add a trained vector for each place, as BERT and GPT do.

    Parameters
    ----------
    max_len : int
        Longest sequence.
    d_model : int
        Width, D.

    References
    ----------
    Devlin et al. (2019), section 3.
    """

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_len, d_model))
        nn.init.normal_(self.table, std=0.02)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Add to each token the vector of its place.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            Token vectors.

        Returns
        -------
        Tensor of shape (B, T, D)

        Raises
        ------
        ValueError
            If the sequence is longer than ``max_len``.
        """
        return x + _first_rows(self.table, x.shape[1])


def rotate(
    vectors: Float[Tensor, "*B T E"], base: float = 10_000.0, start: int = 0
) -> Float[Tensor, "*B T E"]:
    r"""Turn queries or keys by their place: rotary positions.

    Number i and number :math:`i + E/2` of a vector are the two coordinates of a
    point, and the point of the token at place p is turned by the angle
    :math:`p \cdot base^{-2i/E}`. The product of a turned query and a turned key
    depends on where the two stand only through their distance.

    The paper pairs neighbours, 2i and 2i + 1. We pair the two halves, as the
    Llama models of Hugging Face do: the same up to the order of the numbers.

    Parameters
    ----------
    vectors : Tensor of shape (..., T, E)
        Queries or keys of one head; E is even.
    base : float
        The larger, the more slowly the last pairs turn.
    start : int
        The place of the first vector: more than 0 where earlier tokens have been
        read before.

    Returns
    -------
    Tensor of shape (..., T, E)
        Vectors of the same length as before.

    Raises
    ------
    ValueError
        If the width is odd or the base is not above 0.

    References
    ----------
    Su et al. (2021), section 3.2.2, equations 14 and 15, and section 3.4.2,
    equation 34.
    """
    n_tokens, width = vectors.shape[-2:]
    if width % 2:
        raise ValueError(
            f"the vectors have width {width}, but rotary positions turn pairs of "
            f"numbers: use {width + 1}, or other positions."
        )
    if not base > 0:
        raise ValueError(f"base is {base}: give a number above 0, such as 10000.")
    cosine, sine = _turns(start, n_tokens, width, base, vectors.dtype, vectors.device)
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat(
        [first * cosine - second * sine, first * sine + second * cosine], dim=-1
    )


@lru_cache(maxsize=16)  # every layer asks for the same
def _turns(
    start: int,
    n_tokens: int,
    width: int,
    base: float,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # what is kept may be used in training later
        places = torch.arange(start, start + n_tokens, dtype=torch.float64)
        pairs = torch.arange(0, width, 2, dtype=torch.float64)
        angles = torch.outer(places, base ** (-pairs / width))  # T, E/2
        return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def _first_rows(table: Tensor, n_tokens: int) -> Tensor:
    if n_tokens > len(table):
        raise ValueError(
            f"the sequence has {n_tokens} tokens, but there are positions for "
            f"{len(table)}: cut the text or raise max_len."
        )
    return table[:n_tokens]

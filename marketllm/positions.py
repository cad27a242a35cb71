"""Where a token stands: sinusoidal and learned positions."""

import math

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


def _first_rows(table: Tensor, n_tokens: int) -> Tensor:
    if n_tokens > len(table):
        raise ValueError(
            f"the sequence has {n_tokens} tokens, but there are positions for "
            f"{len(table)}: cut the text or raise max_len."
        )
    return table[:n_tokens]

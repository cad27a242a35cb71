"""The layers that work on one token at a time."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_FEW_ROWS = 8  # up to so many, the product of Linear is cut into pieces
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


class Linear(nn.Linear):
    """PyTorch's linear map, with all cores at work for a few rows too.

    PyTorch multiplies a single row with a matrix on one core, and the time goes
    into reading the matrix. Where nothing is trained and there are at most 8 rows,
    we cut the matrix into one piece for each thread. The numbers are the same up
    to rounding.

    Parameters
    ----------
    in_features, out_features : int
        Widths of what comes in and of what goes out.
    bias : bool
        Whether a bias is added.
    device, dtype : optional
        As for PyTorch's.
    """

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B F"]:
        """Map each vector.

        Parameters
        ----------
        x : Tensor of shape (..., D)
            Vectors of width ``in_features``.

        Returns
        -------
        Tensor of shape (..., F)
            Vectors of width ``out_features``.
        """
        n_pieces = torch.get_num_threads()
        n_rows = x.numel() // max(1, self.in_features)
        if (
            torch.is_grad_enabled()
            or not 1 <= n_rows <= _FEW_ROWS
            or x.shape[-1] != self.in_features
            or self.out_features % n_pieces
        ):
            return super().forward(x)
        pieces = self.weight.unflatten(0, (n_pieces, -1))
        columns = x.reshape(n_rows, -1).T.expand(n_pieces, -1, -1)
        out = torch.bmm(pieces, columns).flatten(0, 1).T.reshape(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class LayerNorm(nn.Module):
    """Give every token vector mean 0 and variance 1, then scale and shift it.

    Parameters
    ----------
    d_model : int
        Width, D.
    eps : float
        Added to the variance, inside the root.

    References
    ----------
    Ba, Kiros and Hinton (2016), equations 3 and 4.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Normalise each vector by its own mean and variance.

        Parameters
        ----------
        x : Tensor of shape (..., D)
            Token vectors.

        Returns
        -------
        Tensor of shape (..., D)
        """
        wide = _widen(x)
        centred = wide - wide.mean(dim=-1, keepdim=True)
        variance = centred.pow(2).mean(dim=-1, keepdim=True)  # divides by D, not D - 1
        out = self.weight * centred / (variance + self.eps).sqrt() + self.bias
        return out if wide is x else out.to(x.dtype)


class RMSNorm(nn.Module):
    r"""Give every token vector a mean square of 1, then scale it.

    .. math:: w \odot x / \sqrt{\operatorname{mean}(x^2) + \varepsilon}

    LayerNorm without its mean and without its shift.

    Parameters
    ----------
    d_model : int
        Width, D.
    eps : float
        Added to the mean square, inside the root.

    References
    ----------
    Zhang and Sennrich (2019), equation 4.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Divide each vector by the root of its own mean square.

        Parameters
        ----------
        x : Tensor of shape (..., D)
            Token vectors.

        Returns
        -------
        Tensor of shape (..., D)
        """
        wide = _widen(x)
        mean_square = wide.pow(2).mean(dim=-1, keepdim=True)
        return self.weight * (wide * (mean_square + self.eps).rsqrt()).to(x.dtype)


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, the same for every token.

    Parameters
    ----------
    d_model : int
        Width, D.
    d_ff : int
        Inner width, F.
    dropout : float
        Share of inner activations dropped during training.
    activation : {"relu", "gelu", "gelu_tanh"}
        What stands between the two maps: BERT has "gelu", GPT-2 its approximation
        by a tanh.
    bias : bool
        Whether the two maps have a bias.

    Raises
    ------
    ValueError
        If there is no such activation.

    References
    ----------
    Vaswani et al. (2017), section 3.3, equation 2; Hendrycks and Gimpel (2016) for
    GELU.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: Literal["relu", "gelu", "gelu_tanh"] = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"activation is {activation!r}; choose 'relu', 'gelu' or 'gelu_tanh' "
                "(or the layer SwiGLU)."
            )
        self.inner = Linear(d_model, d_ff, bias)
        self.outer = Linear(d_ff, d_model, bias)
        self.dropout = nn.Dropout(dropout)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Transform each token by itself.

        Parameters
        ----------
        x : Tensor of shape (..., D)
            Token vectors.

        Returns
        -------
        Tensor of shape (..., D)
        """
        hidden = _ACTIVATIONS[self.activation](self.inner(x))
        return self.outer(self.dropout(hidden))


class SwiGLU(nn.Module):
    r"""A feed-forward network with a gate: one map decides how much of another passes.

    .. math:: W_{outer} (\operatorname{silu}(W_{gate} x) \odot W_{inner} x)

    Three matrices in place of two: with an inner width of two thirds it has as many
    weights as :class:`FeedForward`.

    Parameters
    ----------
    d_model : int
        Width, D.
    d_ff : int
        Inner width, F.
    dropout : float
        Share of inner activations dropped during training.
    bias : bool
        Whether the three maps have a bias.

    References
    ----------
    Shazeer (2020), equation 6.
    """

    def __init__(
        self, d_model: int, d_ff: int, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        self.gate = Linear(d_model, d_ff, bias)
        self.inner = Linear(d_model, d_ff, bias)
        self.outer = Linear(d_ff, d_model, bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Transform each token by itself.

        Parameters
        ----------
        x : Tensor of shape (..., D)
            Token vectors.

        Returns
        -------
        Tensor of shape (..., D)
        """
        hidden = F.silu(self.gate(x)) * self.inner(x)
        return self.outer(self.dropout(hidden))


def _widen(x: Tensor) -> Tensor:
    """Take half-precision numbers as float32: float16 cannot hold 256 squared."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _make_norm(
    norm: Literal["layer", "rms"], d_model: int, eps: float
) -> LayerNorm | RMSNorm:
    """Make a norm by its name."""
    if norm not in ("layer", "rms"):
        raise ValueError(f"norm is {norm!r}; choose 'layer' or 'rms'.")
    return RMSNorm(d_model, eps) if norm == "rms" else LayerNorm(d_model, eps)


def _make_feed_forward(
    kind: Literal["relu", "gelu", "gelu_tanh", "swiglu"],
    d_model: int,
    d_ff: int,
    dropout: float,
    bias: bool,
) -> FeedForward | SwiGLU:
    """Make a feed-forward network by its name."""
    if kind == "swiglu":
        return SwiGLU(d_model, d_ff, dropout, bias)
    return FeedForward(d_model, d_ff, dropout, kind, bias)

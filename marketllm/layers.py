"""The two layers that work on one token at a time."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = centred.pow(2).mean(dim=-1, keepdim=True)  # divides by D, not D - 1
        return self.weight * centred / (variance + self.eps).sqrt() + self.bias


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between them, the same for every token.

    Parameters
    ----------
    d_model : int
        Width, D.
    d_ff : int
        Inner width, F.
    dropout : float
        Share of inner activations dropped during training.

    References
    ----------
    Vaswani et al. (2017), section 3.3, equation 2.
    """

    def __init__(self, d_model: int, d_ff: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(d_model, d_ff)
        self.outer = nn.Linear(d_ff, d_model)
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
        hidden = self.inner(x).relu()
        return self.outer(self.dropout(hidden))

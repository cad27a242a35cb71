"""Encoder and decoder blocks: sub-layers, each added to its own input."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from marketllm.attention import MultiHeadAttention
from marketllm.layers import _make_feed_forward, _make_norm


class Residual(nn.Module):
    """Lead the input round a sub-layer, add the two, and normalise.

    Parameters
    ----------
    d_model : int
        Width of the residual stream, D.
    dropout : float
        Share of the sub-layer's output dropped during training.
    norm_first : bool
        False normalises the sum (post-norm, the paper); True normalises what
        goes into the sub-layer (pre-norm) and leaves the way round untouched.
    norm : {"layer", "rms"}
        Which norm.
    norm_eps : float
        Added to the variance inside the root.

    References
    ----------
    He et al. (2016), equation 1; Vaswani et al. (2017), section 3.1; Xiong et
    al. (2020), Figure 1.
    """

    def __init__(
        self,
        d_model: int,
        dropout: float,
        norm_first: bool,
        norm: Literal["layer", "rms"] = "layer",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm = _make_norm(norm, d_model, norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def forward(
        self, x: Float[Tensor, "B T D"], sublayer: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "B T D"]:
        """Apply the sub-layer and add its input.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            Token vectors.
        sublayer : callable
            Maps (B, T, D) to (B, T, D).

        Returns
        -------
        Tensor of shape (B, T, D)
        """
        if self.norm_first:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


class EncoderBlock(nn.Module):
    """Self-attention, then feed-forward; each is added to its own input.

    Parameters
    ----------
    d_model : int
        Width of the residual stream, D.
    n_heads : int
        Attention heads, H.
    d_ff : int
        Inner width of the feed-forward network, F.
    dropout : float
        Share of activations dropped during training.
    norm_first : bool
        False is post-norm (the paper), True is pre-norm.
    rotary : bool
        True turns queries and keys of the self-attention by their place.
    feed_forward : {"relu", "gelu", "gelu_tanh", "swiglu"}
        The kind of feed-forward network.
    norm : {"layer", "rms"}
        The kind of norm.
    norm_eps : float
        Added to the variance inside the root of every norm.
    n_kv_heads : int, optional
        Heads of keys and values in each attention, G. None is one for each head.
    bias : bool
        Whether the linear maps have a bias.

    References
    ----------
    Vaswani et al. (2017), section 3.1.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = False,
        rotary: bool = False,
        feed_forward: Literal["relu", "gelu", "gelu_tanh", "swiglu"] = "relu",
        norm: Literal["layer", "rms"] = "layer",
        norm_eps: float = 1e-5,
        n_kv_heads: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        around = partial(Residual, d_model, dropout, norm_first, norm, norm_eps)
        self.self_attention = MultiHeadAttention(
            d_model, n_heads, bias=bias, rotary=rotary, n_kv_heads=n_kv_heads
        )
        self.feed_forward = _make_feed_forward(
            feed_forward, d_model, d_ff, dropout, bias
        )
        self.around_attention = around()
        self.around_feed_forward = around()

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Tensor | None = None
    ) -> Float[Tensor, "B T D"]:
        """Let the tokens look at each other, then work on each alone.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            Token vectors.
        mask : Tensor of bool, broadcasting to (B, T, T), optional
            True where a token may look.

        Returns
        -------
        Tensor of shape (B, T, D)
        """
        x = self.around_attention(x, lambda x: self.self_attention(x, mask=mask))
        return self.around_feed_forward(x, self.feed_forward)


class DecoderBlock(nn.Module):
    """Masked self-attention, cross-attention to the encoder, then feed-forward.

    Parameters
    ----------
    d_model : int
        Width of the residual stream, D.
    n_heads : int
        Attention heads, H.
    d_ff : int
        Inner width of the feed-forward network, F.
    dropout : float
        Share of activations dropped during training.
    norm_first : bool
        False is post-norm (the paper), True is pre-norm.
    rotary : bool
        True turns queries and keys of the self-attention by their place.
    feed_forward : {"relu", "gelu", "gelu_tanh", "swiglu"}
        The kind of feed-forward network.
    norm : {"layer", "rms"}
        The kind of norm.
    norm_eps : float
        Added to the variance inside the root of every norm.
    n_kv_heads : int, optional
        Heads of keys and values in each attention, G. None is one for each head.
    bias : bool
        Whether the linear maps have a bias.

    References
    ----------
    Vaswani et al. (2017), sections 3.1 and 3.2.3.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = False,
        rotary: bool = False,
        feed_forward: Literal["relu", "gelu", "gelu_tanh", "swiglu"] = "relu",
        norm: Literal["layer", "rms"] = "layer",
        norm_eps: float = 1e-5,
        n_kv_heads: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        around = partial(Residual, d_model, dropout, norm_first, norm, norm_eps)
        self.self_attention = MultiHeadAttention(
            d_model, n_heads, bias=bias, rotary=rotary, n_kv_heads=n_kv_heads
        )
        self.cross_attention = MultiHeadAttention(
            d_model, n_heads, bias=bias, n_kv_heads=n_kv_heads
        )
        self.feed_forward = _make_feed_forward(
            feed_forward, d_model, d_ff, dropout, bias
        )
        self.around_self = around()
        self.around_cross = around()
        self.around_feed_forward = around()

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"],
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Look back at the target so far, then across at the source.

        Parameters
        ----------
        x : Tensor of shape (B, T, D)
            Token vectors of the target.
        memory : Tensor of shape (B, S, D)
            The encoder's output, one vector for each source token.
        mask : Tensor of bool, broadcasting to (B, T, T), optional
            True where a target token may look at a target token.
        memory_mask : Tensor of bool, broadcasting to (B, T, S), optional
            True where a target token may look at a source token.

        Returns
        -------
        Tensor of shape (B, T, D)
        """
        x = self.around_self(x, lambda x: self.self_attention(x, mask=mask))
        x = self.around_cross(
            x, lambda x: self.cross_attention(x, memory, mask=memory_mask)
        )
        return self.around_feed_forward(x, self.feed_forward)

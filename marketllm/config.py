"""The sizes of a model and the settings of a training run."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices that fix the shape of a model.

    The defaults make a model that trains on two CPU cores in seconds. The
    paper's base model has ``d_model=512, n_heads=8, n_layers=6, d_ff=2048``.

    Parameters
    ----------
    vocab_size : int
        Number of different token ids, V. Ids run from 0 to V - 1.
    max_len : int
        Longest sequence that the model accepts, in tokens.
    d_model : int
        Width of the residual stream, D.
    n_heads : int
        Attention heads, H. Must divide ``d_model``.
    n_layers : int
        Blocks in each stack.
    d_ff : int
        Inner width of the feed-forward network, F.
    dropout : float
        Share of activations dropped during training, from 0 up to 1.
    norm_first : bool
        False is post-norm, as in the paper; True is pre-norm.
    positions : {"sinusoidal", "learned", "rotary", "none"}
        How a token's place enters the model.
    pad_id : int
        The token id that stands for padding.

    Raises
    ------
    ValueError
        If a size is impossible; the message names both numbers.

    References
    ----------
    Vaswani et al. (2017), Table 3.
    """

    vocab_size: int
    max_len: int
    d_model: int = 64
    n_heads: int = 4
    n_layers: int = 2
    d_ff: int = 256
    dropout: float = 0.1
    norm_first: bool = False
    positions: Literal["sinusoidal", "learned", "rotary", "none"] = "sinusoidal"
    pad_id: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "max_len", "d_model", "n_heads", "n_layers", "d_ff"):
            _require_positive(name, getattr(self, name))
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads={self.n_heads} does not divide d_model={self.d_model}: "
                "every head needs the same whole width; change one of the two."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout is {self.dropout}, but it is a share: give 0 <= dropout < 1."
            )
        if self.positions not in ("sinusoidal", "learned", "rotary", "none"):
            raise ValueError(
                f"positions is {self.positions!r}; "
                "choose 'sinusoidal', 'learned', 'rotary' or 'none'."
            )
        if self.positions == "rotary" and (self.d_model // self.n_heads) % 2:
            raise ValueError(
                f"rotary positions turn pairs of numbers, but d_model={self.d_model} "
                f"with n_heads={self.n_heads} gives heads of the odd width "
                f"{self.d_model // self.n_heads}: change one of the two."
            )
        if not 0 <= self.pad_id < self.vocab_size:
            raise ValueError(
                f"pad_id={self.pad_id} is no token id: with "
                f"vocab_size={self.vocab_size} ids run from 0 to {self.vocab_size - 1}."
            )


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training run.

    Parameters
    ----------
    n_epochs : int
        Passes over the training batches.
    learning_rate : float
        Step size of AdamW; with a schedule, the largest.
    weight_decay : float
        Decoupled weight decay of AdamW, per unit of learning rate.
    max_grad_norm : float
        Gradients with a larger Euclidean norm are scaled down to it.
    beta2 : float
        How much of AdamW's mean of squared gradients is kept at each update.
    schedule : {"constant", "cosine"}
        After the warm-up the learning rate stays, or falls along half a cosine to a
        tenth at the end of the run.
    warmup_share : float
        Share of all updates during which the learning rate rises from near 0.
    accumulate : int
        Batches whose gradients are added up for one update.

    Raises
    ------
    ValueError
        If a setting is impossible.
    """

    n_epochs: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    beta2: float = 0.999
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_share: float = 0.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        _require_positive("n_epochs", self.n_epochs)
        _require_positive("accumulate", self.accumulate)
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: give a number above 0."
                )
        if not self.weight_decay >= 0:
            raise ValueError(
                f"weight_decay is {self.weight_decay}: give 0 or a number above it."
            )
        for name in ("beta2", "warmup_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: give a share, 0 <= {name} < 1."
                )
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(
                f"schedule is {self.schedule!r}; choose 'constant' or 'cosine'."
            )


def _require_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least 1.")

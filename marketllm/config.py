"""The sizes of a model and the settings of a training run."""

from dataclasses import dataclass
from typing import Literal

_SIZES = ("vocab_size", "max_len", "d_model", "n_heads", "n_layers", "d_ff")
_CHOICES = {
    "positions": ("sinusoidal", "learned", "rotary", "none"),
    "feed_forward": ("relu", "gelu", "gelu_tanh", "swiglu"),
    "norm": ("layer", "rms"),
}


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
    feed_forward : {"relu", "gelu", "gelu_tanh", "swiglu"}
        The paper has "relu", BERT "gelu", GPT-2 its approximation by a tanh, Llama
        "swiglu".
    norm : {"layer", "rms"}
        The paper has "layer", Llama "rms".
    norm_eps : float
        Added to the variance inside the root of every norm.
    norm_embedding : bool
        True normalises the token vectors before the first block, as BERT does.
    n_kv_heads : int, optional
        Heads of keys and values, G. Must divide ``n_heads``. None is one for each
        head.
    bias : bool
        Whether the linear maps in the blocks have a bias.
    tied : bool
        Whether a language model's output table is its token embedding.

    Raises
    ------
    ValueError
        If a size is impossible; the message names both numbers.

    References
    ----------
    Vaswani et al. (2017), Table 3; Touvron et al. (2023), section 2.2.
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
    feed_forward: Literal["relu", "gelu", "gelu_tanh", "swiglu"] = "relu"
    norm: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-5
    norm_embedding: bool = False
    n_kv_heads: int | None = None
    bias: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        for name in _SIZES:
            _require_positive(name, getattr(self, name))
        if self.n_kv_heads is not None:
            _require_positive("n_kv_heads", self.n_kv_heads)
        _require_heads(self.d_model, self.n_heads, self.n_kv_heads or self.n_heads)
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout is {self.dropout}, but it is a share: give 0 <= dropout < 1."
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; choose "
                    f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}."
                )
        _require_above_zero("norm_eps", self.norm_eps)
        if self.positions == "rotary":
            _require_even_heads(self.d_model, self.n_heads)
        if not 0 <= self.pad_id < self.vocab_size:
            raise ValueError(
                f"pad_id={self.pad_id} is no token id: with "
                f"vocab_size={self.vocab_size} ids run from 0 to {self.vocab_size - 1}."
            )


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama.

    The defaults make a small one. SmolLM2-135M has ``vocab_size=49152,
    max_len=8192, d_model=576, n_heads=9, n_kv_heads=3, n_layers=30, d_ff=1536,
    rotary_base=100_000``.

    Parameters
    ----------
    vocab_size : int
        Number of different token ids, V.
    max_len : int
        Longest text that the model was made for, in tokens.
    d_model : int
        Width of the residual stream, D.
    n_heads : int
        Heads of queries, H. Must divide ``d_model``.
    n_kv_heads : int
        Heads of keys and values, G. Must divide ``n_heads``.
    n_layers : int
        Blocks, L.
    d_ff : int
        Inner width of the feed-forward network, F.
    rotary_base : float
        The larger, the more slowly the last pairs of a head turn with the place.
    norm_eps : float
        Added to the mean square inside the root of every norm.
    tied : bool
        Whether the output table is the token embedding.

    Raises
    ------
    ValueError
        If a size is impossible; the message names both numbers.

    References
    ----------
    Touvron et al. (2023), section 2.2 and table 2; Ainslie et al. (2023) for the
    shared heads of keys and values.
    """

    vocab_size: int
    max_len: int
    d_model: int = 64
    n_heads: int = 4
    n_kv_heads: int = 2
    n_layers: int = 2
    d_ff: int = 192
    rotary_base: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        for name in (*_SIZES, "n_kv_heads"):
            _require_positive(name, getattr(self, name))
        _require_heads(self.d_model, self.n_heads, self.n_kv_heads)
        _require_even_heads(self.d_model, self.n_heads)
        for name in ("rotary_base", "norm_eps"):
            _require_above_zero(name, getattr(self, name))


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
            _require_above_zero(name, getattr(self, name))
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


def _require_above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} is {value}: give a number above 0.")


def _require_heads(d_model: int, n_heads: int, n_kv_heads: int) -> None:
    if d_model % n_heads:
        raise ValueError(
            f"n_heads={n_heads} does not divide d_model={d_model}: "
            "every head needs the same whole width; change one of the two."
        )
    if n_heads % n_kv_heads:
        raise ValueError(
            f"n_kv_heads={n_kv_heads} does not divide n_heads={n_heads}: each head of "
            "keys and values serves the same number of heads; change one of the two."
        )


def _require_even_heads(d_model: int, n_heads: int) -> None:
    width = d_model // n_heads
    if width % 2:
        raise ValueError(
            f"rotary positions turn pairs of numbers, but d_model={d_model} with "
            f"n_heads={n_heads} gives heads of the odd width {width}: change one of "
            "the two."
        )

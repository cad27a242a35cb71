"""Whole models: token ids in, vectors or logits out."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.attention import causal_mask, padding_mask
from marketllm.blocks import DecoderBlock, EncoderBlock
from marketllm.config import ModelConfig
from marketllm.layers import LayerNorm
from marketllm.positions import LearnedPositions, SinusoidalPositions


class Encoder(nn.Module):
    """Read a text in both directions: one vector for each token.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices.

    References
    ----------
    Vaswani et al. (2017), section 3.1; Devlin et al. (2019), section 3.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(
            EncoderBlock(*_block_sizes(config)) for _ in range(config.n_layers)
        )
        self.norm = LayerNorm(config.d_model) if config.norm_first else nn.Identity()

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Turn token ids into vectors that know their context.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids, padded with ``config.pad_id``.

        Returns
        -------
        Tensor of shape (B, T, D)
            One vector for each token; those of padding mean nothing.

        Raises
        ------
        ValueError
            If an id is outside the vocabulary, a sequence is too long, or the
            batch or an example in it is empty.
        """
        x = self.embedding(ids)
        mask = padding_mask(ids, self.config.pad_id)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class EncoderDecoder(nn.Module):
    """Read a source text, then write a target text one token at a time.

    This is the article's model made right: the decoder looks at the encoder's
    output, sees no future token, and neither stack sees padding.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices; both stacks have ``n_layers`` blocks and share one
        vocabulary and its embedding.

    References
    ----------
    Vaswani et al. (2017), section 3.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.blocks = nn.ModuleList(
            DecoderBlock(*_block_sizes(config)) for _ in range(config.n_layers)
        )
        self.norm = LayerNorm(config.d_model) if config.norm_first else nn.Identity()
        self.to_logits = nn.Linear(config.d_model, config.vocab_size)

    def forward(
        self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T V"]:
        """Score each possible next token of the target.

        Parameters
        ----------
        source : Tensor of shape (B, S)
            Token ids to read, padded with ``config.pad_id``.
        target : Tensor of shape (B, T)
            Token ids written so far, a start token first (see
            :func:`marketllm.batches.shift_right`).

        Returns
        -------
        Tensor of shape (B, T, V)
            Logits; those at t are a guess at the token after ``target[:, t]``.

        Raises
        ------
        ValueError
            As for :class:`Encoder`.
        """
        memory = self.encoder(source)
        memory_mask = padding_mask(source, self.config.pad_id)
        x = self.encoder.embedding(target)
        # Padding stands on the right, where the causal mask hides it already.
        mask = causal_mask(target.shape[1]).to(target.device)
        for block in self.blocks:
            x = block(x, memory, mask, memory_mask)
        return self.to_logits(self.norm(x))


class Classifier(nn.Module):
    """Read a text and score its class.

    The encoder's vectors are averaged over the real tokens, and one linear map
    turns the average into a score for each class.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices of the encoder.
    n_classes : int
        Number of classes, at least 2.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes.
    """

    def __init__(self, config: ModelConfig, n_classes: int) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}: a choice needs at least 2.")
        self.encoder = Encoder(config)
        self.to_logits = nn.Linear(config.d_model, n_classes)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Score each class for each text.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids, padded with ``config.pad_id``.

        Returns
        -------
        Tensor of shape (B, C)
            Logits, one for each class.

        Raises
        ------
        ValueError
            As for :class:`Encoder`.
        """
        vectors = self.encoder(ids)
        real = (ids != self.encoder.config.pad_id).unsqueeze(-1)  # B, T, 1
        return self.to_logits(masked_mean(vectors, real))


class Embedding(nn.Module):
    """Token vectors plus positions: the start of the residual stream.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices.

    References
    ----------
    Vaswani et al. (2017), sections 3.4 and 3.5. The vectors start with variance
    1, which is what the paper's factor of the root of ``d_model`` gives.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.positions: nn.Module = nn.Identity()
        if config.positions == "sinusoidal":
            self.positions = SinusoidalPositions(config.max_len, config.d_model)
        if config.positions == "learned":
            self.positions = LearnedPositions(config.max_len, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Look up each token and add its place.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids.

        Returns
        -------
        Tensor of shape (B, T, D)

        Raises
        ------
        ValueError
            If ids are not whole numbers in two axes, one is outside the vocabulary,
            a sequence is longer than ``config.max_len``, or there is no token at all.
        """
        self._check(ids)
        return self.dropout(self.positions(self.tokens(ids)))

    def _check(self, ids: Tensor) -> None:
        if ids.ndim != 2 or ids.is_floating_point():
            raise ValueError(
                f"ids have shape {tuple(ids.shape)} and type {ids.dtype}, but must be "
                "whole numbers of shape (batch, tokens): see marketllm.batches.pad."
            )
        if not ids.numel():
            raise ValueError(
                f"the batch has shape {tuple(ids.shape)} and so no token: "
                "give at least one example with at least one token."
            )
        if ids.shape[1] > self.config.max_len:
            raise ValueError(
                f"the sequence has {ids.shape[1]} tokens, but max_len is "
                f"{self.config.max_len}: cut the text or raise max_len."
            )
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(
                f"token id {low if low < 0 else high} is outside the vocabulary: "
                f"ids run from 0 to {self.config.vocab_size - 1}; was the text "
                "encoded with another tokenizer?"
            )


def masked_mean(vectors: Float[Tensor, "B T D"], real: Tensor) -> Float[Tensor, "B D"]:
    """Average the vectors of the real tokens, leaving padding out.

    Parameters
    ----------
    vectors : Tensor of shape (B, T, D)
        One vector for each token.
    real : Tensor of bool of shape (B, T, 1)
        True where there is a real token.

    Returns
    -------
    Tensor of shape (B, D)
    """
    total = vectors.masked_fill(~real, 0).sum(dim=1)
    return total / real.sum(dim=1)


def _block_sizes(config: ModelConfig) -> tuple[int, int, int, float, bool]:
    return (
        config.d_model,
        config.n_heads,
        config.d_ff,
        config.dropout,
        config.norm_first,
    )

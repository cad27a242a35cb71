"""Read one text, write another: the model of the paper and of the article."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.attention import causal_mask, padding_mask
from marketllm.blocks import DecoderBlock
from marketllm.config import ModelConfig
from marketllm.models.encoder import Encoder, _block_options, _last_norm


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
            DecoderBlock(**_block_options(config)) for _ in range(config.n_layers)
        )
        self.norm = _last_norm(config)
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

"""Language models: token ids in, a guess at a token for each place out."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.blocks import EncoderBlock
from marketllm.config import ModelConfig
from marketllm.models.encoder import Encoder

START = 0.02  # standard deviation of the first weights, in GPT as in BERT


class GPT(nn.Module):
    """Guess the next token from those before it.

    The logits are the products of the last vectors with the token embeddings:
    one table serves as input and output, unless ``config.tied`` is False.

    The weights start small, so that the first guess is even and the loss starts
    at ln V. Those that write into the residual stream start smaller still, by
    the root of the number of sub-layers, or the stream would grow with depth.
    Sinusoids are some thirty times as large as the first token vectors and drown
    them for long: choose learned or rotary positions.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices. GPT-2 has ``norm_first=True, positions="learned"``.

    Attributes
    ----------
    body : Encoder
        The causal stack; its weights fit ``Classifier(..., causal=True).encoder``.
    output : nn.Parameter of shape (V, D) or None
        The output table where it is not the token embedding.

    References
    ----------
    Radford et al. (2018), section 3.1, and section 4.1 for the start of the
    weights; Radford et al. (2019), section 2.3, for those of the residual stream;
    Press and Wolf (2017) for the shared table.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.body = Encoder(config, causal=True)
        _start_small(self.body)
        self.output: nn.Parameter | None = None
        if not config.tied:
            shape = (config.vocab_size, config.d_model)
            self.output = nn.Parameter(START * torch.randn(shape))
        small = START / math.sqrt(2 * config.n_layers)
        for block in self.body.modules():
            if isinstance(block, EncoderBlock):
                nn.init.normal_(block.self_attention.to_output.weight, std=small)
                nn.init.normal_(block.feed_forward.outer.weight, std=small)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Score each possible next token at each place.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids, padded on the right with ``config.pad_id``.

        Returns
        -------
        Tensor of shape (B, T, V)
            Logits; those at t are a guess at the token after ``ids[:, t]``.

        Raises
        ------
        ValueError
            As for :class:`Encoder`.
        """
        tokens = self.body.embedding.tokens.weight
        return self.body(ids) @ (tokens if self.output is None else self.output).T


class MaskedLanguageModel(nn.Module):
    """Guess hidden tokens from those on both sides.

    BERT puts one more linear map, an activation and a LayerNorm before the
    product with the token embeddings. We leave the three out.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices. BERT has ``norm_first=False, positions="learned"``.

    Attributes
    ----------
    body : Encoder
        The stack; its weights fit ``Classifier(...).encoder``.

    References
    ----------
    Devlin et al. (2019), section 3.1, task 1; Press and Wolf (2017) for the table
    shared by input and output.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.body = Encoder(config)
        _start_small(self.body)
        self.bias = nn.Parameter(
            self.body.embedding.tokens.weight.new_zeros(config.vocab_size)
        )

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Score each possible token at each place.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids, some of them hidden by the mask token, padded with
            ``config.pad_id``.

        Returns
        -------
        Tensor of shape (B, T, V)
            Logits; those at t are a guess at the token that stood at t.

        Raises
        ------
        ValueError
            As for :class:`Encoder`.
        """
        return self.body(ids) @ self.body.embedding.tokens.weight.T + self.bias


def _start_small(body: Encoder) -> None:
    for module in body.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=START)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

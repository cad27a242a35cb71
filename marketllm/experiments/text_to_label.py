"""The whole encoder-decoder as a classifier."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.batches import shift_right
from marketllm.config import ModelConfig
from marketllm.losses import cross_entropy
from marketllm.models import EncoderDecoder


class TextToLabel(nn.Module):
    """The encoder-decoder as a classifier: read the text, write one label word.

    Parameters
    ----------
    config : ModelConfig
        Sizes; its vocabulary holds the tokenizer's words and one start token more.
    label_ids : sequence of int
        Token ids of the label words, class 0 first.
    """

    label_ids: Tensor

    def __init__(self, config: ModelConfig, label_ids: list[int]) -> None:
        super().__init__()
        self.model = EncoderDecoder(config)
        self.start_id = config.vocab_size - 1
        self.register_buffer("label_ids", torch.tensor(label_ids), persistent=False)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Score the label words alone: one logit for each class.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids of the texts.

        Returns
        -------
        Tensor of shape (B, C)
        """
        any_label = self.label_ids[:1].expand(len(ids), 1)  # shifted out, not seen
        start = shift_right(any_label, self.start_id)
        return self.model(ids, start)[:, 0, self.label_ids]


def label_word_loss(
    model: TextToLabel, batch: tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]
) -> Float[Tensor, ""]:
    """Surprise of a `TextToLabel` at the true label word, among all words.

    Parameters
    ----------
    model : TextToLabel
        The model.
    batch : tuple of Tensor
        Token ids of shape (B, T) and classes of shape (B,).

    Returns
    -------
    Tensor of shape ()
        The mean over the batch, in nats.
    """
    ids, labels = batch
    target = model.label_ids[labels].unsqueeze(1)
    return cross_entropy(model.model(ids, shift_right(target, model.start_id)), target)

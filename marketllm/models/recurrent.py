"""Recurrent networks: read one token after the other, and keep a memory."""

from dataclasses import replace
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.config import ModelConfig
from marketllm.models.classifier import masked_mean
from marketllm.models.encoder import Embedding

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM}


class RecurrentClassifier(nn.Module):
    """Read a text from left to right and score its class.

    As :class:`Classifier`, with a recurrent network where that has attention: the
    states are averaged over the real tokens, and one linear map scores the classes.
    The network itself is PyTorch's.

    Parameters
    ----------
    config : ModelConfig
        Sizes: vocabulary, longest text, width, layers, dropout. Heads,
        feed-forward width, norm and positions mean nothing here: a recurrent
        network knows the order without being told.
    n_classes : int
        Number of classes, at least 2.
    cell : {"rnn", "lstm"}
        The plain network, or the one with gates.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes, or the cell has another name.

    References
    ----------
    Elman (1990) for the plain network; Hochreiter and Schmidhuber (1997) and Gers
    et al. (2000) for the LSTM.
    """

    def __init__(
        self, config: ModelConfig, n_classes: int, cell: Literal["rnn", "lstm"] = "lstm"
    ) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}: a choice needs at least 2.")
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}; choose 'rnn' or 'lstm'.")
        self.config = config
        self.embedding = Embedding(replace(config, positions="none"))
        self.recurrent = CELLS[cell](
            config.d_model,
            config.d_model,
            num_layers=config.n_layers,
            batch_first=True,
            dropout=config.dropout if config.n_layers > 1 else 0.0,
        )
        self.to_logits = nn.Linear(config.d_model, n_classes)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Score each class for each text.

        Parameters
        ----------
        ids : Tensor of shape (B, T)
            Token ids, padded on the right with ``config.pad_id``. What comes after
            the text is read too, but too late to change the states before it.

        Returns
        -------
        Tensor of shape (B, C)
            Logits, one for each class.

        Raises
        ------
        ValueError
            As for :class:`Encoder`, or if padding stands before a token.
        """
        x = self.embedding(ids)
        real = ids != self.config.pad_id
        if not real[:, 0].all() or (real[:, 1:] & ~real[:, :-1]).any():
            raise ValueError(
                f"padding ({self.config.pad_id}) stands before a token, or a text has "
                "no token (0): a recurrent network would read the padding and remember "
                "it; leave empty texts out and pad on the right."
            )
        states, _ = self.recurrent(x)
        return self.to_logits(masked_mean(states, real.unsqueeze(-1)))

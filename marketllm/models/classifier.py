"""One class for a whole text."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from marketllm.config import ModelConfig
from marketllm.models.encoder import Encoder


class Classifier(nn.Module):
    """Read a text and score its class.

    The stack's vectors are averaged over the real tokens, and one linear map
    turns the average into a score for each class.

    Parameters
    ----------
    config : ModelConfig
        Sizes and choices of the stack.
    n_classes : int
        Number of classes, at least 2.
    causal : bool
        True lets no token see a later one, as in :class:`GPT`, whose weights then
        fit.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes.
    """

    def __init__(
        self, config: ModelConfig, n_classes: int, causal: bool = False
    ) -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes is {n_classes}: a choice needs at least 2.")
        self.encoder = Encoder(config, causal)
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

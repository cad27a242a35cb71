"""What is told about a training run."""

from dataclasses import dataclass, field

import pandas as pd


class TrainingDivergedError(ValueError):
    """The loss or its gradient was no longer a number."""


@dataclass
class History:
    """What happened during training.

    Attributes
    ----------
    step_losses : list of float
        Training loss of each update, in order: of its batch, or with accumulated
        gradients the mean over the targets of its batches.
    learning_rates : list of float
        Learning rate of each update.
    epochs : list of dict
        One row an epoch: ``epoch``, ``train_loss`` (mean over the targets of its
        batches, each as it was before its update), ``validation_loss`` (if there
        was a validation part) and ``seconds``.
    best_epoch : int or None
        Epoch with the lowest validation loss; its weights are the ones kept.
    """

    step_losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the epochs as a table.

        Returns
        -------
        DataFrame
            One row an epoch, indexed by ``epoch``.
        """
        return pd.DataFrame(self.epochs).set_index("epoch")

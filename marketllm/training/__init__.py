"""The one training loop, what it tells, and how a stopped run goes on."""

from marketllm.training.history import History, TrainingDivergedError
from marketllm.training.loop import fit
from marketllm.training.measure import Loss, mean_loss, predict_probabilities

__all__ = [
    "History",
    "Loss",
    "TrainingDivergedError",
    "fit",
    "mean_loss",
    "predict_probabilities",
]

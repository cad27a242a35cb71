"""A small Transformer for texts: from words to a class or to a grade."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from marketllm.batches import LabelledBatches
from marketllm.config import ModelConfig
from marketllm.losses import mean_squared_error
from marketllm.marketing.networks import _config, _schedule
from marketllm.marketing.sequences import SequenceClassifier
from marketllm.models import Encoder, masked_mean
from marketllm.models.reading import _reading
from marketllm.tokenizer import WordTokenizer
from marketllm.training import fit

_VOCAB_SIZE, _MAX_LEN = 4000, 256
# As in the experiment `texts`, where validation on English reviews chose the rate.
_SETTINGS: dict[str, Any] = {
    "d_model": 64,
    "dropout": 0.3,
    "embedding_std": 0.1,
    "positions": "none",
    "batch_size": 32,
    "learning_rate": 3e-3,
}
_CHINESE = re.compile(r"([\u3400-\u9fff])")


class _Words:
    """Texts to token ids; each Chinese character is a word."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.tokenizer = WordTokenizer.train(map(_spaced, texts), _VOCAB_SIZE)

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        unknown = [self.tokenizer.unknown_id]  # a text without a word, such as "!!!"
        return [self.tokenizer.encode(_spaced(text)) or unknown for text in texts]


def _spaced(text: str) -> str:
    return _CHINESE.sub(r" \1 ", text)


class _NetworkClassifier:
    """A Transformer over words that sorts texts into two classes."""

    def __init__(self, n_epochs: int, seed: int) -> None:
        self.network = SequenceClassifier(
            _VOCAB_SIZE, _MAX_LEN, n_epochs=n_epochs, seed=seed, **_SETTINGS
        )

    def fit(self, texts: Sequence[str], labels: Any) -> "_NetworkClassifier":
        self.words = _Words(texts)
        self.network.fit(self.words(texts), labels)
        return self

    def predict_proba(self, texts: Sequence[str]) -> Float[np.ndarray, "N C"]:
        return self.network.predict_proba(self.words(texts))


class _NetworkGrader:
    """A Transformer over words that gives a number."""

    def __init__(self, n_epochs: int, seed: int) -> None:
        self.n_epochs = n_epochs
        self.seed = seed

    def fit(
        self,
        texts: Sequence[str],
        grades: NDArray[np.float64],
        validation: tuple[Sequence[str], NDArray[np.float64]] | None = None,
    ) -> "_NetworkGrader":
        self.words = _Words(texts)
        settings = SequenceClassifier(
            _VOCAB_SIZE, _MAX_LEN, n_epochs=self.n_epochs, **_SETTINGS
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model = _GradingNetwork(_config(settings), grades)
            std = settings.embedding_std
            nn.init.normal_(self.model.encoder.embedding.tokens.weight, std=std)
            others = None
            if validation is not None:
                others = _GradedBatches(self.words(validation[0]), validation[1])
            self.history = fit(
                self.model,
                _GradedBatches(self.words(texts), grades, self.seed),
                _grading_loss,
                _schedule(settings, settings.n_epochs, settings.learning_rate),
                others,
            )
        return self

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return _grades(self.model, self.words(texts))


class _GradingNetwork(nn.Module):
    """An encoder, the mean over its real tokens, and one linear map to a number.

    The map speaks in units of the spread of the training grades, from their mean.
    """

    def __init__(self, config: ModelConfig, grades: NDArray[np.float64]) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.to_grade = nn.Linear(config.d_model, 1)
        self.mean, self.spread = float(np.mean(grades)), float(np.std(grades))

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, " B"]:
        real = (ids != self.encoder.config.pad_id).unsqueeze(-1)
        vectors = masked_mean(self.encoder(ids), real)
        return self.mean + self.spread * self.to_grade(vectors).squeeze(-1)


def _grading_loss(
    model: nn.Module, batch: tuple[Int[Tensor, "B T"], Float[Tensor, " B"]]
) -> Float[Tensor, ""]:
    ids, grades = batch
    return mean_squared_error(model(ids), grades)


class _GradedBatches:
    """Padded sequences with a number each, in a new order each epoch."""

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        grades: NDArray[np.float64],
        seed: int | None = None,
        max_len: int = _MAX_LEN,
    ) -> None:
        rows = range(len(sequences))
        self.rows = LabelledBatches(sequences, rows, max_len=max_len, seed=seed)
        self.grades = torch.tensor(np.array(grades), dtype=torch.float32)
        self.generator = self.rows.generator

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Int[Tensor, "B T"], Float[Tensor, " B"]]]:
        for ids, rows in self.rows:
            yield ids, self.grades[rows]


def _grades(
    model: _GradingNetwork, sequences: Sequence[Sequence[int]], max_len: int = _MAX_LEN
) -> NDArray[np.float64]:
    """Grade sequences of token ids, short ones together."""
    order = np.argsort([len(ids) for ids in sequences], kind="stable")
    ordered = [sequences[row] for row in order]
    batches = LabelledBatches(ordered, [0] * len(ordered), max_len=max_len)
    found = np.empty(len(ordered))
    with _reading(model):
        found[order] = torch.cat([model(ids) for ids, _ in batches]).numpy()
    return found

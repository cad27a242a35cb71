"""A network over token ids, with scikit-learn's conventions."""

import time
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from marketllm.batches import LabelledBatches
from marketllm.losses import classification_loss
from marketllm.marketing.networks import (
    Kind,
    Sequences,
    _check_settings,
    _network,
    _pretrain,
    _schedule,
)
from marketllm.training import fit, predict_probabilities


class SequenceClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Sort sequences of token ids into two classes with a small network.

    A text, a customer's history and a row of attributes are all sequences of ids:
    one estimator serves them, and compares networks under equal terms. Random
    numbers are drawn from the seed alone; those outside are left as they were.

    Parameters
    ----------
    vocab_size : int
        Number of different token ids, V. Id 0 is padding.
    max_len : int
        Longer sequences are cut after this many tokens.
    kind : {"transformer", "rnn", "lstm"}
        The network.
    d_model : int
        Width, D. The feed-forward network has twice as much.
    n_heads : int
        Heads of the Transformer. Must divide ``d_model``.
    n_layers : int
        Blocks, or recurrent layers.
    dropout : float
        Share of activations dropped during training.
    positions : {"sinusoidal", "learned", "rotary", "none"}
        How the Transformer learns of a token's place.
    embedding_std : float
        Spread of the token vectors before training.
    n_epochs : int
        Passes over the training sequences.
    learning_rate : float
        The largest; a twentieth of the updates warm up, then it falls.
    weight_decay : float
        Of AdamW.
    batch_size : int
        Sequences in a batch.
    n_pretraining : int
        Passes over the training sequences before that, guessing hidden tokens
        without looking at a label. The Transformer only.
    pretraining_rate : float
        Learning rate of these passes.
    seed : int
        Fixes the first weights, dropout, what is hidden and the order.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The classes, ascending.
    model_ : nn.Module
        The trained network.
    history_ : History
        Its losses.
    pretraining_ : History or None
        The losses of the passes before.
    seconds_ : float
        CPU seconds of the fit.

    References
    ----------
    Vaswani et al. (2017); Hochreiter and Schmidhuber (1997); Devlin et al. (2019),
    section 3.1, for the hidden tokens.
    """

    def __init__(
        self,
        vocab_size: int,
        max_len: int = 128,
        kind: Kind = "transformer",
        d_model: int = 32,
        n_heads: int = 4,
        n_layers: int = 1,
        dropout: float = 0.1,
        positions: Literal["sinusoidal", "learned", "rotary", "none"] = "rotary",
        embedding_std: float = 0.3,
        n_epochs: int = 10,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        batch_size: int = 64,
        n_pretraining: int = 0,
        pretraining_rate: float = 3e-3,
        seed: int = 0,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_len = max_len
        self.kind = kind
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.dropout = dropout
        self.positions = positions
        self.embedding_std = embedding_std
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_pretraining = n_pretraining
        self.pretraining_rate = pretraining_rate
        self.seed = seed

    def fit(
        self,
        sequences: Sequences,
        labels: Collection[Any],
        validation: tuple[Sequences, Collection[Any]] | None = None,
    ) -> "SequenceClassifier":
        """Train a new network.

        Parameters
        ----------
        sequences : sequence of sequences of int
            Token ids of N examples.
        labels : collection of shape (N,)
            Their classes; both must be there.
        validation : tuple, optional
            Sequences and labels that are not trained on. With them the weights of
            the epoch with the lowest loss on them are kept.

        Returns
        -------
        SequenceClassifier
            This classifier.

        Raises
        ------
        ValueError
            If there are not two classes, sequences and labels differ in number, an
            id is outside the vocabulary, or a setting is impossible.
        """
        _check_settings(self)
        self.classes_ = np.unique(np.asarray(labels))
        if len(self.classes_) != 2:
            raise ValueError(
                f"labels hold {len(self.classes_)} classes, expected 2: "
                f"{self.classes_.tolist()[:5]}."
            )
        batches = self._batches(sequences, self._places(labels), self.seed)
        others = None
        if validation is not None:
            others = self._batches(validation[0], self._places(validation[1]), None)
        training = _schedule(self, self.n_epochs, self.learning_rate)
        started = time.process_time()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model_ = _network(self)
            self.pretraining_ = None
            if self.n_pretraining:
                self.pretraining_ = _pretrain(self, self.model_, batches.sequences)
            self.history_ = fit(
                self.model_, batches, classification_loss, training, others
            )
        self.seconds_ = time.process_time() - started
        return self

    def predict_proba(self, sequences: Sequences) -> Float[np.ndarray, "N C"]:
        """Give the probability of each class.

        Parameters
        ----------
        sequences : sequence of sequences of int
            Token ids of N examples.

        Returns
        -------
        ndarray of shape (N, 2)
            Rows sum to 1; columns in the order of ``classes_``.

        Raises
        ------
        ValueError
            If there is no sequence, or one of them cannot be read.
        """
        check_is_fitted(self, "model_")
        # Sorted by length, so that a batch has little padding.
        order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
        ordered = [sequences[row] for row in order]
        found = predict_probabilities(
            self.model_, self._batches(ordered, np.zeros(len(order), int), None)
        )
        probabilities = np.empty_like(found)
        probabilities[order] = found
        return probabilities

    def predict(self, sequences: Sequences) -> np.ndarray:
        """Choose the more probable class.

        Parameters
        ----------
        sequences : sequence of sequences of int
            Token ids of N examples.

        Returns
        -------
        ndarray of shape (N,)
        """
        return self.classes_[self.predict_proba(sequences).argmax(axis=1)]

    def _places(self, labels: Collection[Any]) -> np.ndarray:
        """Turn classes into 0 and 1."""
        values = np.asarray(labels)
        unknown = values[~np.isin(values, self.classes_)]
        if len(unknown):
            raise ValueError(
                f"the validation labels hold {unknown.tolist()[0]!r}, which is none "
                f"of the classes {self.classes_.tolist()} of the training labels."
            )
        return np.searchsorted(self.classes_, values)

    def _batches(
        self, sequences: Sequences, labels: np.ndarray, seed: int | None
    ) -> LabelledBatches:
        size = self.batch_size if seed is not None else 256
        return LabelledBatches(
            sequences, labels.tolist(), size, max_len=self.max_len, seed=seed
        )

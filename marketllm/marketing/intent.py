"""Who is going to buy: a network that reads a customer's history."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from marketllm.explain import attention_maps
from marketllm.marketing.dates import Until
from marketllm.marketing.histories import HistoryTokenizer
from marketllm.marketing.networks import Kind
from marketllm.marketing.sequences import SequenceClassifier


class PurchaseIntent(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Forecast which customers buy, from their attributes, events and words.

    A `HistoryTokenizer` writes each customer as tokens, and a `SequenceClassifier`
    reads them. Both learn from the training rows alone.

    Parameters
    ----------
    kind : {"transformer", "rnn", "lstm"}
        The network.
    tokenizer : HistoryTokenizer, optional
        Its settings are used; it is not changed. Default is one with the usual ones.
    **settings : object
        Other settings of `SequenceClassifier`, such as ``n_epochs`` or ``seed``.

    Attributes
    ----------
    tokenizer_ : HistoryTokenizer
        Fitted to the training rows.
    classifier_ : SequenceClassifier
        The fitted network, with its losses in ``history_``.
    classes_ : ndarray of shape (2,)
        The classes, ascending.
    """

    def __init__(
        self,
        kind: Kind = "transformer",
        tokenizer: HistoryTokenizer | None = None,
        **settings: Any,
    ) -> None:
        self.kind = kind
        self.tokenizer = tokenizer
        self.settings = settings

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give all settings, as scikit-learn asks for them.

        Parameters
        ----------
        deep : bool
            Whether the tokenizer's settings are given too.

        Returns
        -------
        dict
        """
        return {**super().get_params(deep), **self.settings}

    def set_params(self, **params: Any) -> "PurchaseIntent":
        """Change settings.

        Parameters
        ----------
        **params : object
            New values by name, as in `get_params`.

        Returns
        -------
        PurchaseIntent
            This estimator.
        """
        parts = ("kind", "tokenizer")
        own = [name for name in params if name.partition("__")[0] in parts]
        super().set_params(**{name: params.pop(name) for name in own})
        self.settings = {**self.settings, **params}
        return self

    def fit(
        self,
        customers: pd.DataFrame,
        labels: Collection[Any],
        events: pd.DataFrame | None = None,
        until: Until = None,
        validation: tuple[pd.DataFrame, Collection[Any]] | None = None,
    ) -> "PurchaseIntent":
        """Learn the tokens and train the network.

        Parameters
        ----------
        customers : pandas.DataFrame
            The training rows, one a customer.
        labels : collection of shape (N,)
            What they did afterwards: two classes.
        events : pandas.DataFrame, optional
            Columns ``customer``, ``date`` and what happened. May hold events of
            other customers; they are read for the validation alone.
        until : str or datetime.date, optional
            The last day that is known. Later events are refused.
        validation : tuple, optional
            Customers and labels that are not trained on, with their events in
            ``events``. The weights of the epoch with the lowest loss on them are
            kept.

        Returns
        -------
        PurchaseIntent
            This estimator.

        Raises
        ------
        ValueError
            If tokenizer or network refuse what they are given.
        """
        tokenizer = HistoryTokenizer() if self.tokenizer is None else self.tokenizer
        self.tokenizer_ = clone(tokenizer).fit(customers, events)
        self._has_until = until is not None
        sequences = self.tokenizer_.transform(customers, events, until)
        others = None
        if validation is not None:
            held, held_labels = validation
            others = (self.tokenizer_.transform(held, events, until), held_labels)
        self.classifier_ = SequenceClassifier(
            **{
                "vocab_size": len(self.tokenizer_),
                "max_len": self.tokenizer_.max_len_,
                "kind": self.kind,
                **self.settings,
            }
        ).fit(sequences, labels, others)
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(
        self,
        customers: pd.DataFrame,
        events: pd.DataFrame | None = None,
        until: Until = None,
    ) -> Float[np.ndarray, "N 2"]:
        """Give the probability of each class.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row a customer.
        events : pandas.DataFrame, optional
            Their events, if there were some in training.
        until : str or datetime.date, optional
            The last day that is known, if training had one.

        Returns
        -------
        ndarray of shape (N, 2)
            Rows sum to 1; columns in the order of ``classes_``.

        Raises
        ------
        ValueError
            If the tokenizer refuses the frames, or only one of training and
            forecast has a day ``until``.
        """
        sequences = self._read(customers, events, until)
        return self.classifier_.predict_proba(sequences)

    def predict(
        self,
        customers: pd.DataFrame,
        events: pd.DataFrame | None = None,
        until: Until = None,
    ) -> np.ndarray:
        """Choose the more probable class: a threshold of 0.5.

        Parameters
        ----------
        customers, events, until : object
            As for `predict_proba`.

        Returns
        -------
        ndarray of shape (N,)
        """
        chances = self.predict_proba(customers, events, until)
        return self.classes_[chances.argmax(axis=1)]

    def attention(
        self,
        customers: pd.DataFrame,
        events: pd.DataFrame | None = None,
        until: Until = None,
    ) -> tuple[list[str], Float[Tensor, "L H T T"]]:
        """Show where the heads look in the history of one customer.

        Parameters
        ----------
        customers : pandas.DataFrame
            One row.
        events, until : object
            As for `predict_proba`.

        Returns
        -------
        list of str
            His T tokens, readable.
        Tensor of shape (L, H, T, T)
            For each block and head: row = the token that looks, column = the token
            looked at; each row sums to 1.

        Raises
        ------
        ValueError
            If there is more than one customer, or the network has no attention.
        """
        check_is_fitted(self, "classifier_")
        if self.classifier_.kind != "transformer":
            raise ValueError(
                f"kind is {self.classifier_.kind!r}, which has no attention to show: "
                "use 'transformer'."
            )
        if len(customers) != 1:
            raise ValueError(
                f"customers have {len(customers)} rows: give the 1 to be looked at."
            )
        [ids] = self._read(customers, events, until)
        network: Any = self.classifier_.model_
        maps = attention_maps(network.encoder.eval(), torch.tensor([ids]))
        return self.tokenizer_.words(ids), maps[:, 0]

    def _read(
        self, customers: pd.DataFrame, events: pd.DataFrame | None, until: Until
    ) -> list[list[int]]:
        check_is_fitted(self, "classifier_")
        if self._has_until != (until is not None):
            had = "a day" if self._has_until else "none"
            raise ValueError(
                f"until is {until}, but training had {had}: give one to both or none."
            )
        return self.tokenizer_.transform(customers, events, until)

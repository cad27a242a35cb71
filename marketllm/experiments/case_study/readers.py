"""The networks of the experiment `customers`: small ones from random weights, MiniLM.

Learners and scorers as in `contestants`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from marketllm.datasets import group_folds
from marketllm.experiments.case_study.contestants import (
    CLASSICAL,
    Customers,
    Learner,
    Numbers,
    Scorer,
    Settings,
    beside,
    features,
    regression,
    texts_of,
)
from marketllm.experiments.case_study.minilm import tuned_minilm, tuned_scores
from marketllm.experiments.frozen import encoder
from marketllm.marketing import HistoryTokenizer, SequenceClassifier


def cut(customers: Customers, seed: int = 0) -> tuple[Numbers, Numbers]:
    """Cut a fifth off to choose settings with; groups stay together.

    Parameters
    ----------
    customers : Customers
        Training customers.
    seed : int
        Fixes the cut.

    Returns
    -------
    tuple of ndarray
        The rows to train on and the rows to validate with.
    """
    return group_folds(customers.labels, customers.groups, 5, seed)[0]


@dataclass(eq=False)
class Network:
    """A network over the tokens of a customer.

    Attributes
    ----------
    tokenizer : HistoryTokenizer
        Learned from the training customers.
    model : SequenceClassifier
        Trained.
    """

    tokenizer: HistoryTokenizer
    model: SequenceClassifier

    def ids(self, customers: Customers) -> list[list[int]]:
        """Write customers as tokens.

        Parameters
        ----------
        customers : Customers
            Any customers.

        Returns
        -------
        list of list of int
        """
        return self.tokenizer.transform(
            customers.table, customers.events, customers.until
        )

    def __call__(self, customers: Customers) -> Numbers:
        """Give each customer the chance of label 1."""
        return self.model.predict_proba(self.ids(customers))[:, 1]


def train_network(
    train: Customers,
    settings: Settings,
    seed: int,
    validation: Customers | None = None,
) -> Network:
    """Learn the tokens, then train.

    Parameters
    ----------
    train : Customers
        To learn from.
    settings : dict
        ``tokens``, the settings of the tokenizer; all others are the network's.
    seed : int
        Fixes first weights, dropout and order.
    validation : Customers, optional
        They choose the epoch whose weights are kept.

    Returns
    -------
    Network
    """
    network = {name: value for name, value in settings.items() if name != "tokens"}
    tokenizer = HistoryTokenizer(**settings["tokens"])
    tokenizer.fit(train.table, train.events)
    model = SequenceClassifier(len(tokenizer), tokenizer.max_len_, seed=seed, **network)
    found = Network(tokenizer, model)
    others = None
    if validation is not None:
        others = (found.ids(validation), validation.labels)
    model.fit(found.ids(train), train.labels, others)
    return found


def _network(train: Customers, settings: Settings, seed: int) -> Scorer:
    """Train with the settings that are given, or choose among rates first.

    Where ``rates`` are given, a fifth of the training customers chooses the rate and
    the epoch: the weights with the lowest loss on them are kept as they are.
    """
    if "rates" not in settings:
        return train_network(train, settings, seed)
    kept, held_out = map(train.take, cut(train, seed))
    shared = {name: value for name, value in settings.items() if name != "rates"}
    tries = [
        train_network(kept, shared | {"learning_rate": rate}, seed, held_out)
        for rate in settings["rates"]
    ]
    return min(tries, key=lambda found: _best_loss(found.model))


def _best_loss(model: SequenceClassifier) -> float:
    return float(min(model.history_.to_frame()["validation_loss"]))


def _minilm_frozen(train: Customers, settings: Settings, seed: int) -> Scorer:
    """Put the vectors of the messages beside the features."""

    def see(customers: Customers) -> pd.DataFrame:
        vectors = encoder().encode(texts_of(customers) or []).numpy()
        return beside(features(customers), vectors.astype(float), "vector")

    model = regression(see(train), train, settings)
    return lambda customers: model.predict_proba(see(customers))[:, 1]


def _minilm_tuned(train: Customers, settings: Settings, seed: int) -> Scorer:
    """Tune all weights on some messages; attributes and events are not seen."""
    few = train.take(np.arange(min(settings["n_labels"], len(train))))
    rate, n_epochs = settings["rate"], settings["n_epochs"]
    model = tuned_minilm(texts_of(few), few.labels.tolist(), rate, n_epochs, seed)
    return lambda customers: tuned_scores(model, texts_of(customers))


LEARNERS: Mapping[str, Learner] = {
    **CLASSICAL,
    "rnn": _network,
    "lstm": _network,
    "transformer": _network,
    "pretrained": _network,
    "minilm_frozen": _minilm_frozen,
    "minilm_tuned": _minilm_tuned,
}

"""A small Transformer that learns from some of the fine-food reviews."""

import copy
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from marketllm.attention import MultiHeadAttention
from marketllm.batches import LabelledBatches, MaskedBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.datasets import copy_key, group_folds, load_fine_food_reviews
from marketllm.experiments.bodies import _digest
from marketllm.experiments.review_task import Settings, cut_validation
from marketllm.losses import _hidden_token_loss, classification_loss
from marketllm.models import Classifier, MaskedLanguageModel
from marketllm.tokenizer import WordTokenizer, split_words
from marketllm.training import fit, predict_probabilities

DEFAULT: Settings = {
    "vocab_size": 4000,
    "max_len": 128,
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 1,
    "d_ff": 128,
    "dropout": 0.3,
    "norm_first": True,
    "positions": "rotary",
    "embedding_std": 0.1,
    "learning_rate": 3e-3,
    "weight_decay": 0.01,
    "batch_size": 32,
    "schedule": "cosine",
    "warmup_share": 0.05,
}
PRETRAINING: Settings = {
    "n_epochs": 10,
    "learning_rate": 3e-3,
    "batch_size": 16,
    "schedule": "cosine",
    "warmup_share": 0.05,
    "beta2": 0.98,
}
Body = tuple[WordTokenizer, dict[str, Tensor]]


@cache
def tables() -> dict[str, pd.DataFrame]:
    """Load the reviews, once a process.

    Returns
    -------
    dict of str to DataFrame
        ``train`` and ``test``; ``kept`` and ``held out`` are the training part, cut.
    """
    data = load_fine_food_reviews()
    kept, held_out = cut_validation(data.train)
    parts = {"train": data.train, "test": data.test}
    return parts | {"kept": kept, "held out": held_out}


def drawn(table: pd.DataFrame, n_labels: int, seed: int, extra: int = 0) -> list[int]:
    """Draw rows, with the classes in their shares: about ``n_labels``, copies together.

    Parameters
    ----------
    table : DataFrame
        The reviews to draw from.
    n_labels : int
        How many; as many as there are, or more, takes them all.
    seed : int
        Fixes the draw: the same as in the other experiments.
    extra : int
        This many rows are added to the same draw.

    Returns
    -------
    list of int
        Row numbers.
    """
    n_parts = len(table) // n_labels
    if n_parts < 2:
        return list(range(len(table)))
    groups = table["text"].map(copy_key)
    folds = group_folds(table["label"], groups, n_parts, seed)
    return [*folds[0][1].tolist(), *folds[1][1][:extra].tolist()]


def classifier(settings: Settings, vocab_size: int, body: Body | None) -> Classifier:
    """Make a network that has seen no label.

    Parameters
    ----------
    settings : dict
        The fields of `ModelConfig`, beside others.
    vocab_size : int
        Words of its tokenizer; the mask gets one id more.
    body : tuple, optional
        From `pretrained`. None starts from random weights.

    Returns
    -------
    Classifier
    """
    model = Classifier(_sizes(settings, vocab_size), n_classes=2)
    if body is None:
        tokens = model.encoder.embedding.tokens.weight
        nn.init.normal_(tokens, std=settings["embedding_std"])
    else:
        model.encoder.load_state_dict(body[1])
    return model


def train(
    settings: Settings, table: pd.DataFrame, seed: int, body: Body | None = None
) -> tuple[Classifier, WordTokenizer]:
    """Train on all rows of a table.

    Parameters
    ----------
    settings : dict
        As `DEFAULT`, and ``n_epochs``.
    table : DataFrame
        The reviews to learn from.
    seed : int
        Fixes the first weights, dropout and the order.
    body : tuple, optional
        From `pretrained`, with its words.

    Returns
    -------
    tuple
        The network, and its tokenizer.
    """
    tokenizer = (
        _words(table["text"], settings["vocab_size"]) if body is None else body[0]
    )
    torch.manual_seed(seed)
    model = classifier(settings, len(tokenizer), body)
    batches = LabelledBatches(
        table["text"].map(tokenizer.encode).tolist(),
        table["label"].tolist(),
        settings["batch_size"],
        max_len=settings["max_len"],
        seed=seed,
    )
    fit(model, batches, classification_loss, _steps(settings))
    return model, tokenizer


def scores(
    trained: tuple[Classifier, WordTokenizer], texts: Iterable[str]
) -> NDArray[np.float64]:
    """Give each text its probability of class 1.

    Parameters
    ----------
    trained : tuple
        From `train`.
    texts : iterable of str
        N texts.

    Returns
    -------
    ndarray of shape (N,)
    """
    model, tokenizer = trained
    ids = [tokenizer.encode(text) for text in texts]
    order = np.argsort([len(row) for row in ids], kind="stable")
    length = model.encoder.config.max_len
    batches = LabelledBatches(
        [ids[row] for row in order], [0] * len(ids), 100, max_len=length
    )
    found = np.empty(len(ids))
    found[order] = predict_probabilities(model, batches)[:, 1]
    return found


@cache
def pretrained(seed: int) -> tuple[Body, dict[str, Any]]:
    """Let a body guess hidden words of the training reviews, without their labels.

    The weights stay in memory: an experiment that goes on makes them again.

    Parameters
    ----------
    seed : int
        Fixes the first weights, what is hidden and the order.

    Returns
    -------
    tuple
        The tokenizer and the weights of the body; the facts, with a digest of them.
    """
    texts = tables()["train"]["text"]
    tokenizer = _words(texts, DEFAULT["vocab_size"])
    torch.manual_seed(seed)
    model = MaskedLanguageModel(_sizes(DEFAULT | {"dropout": 0.1}, len(tokenizer)))
    nn.init.normal_(model.body.embedding.tokens.weight, std=DEFAULT["embedding_std"])
    mask = len(tokenizer)
    batches = MaskedBatches(
        texts.map(tokenizer.encode).tolist(),
        PRETRAINING["batch_size"],
        mask,
        mask + 1,
        seed,
        max_len=DEFAULT["max_len"],
        special_ids=(tokenizer.pad_id, tokenizer.unknown_id, mask),
    )
    history = fit(model, batches, _hidden_token_loss, _steps(PRETRAINING))
    weights = {name: value.clone() for name, value in model.body.state_dict().items()}
    losses = history.to_frame()["train_loss"].round(4).tolist()
    facts = {"n_words": len(tokenizer), "train_loss": losses}
    return (tokenizer, weights), facts | {"weights": _digest(weights)}


def ranks(model: nn.Module, ids: Tensor) -> dict[str, list[int]]:
    """Tell how many dimensions the tables of scores of each head have.

    Parameters
    ----------
    model : nn.Module
        A trained network.
    ids : Tensor of shape (1, T)
        One text; T should be larger than the width of a head.

    Returns
    -------
    dict
        For each head of the first block: ``rank`` of its T x T scores before the
        softmax, and ``rank_99``: singular values that hold 99% of their squares.
    """
    seen: list[tuple[MultiHeadAttention, Tensor]] = []
    hooks = [
        part.register_forward_hook(
            lambda part, inputs, _: seen.append((part, inputs[0]))
        )
        for part in model.modules()
        if isinstance(part, MultiHeadAttention)
    ]
    with torch.no_grad():
        model.eval()(ids)
        for hook in hooks:
            hook.remove()
        part, x = seen[0]
        query, key, _ = copy.deepcopy(part).double()._project(x.double(), None)
        spectra = torch.linalg.svdvals((query @ key.mT)[0]).numpy()  # H, T
    shares = (spectra**2).cumsum(axis=1) / (spectra**2).sum(axis=1, keepdims=True)
    return {
        "rank": (spectra > 1e-10 * spectra[:, :1]).sum(axis=1).tolist(),
        "rank_99": ((shares < 0.99).sum(axis=1) + 1).tolist(),
    }


def _words(texts: Any, vocab_size: int) -> WordTokenizer:
    """Keep the words that stand there twice: the rest teach what unknown means."""
    counts = Counter(word for text in texts for word in split_words(text))
    n_twice = sum(count > 1 for count in counts.values())
    return WordTokenizer.train(texts, min(vocab_size, 2 + n_twice))


def _sizes(settings: Settings, vocab_size: int) -> ModelConfig:
    names = set(ModelConfig.__dataclass_fields__) & set(settings)
    sizes = {name: settings[name] for name in names}
    return ModelConfig(**sizes | {"vocab_size": vocab_size + 1})


def _steps(settings: Settings) -> TrainingConfig:
    names = set(TrainingConfig.__dataclass_fields__) & set(settings)
    return TrainingConfig(**{name: settings[name] for name in names})

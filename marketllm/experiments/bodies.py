"""Bodies that have read training reviews without their labels."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from marketllm.batches import MaskedBatches, NextTokenBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.datasets import load_fine_food_reviews
from marketllm.experiments.corpus import cut_windows
from marketllm.experiments.review_task import Settings, cut_validation
from marketllm.losses import _hidden_token_loss, token_loss
from marketllm.models import GPT, MaskedLanguageModel
from marketllm.tokenizer import BytePairTokenizer
from marketllm.training import fit, mean_loss

SIZES: Settings = {
    "vocab_size": 4000,
    "max_len": 128,
    "d_model": 96,
    "n_heads": 4,
    "n_layers": 2,
    "d_ff": 384,
    "dropout": 0.1,
    "norm_first": True,
    "positions": "rotary",
}
_SCHEDULE: Settings = {"schedule": "cosine", "warmup_share": 0.05, "beta2": 0.98}
PRETRAINING: dict[str, Settings] = {
    "masked": _SCHEDULE | {"n_epochs": 14, "learning_rate": 3e-3, "batch_size": 16},
    "causal": _SCHEDULE | {"n_epochs": 6, "learning_rate": 3e-3, "batch_size": 16},
}
EMBEDDING_STD = 0.06  # about as long as GPT-2's: 0.02 at width 768
Part = tuple[list[list[int]], list[int]]  # token ids and labels


@cache
def reviews() -> tuple[BytePairTokenizer, dict[str, pd.DataFrame], dict[str, Part]]:
    """Give the tokenizer, the reviews by part, and the same as token ids.

    The tokenizer knows the kept texts only.

    Returns
    -------
    tuple
        Tokenizer, tables and token ids of ``train``, ``test``, ``kept`` and
        ``held out``: the last two are the training part, cut.
    """
    data = load_fine_food_reviews()
    kept, held_out = cut_validation(data.train)
    tables = {
        "train": data.train,
        "test": data.test,
        "kept": kept,
        "held out": held_out,
    }
    tokenizer = BytePairTokenizer.train(kept["text"], SIZES["vocab_size"])
    parts = {
        name: (table["text"].map(tokenizer.encode).tolist(), table["label"].tolist())
        for name, table in tables.items()
    }
    return tokenizer, tables, parts


def new_model(kind: str) -> GPT | MaskedLanguageModel:
    """Make a language model that has read nothing.

    Parameters
    ----------
    kind : {"masked", "causal"}
        What it is to guess: hidden tokens, or the next token.

    Returns
    -------
    GPT or MaskedLanguageModel
    """
    config = ModelConfig(**SIZES)
    model = GPT(config) if kind == "causal" else MaskedLanguageModel(config)
    nn.init.normal_(model.body.embedding.tokens.weight, std=EMBEDDING_STD)
    return model


@cache
def pretrained(kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Pretrain a body on the kept texts.

    The weights stay in memory: an experiment that goes on makes them again.

    Parameters
    ----------
    kind : {"masked", "causal"}
        What is guessed: hidden tokens, or the next token.

    Returns
    -------
    tuple
        The weights of the body, and the facts of the run with a digest of them.
    """
    tokenizer, _, parts = reviews()
    steps = dict(PRETRAINING[kind])
    size, length = steps.pop("batch_size"), SIZES["max_len"]
    torch.manual_seed(0)
    model = new_model(kind)
    batches: Iterable[Any]
    if kind == "masked":
        loss: Callable[..., Tensor] = _hidden_token_loss
        ids = (tokenizer.mask_id, SIZES["vocab_size"])
        batches = MaskedBatches(cut_windows(parts["kept"][0], length), size, *ids, 0)
        held_out = cut_windows(parts["held out"][0], length)
        others = list(MaskedBatches(held_out, size, *ids, 1))
    else:
        loss = token_loss
        ends = tokenizer.end_id
        batches = NextTokenBatches(parts["kept"][0], length, size, ends, 0)
        others = list(NextTokenBatches(parts["held out"][0], length, size, ends))
    before = mean_loss(model, others, loss)
    history = fit(model, batches, loss, TrainingConfig(**steps), others)
    table = history.to_frame()
    weights = {name: value.clone() for name, value in model.body.state_dict().items()}
    facts = {
        "n_weights": sum(weight.numel() for weight in model.parameters()),
        "first_loss": round(before, 4),
        "train_loss": table["train_loss"].round(4).tolist(),
        "validation_loss": table["validation_loss"].round(4).tolist(),
        "best_epoch": history.best_epoch,
        "weights": _digest(weights),
    }
    return weights, facts


def _digest(weights: Mapping[str, Tensor]) -> str:
    """Tell whether two bodies are the same to the last bit."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()[:16]

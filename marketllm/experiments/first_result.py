"""The first result: how well small models sort the fine-food reviews.

Three classical baselines, the encoder with a classification head, and the whole
encoder-decoder asked for a label word, on the fine-food reviews.

Nothing is chosen on the test part. Settings and the number of epochs come from a
validation part cut from the training reviews; every setting tried is in the file.
Then each Transformer is trained on all training reviews, with five seeds.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from marketllm.baselines import majority, naive_bayes, tfidf_logistic_regression
from marketllm.config import ModelConfig
from marketllm.datasets import Dataset, fingerprint, load_fine_food_reviews
from marketllm.experiments.review_task import (
    Settings,
    brief,
    cut_validation,
    measure,
    train_and_score,
)
from marketllm.experiments.runs import Experiment, Run
from marketllm.experiments.text_to_label import TextToLabel, label_word_loss
from marketllm.losses import classification_loss
from marketllm.models import Classifier
from marketllm.tokenizer import WordTokenizer

SEEDS = (0, 1, 2, 3, 4)
BASELINES = {
    "majority": majority,
    "naive_bayes": naive_bayes,
    "tfidf_logistic_regression": tfidf_logistic_regression,
}
# The settings that the search starts from, and what each try changes.
START: Settings = {
    "vocab_size": 4000,
    "max_len": 128,
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "d_ff": 128,
    "dropout": 0.3,
    "norm_first": False,
    "positions": "sinusoidal",
    "embedding_std": 1.0,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "n_epochs": 6,
}
SMALL: Settings = {"embedding_std": 0.1, "positions": "none"}
ONE_BLOCK = SMALL | {"n_layers": 1, "n_epochs": 4}
TRIES: dict[str, Settings] = {
    "start": {},
    "small embeddings, learned positions": SMALL | {"positions": "learned"},
    "small embeddings, no positions": SMALL,
    "small embeddings": {"embedding_std": 0.1},
    "small, none, dropout 0.5": SMALL | {"dropout": 0.5},
    "small, none, learning rate 3e-4": SMALL | {"learning_rate": 3e-4},
    "small, none, one block": ONE_BLOCK,
    "small, none, pre-norm": SMALL | {"norm_first": True, "n_epochs": 4},
    "one block, learned positions": ONE_BLOCK | {"positions": "learned"},
    "one block, width 32": ONE_BLOCK | {"d_model": 32, "d_ff": 64},
    "one block, weight decay 1": ONE_BLOCK | {"weight_decay": 1.0},
    "one block, 8,000 words": ONE_BLOCK | {"vocab_size": 8000},
    "one block, 256 tokens": ONE_BLOCK | {"max_len": 256},
}


def _build(
    kind: str, settings: Settings, tokenizer: WordTokenizer
) -> tuple[nn.Module, Callable[..., Tensor]]:
    """Give an untrained encoder or encoder-decoder, and the loss that goes with it."""
    names = ModelConfig.__dataclass_fields__
    sizes = {name: settings[name] for name in names if name in settings}
    config = ModelConfig(**sizes | {"vocab_size": len(tokenizer)})
    model: nn.Module
    loss: Callable[..., Tensor]
    if kind == "encoder":
        model, loss = Classifier(config, n_classes=2), classification_loss
        embedding = model.encoder.embedding
    else:
        config = replace(config, vocab_size=len(tokenizer) + 1)
        [negative], [positive] = tokenizer.encode("other"), tokenizer.encode("great")
        model, loss = TextToLabel(config, [negative, positive]), label_word_loss
        embedding = model.model.encoder.embedding
    nn.init.normal_(embedding.tokens.weight, std=settings["embedding_std"])
    return model, loss


def _train_transformer(
    kind: str,
    settings: Settings,
    seed: int,
    train: pd.DataFrame,
    scored: pd.DataFrame,
    validate: bool,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Do it for one kind of Transformer; see `train_and_score`."""
    build = partial(_build, kind)
    return train_and_score(build, settings, seed, train, scored, validate)


def _search(kind: str, settings: Settings, seed: int, data: Dataset) -> dict[str, Any]:
    kept, held_out = cut_validation(data.train)
    scores, facts = _train_transformer(kind, settings, seed, kept, held_out, True)
    return brief(held_out["label"], scores) | facts


def _final(kind: str, settings: Settings, seed: int, data: Dataset) -> dict[str, Any]:
    scores, facts = _train_transformer(
        kind, settings, seed, data.train, data.test, False
    )
    return facts | measure(data.test["label"], scores)


def _baseline(make: Callable[[], Pipeline], data: Dataset) -> dict[str, Any]:
    model = make().fit(data.train["text"], data.train["label"])
    return measure(data.test["label"], model.predict_proba(data.test["text"])[:, 1])


def _validated_baseline(make: Callable[[], Pipeline], data: Dataset) -> dict[str, Any]:
    kept, held_out = cut_validation(data.train)
    model = make().fit(kept["text"], kept["label"])
    return brief(held_out["label"], model.predict_proba(held_out["text"])[:, 1])


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give baselines, search, and then five seeds of each Transformer."""
    data = load_fine_food_reviews()
    for name, make in BASELINES.items():
        yield Run(name, {"part": "test", "model": name}, partial(_baseline, make, data))
    name = "tfidf_logistic_regression"
    config = {"part": "validation", "model": name}
    work = partial(_validated_baseline, BASELINES[name], data)
    yield Run(f"validation/{name}", config, work)

    def run(part: str, kind: str, name: str, settings: Settings, seed: int) -> Run:
        work = _search if part == "validation" else _final
        config = {"part": part, "model": kind, "seed": seed, "settings": settings}
        return Run(name, config, partial(work, kind, settings, seed, data))

    for title, changes in TRIES.items():
        yield run("validation", "encoder", f"search/{title}", START | changes, 0)
    best = max(TRIES, key=lambda title: finished[f"search/{title}"]["auc"])
    chosen = START | TRIES[best]
    for kind in ("encoder", "encoder_decoder"):
        epochs = []
        for seed in SEEDS[:3]:
            again = run("validation", kind, f"validation/{kind}/{seed}", chosen, seed)
            if (kind, seed) == ("encoder", 0):  # the search has done this one
                epochs.append(finished[f"search/{best}"]["best_epoch"])
                continue
            yield again
            epochs.append(finished[again.name]["best_epoch"])
        settings = chosen | {"n_epochs": statistics.median_low(epochs)}
        for seed in SEEDS:
            yield run("test", kind, f"{kind}/{seed}", settings, seed)


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    return {"train": fingerprint(data.train), "test": fingerprint(data.test)}


FIRST_RESULT = Experiment(
    name="first_result",
    about="classifiers of the fine-food reviews, from the majority to a Transformer",
    fingerprints=_fingerprints,
    runs=_plan,
)

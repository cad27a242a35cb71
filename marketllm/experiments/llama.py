"""From GPT to Llama, each change alone, and width against text at equal compute.

All models read the same windows of the training reviews, in pieces of words as Llama
does, in the same order for a seed, and are measured on the test reviews. None reads a
window twice, so none can learn it by heart, and dropout is not needed. What a change
saves in weights is given back to the feed-forward network, so that a token costs all
of them the same.

The learning rate is the same for all. It is searched on a part cut from the training
reviews, for both ends of the way, GPT and Llama, over the same few values. The one
with the lowest mean of the two is taken. Post-norm does not learn at this rate, so it
is shown a second time at a rate of its own, searched lower down.
"""

import itertools
import time
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marketllm.batches import NextTokenBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.datasets import fingerprint, load_fine_food_reviews
from marketllm.evaluation import mean_surprise
from marketllm.experiments.corpus import Corpus
from marketllm.experiments.review_task import Settings, cut_validation
from marketllm.experiments.runs import Experiment, Run
from marketllm.losses import token_loss
from marketllm.models import GPT
from marketllm.training import fit

SEEDS = (0, 1, 2)
VOCAB_SIZE = 1024
RATES = (2e-3, 4e-3, 8e-3)
GENTLE_RATES = (5e-4, 1e-3, 2e-3, 4e-3)  # for post-norm, which needs lower ones
# GPT-2 made small: learned places, LayerNorm before, GELU, biases, one table.
GPT_2: Settings = {
    "length": 64,
    "batch_size": 8,
    "d_model": 72,
    "n_heads": 4,
    "n_layers": 3,
    "d_ff": 288,
    "dropout": 0.0,
    "norm_first": True,
    "positions": "learned",
    "feed_forward": "gelu",
    "embedding_std": 0.06,
    "weight_decay": 0.1,
    "beta2": 0.98,
    "schedule": "cosine",
    "warmup_share": 0.05,
    "n_tokens": 400_000,
}
CHANGES: dict[str, Settings] = {
    "gpt": {},
    "post-norm": {"norm_first": False},
    "rms": {"norm": "rms"},
    "rotary": {"positions": "rotary"},
    "swiglu": {"feed_forward": "swiglu", "d_ff": 192},  # three maps, not two
    "grouped": {"n_kv_heads": 2, "d_ff": 324},  # halves W_key and W_value
    "no biases": {"bias": False},
    "untied": {"tied": False},
    "llama": {
        "norm": "rms",
        "positions": "rotary",
        "feed_forward": "swiglu",
        "n_kv_heads": 2,
        "d_ff": 216,
        "bias": False,
    },
}
ENDS = ("gpt", "llama")
# Width against text: Llamas of two widths, both with as many operations.
WIDTHS: dict[str, Settings] = {
    "narrow": {"d_model": 48, "d_ff": 144, "n_tokens": 450_000},
    "wide": {"d_model": 128, "d_ff": 384},
}
CELLS = (("narrow", 1), ("wide", 1), ("narrow", 10), ("wide", 10))
SCALE_SEEDS = (0, 1)


def model_config(settings: Settings, n_ids: int) -> ModelConfig:
    """Pick what shapes the model out of the settings.

    Parameters
    ----------
    settings : dict
        Fields of `ModelConfig`, ``length`` in tokens, and others.
    n_ids : int
        Number of different token ids, V.

    Returns
    -------
    ModelConfig
    """
    names = ModelConfig.__dataclass_fields__
    shape = {name: settings[name] for name in names if name in settings}
    return ModelConfig(vocab_size=n_ids, max_len=settings["length"], **shape)


def count_operations(model: GPT) -> int:
    """Count the multiplications and additions for one token of a full text.

    Only products with matrices are counted: two operations for each weight, and in
    each layer two for each number of the scores and of the average, over all T keys
    (our attention makes the whole table). Training takes about three times as many.

    Parameters
    ----------
    model : GPT
        Any of this experiment.

    Returns
    -------
    int
    """
    config = model.config
    maps = [part for part in model.body.blocks.modules() if isinstance(part, nn.Linear)]
    n_weights = sum(part.weight.numel() for part in maps)
    n_weights += config.vocab_size * config.d_model
    looks = 2 * config.max_len * config.d_model * config.n_layers
    return 2 * (n_weights + looks)


class _Repeated:
    """Batches, pass after pass, until so many tokens have been read."""

    def __init__(self, batches: NextTokenBatches, n_tokens: int) -> None:
        self.batches, self.generator = batches, batches.generator
        self.n_batches = -(-n_tokens // (batches.batch_size * batches.length))

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        passes = itertools.chain.from_iterable(itertools.repeat(self.batches))
        return itertools.islice(passes, self.n_batches)


class _Data:
    """The reviews as pieces: to learn from, to choose by, to be measured on."""

    @cached_property
    def corpus(self) -> Corpus:
        data = load_fine_food_reviews()
        texts = data.train["text"].tolist(), data.test["text"].tolist()
        return Corpus("pieces", VOCAB_SIZE, *texts)

    @cached_property
    def tests(self) -> dict[str, Any]:
        corpus = self.corpus
        return {"train": corpus.train_ids, "held": corpus.test_ids, "of": corpus.test}

    @cached_property
    def choices(self) -> dict[str, Any]:
        # The pieces are those of all training reviews: labels play no part in them.
        kept, held = cut_validation(load_fine_food_reviews().train)
        encode = self.corpus.tokenizer.encode
        texts = kept["text"].tolist(), held["text"].tolist()
        ids = [list(map(encode, part)) for part in texts]
        return {"train": ids[0], "held": ids[1], "of": texts[1]}


def _train(
    part: str, settings: Settings, seed: int, data: _Data, share: int = 1
) -> dict[str, Any]:
    """Train one model and measure it on texts it has not read."""
    torch.manual_seed(seed)
    corpus, texts = data.corpus, getattr(data, part)
    model = GPT(model_config(settings, corpus.n_ids))
    tables = [model.body.embedding.tokens.weight]
    for table in tables if model.output is None else [*tables, model.output]:
        nn.init.normal_(table, std=settings["embedding_std"])
    length, size = settings["length"], settings["batch_size"]
    pad_id, end_id, _ = corpus.special_ids
    shown = texts["train"][::share]
    once = NextTokenBatches(shown, length, size, end_id, seed, pad_id)
    batches = _Repeated(once, settings["n_tokens"])
    names = TrainingConfig.__dataclass_fields__
    chosen = {name: settings[name] for name in names if name in settings}
    started = time.process_time()
    history = fit(model, batches, token_loss, TrainingConfig(n_epochs=1, **chosen))
    seconds = time.process_time() - started
    held = NextTokenBatches(texts["held"], length, 64, end_id, None, pad_id)
    surprise = mean_surprise(model, held)
    losses = np.array(history.step_losses)
    config = model.config
    n_groups = config.n_kv_heads or config.n_heads
    n_cached = 2 * config.n_layers * n_groups * (config.d_model // config.n_heads)
    return {
        "held_out": round(surprise, 4),
        "per_character": round(
            surprise * len(held.ring) / sum(map(len, texts["of"])), 4
        ),
        "n_weights": sum(weight.numel() for weight in model.parameters()),
        "operations": count_operations(model),
        "cache_bytes": 4 * n_cached,
        "n_tokens": len(batches) * size * length,
        "n_passes": round(len(batches) / len(once), 2),
        "train_seconds": round(seconds, 2),
        "first_loss": round(float(losses[0]), 4),
        "train_losses": [
            round(float(mean), 3)
            for mean in map(np.mean, np.array_split(losses, min(20, len(losses))))
        ],
    }


def _best(rates: Mapping[float, float]) -> float:
    return min(rates, key=lambda rate: rates[rate])


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the search, every change with every seed, then width against text."""
    data = _Data()

    def run(
        name: str, part: str, settings: Settings, seed: int = 0, share: int = 1
    ) -> Run:
        about = {"part": part, "seed": seed, "share": share, "settings": settings}
        return Run(name, about, partial(_train, part, settings, seed, data, share))

    def search(
        names: Mapping[str, Settings], rates: tuple[float, ...] = RATES
    ) -> Iterator[Run]:
        for name, settings in names.items():
            for rate in rates:
                title = f"search/{name}/{rate:g}"
                yield run(title, "choices", settings | {"learning_rate": rate})

    def chosen(*names: str, rates: tuple[float, ...] = RATES) -> float:
        held = {
            rate: sum(finished[f"search/{name}/{rate:g}"]["held_out"] for name in names)
            for rate in rates
        }
        return _best(held)

    yield from search({name: GPT_2 | CHANGES[name] for name in ENDS})
    rate = {"learning_rate": chosen(*ENDS)}
    for name, change in CHANGES.items():
        for seed in SEEDS:
            yield run(f"{name}/{seed}", "tests", GPT_2 | change | rate, seed)

    sizes = {name: GPT_2 | CHANGES["llama"] | size for name, size in WIDTHS.items()}
    cost = {
        name: count_operations(GPT(model_config(settings, VOCAB_SIZE)))
        for name, settings in sizes.items()
    }
    budget = cost["narrow"] * sizes["narrow"]["n_tokens"]
    sizes["wide"]["n_tokens"] = budget // cost["wide"]
    yield from search({"wide": sizes["wide"]})
    sizes["narrow"]["learning_rate"] = rate["learning_rate"]
    sizes["wide"]["learning_rate"] = chosen("wide")
    for seed in SCALE_SEEDS:
        for name, share in CELLS:
            title = f"scale/{name}/{share}/{seed}"
            yield run(title, "tests", sizes[name], seed, share)
        short = sizes["narrow"] | {"n_tokens": sizes["wide"]["n_tokens"]}
        yield run(f"scale/short/1/{seed}", "tests", short, seed)

    post_norm = GPT_2 | CHANGES["post-norm"]
    yield from search({"post-norm": post_norm}, GENTLE_RATES)
    post_norm["learning_rate"] = chosen("post-norm", rates=GENTLE_RATES)
    for seed in SEEDS:
        yield run(f"post-norm, own rate/{seed}", "tests", post_norm, seed)


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    return {"train": fingerprint(data.train), "test": fingerprint(data.test)}


LLAMA = Experiment(
    name="llama",
    about="from GPT to Llama, each change alone; and width against text",
    fingerprints=_fingerprints,
    runs=_plan,
)

"""Pretraining at length: causal and masked models beside n-grams, on the reviews.

Every model learns from the same training reviews, without their labels, and is
measured on the test reviews. The Transformers' sizes were chosen on a part cut from
the training reviews. The n-grams are here at several orders, so that the best one can
be taken on the test reviews themselves, which favours it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marketllm.baselines import NGramModel
from marketllm.batches import MaskedBatches, NextTokenBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.datasets import fingerprint, load_fine_food_reviews
from marketllm.evaluation import mean_surprise
from marketllm.experiments.corpus import Corpus, Unit, cut_windows
from marketllm.experiments.review_task import Settings
from marketllm.experiments.runs import Experiment, Run
from marketllm.generation import Sampling, generate
from marketllm.losses import cross_entropy, token_loss
from marketllm.models import GPT, MaskedLanguageModel
from marketllm.training import fit

ORDERS = (1, 2, 3, 4, 5, 6)
MARKS = (0, 10, 30, 100, 300, 1000, 2000, 3000, 4000, 5000)  # updates before a look
SAMPLES = (0, 100, 1000)  # and at the end
N_BEFORE = 31  # tokens a model sees when both kinds are asked left to right
N_WATCHED = 200  # test reviews measured on the way; all of them at the end
PROMPT = "the tea arrived late but"  # Ana's
HIDDEN = "the tea arrived late but it tastes wonderful"
# Embeddings start as long as GPT-2's: standard deviation 0.02 at width 768.
START: Settings = {
    "n_heads": 4,
    "norm_first": True,
    "positions": "rotary",
    "weight_decay": 0.1,
    "beta2": 0.98,
    "schedule": "cosine",
    "warmup_share": 0.05,
}
RUNS: dict[str, Settings] = {
    "causal/words": START
    | {"vocab_size": 4000, "length": 64, "batch_size": 16, "d_model": 96, "d_ff": 384}
    | {"n_layers": 2, "dropout": 0.2, "learning_rate": 3e-3, "n_epochs": 10}
    | {"embedding_std": 0.06},
    "masked/words": START
    | {"vocab_size": 4000, "length": 64, "batch_size": 16, "d_model": 96, "d_ff": 384}
    | {"n_layers": 2, "dropout": 0.1, "learning_rate": 3e-3, "n_epochs": 8}
    | {"embedding_std": 0.06},
    "causal/pieces": START
    | {"vocab_size": 1024, "length": 64, "batch_size": 16, "d_model": 128, "d_ff": 512}
    | {"n_layers": 3, "dropout": 0.1, "learning_rate": 3e-3, "n_epochs": 7}
    | {"embedding_std": 0.05},
}
VOCAB_SIZES: dict[Unit, int] = {"words": 4000, "pieces": 1024}
SHAPE = ("d_model", "d_ff", "n_heads", "n_layers", "dropout", "norm_first", "positions")


class _Watched:
    """The loss, with a look at the model before some of the updates."""

    def __init__(
        self, look: Callable[[nn.Module, int], dict[str, Any]], marks: Sequence[int]
    ) -> None:
        self.look, self.marks = look, marks
        self.n_updates = 0
        self.rows: list[dict[str, Any]] = []

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.n_updates in self.marks:
            self.note(model)
        self.n_updates += 1
        return token_loss(model, batch)

    def note(self, model: nn.Module) -> None:
        model.eval()
        self.rows.append({"updates": self.n_updates} | self.look(model, self.n_updates))
        model.train()


def _n_gram(corpus: Corpus, order: int) -> dict[str, Any]:
    """Count the training texts; score the tests, all and those watched."""
    end_id = corpus.special_ids[1]

    def joined(sequences: Iterable[Sequence[int]]) -> list[int]:
        return [i for ids in sequences for i in (*ids, end_id)]

    model = NGramModel(order, corpus.n_ids).fit([joined(corpus.train_ids)])
    surprise = model.surprise([end_id, *joined(corpus.test_ids)])[1:]
    n_watched = len(joined(corpus.test_ids[:N_WATCHED]))
    return {
        "held_out": round(float(surprise.mean()), 4),
        "watched": round(float(surprise[:n_watched].mean()), 4),
        "n_counts": model.n_counts,
        "n_held_out": len(surprise),
    }


def _transformer(kind: str, settings: Settings, seed: int, corpus: Corpus) -> Settings:
    """Train one model, look at it on the way, and measure it at the end."""
    torch.manual_seed(seed)
    shape = {name: settings[name] for name in SHAPE}
    length, size = settings["length"], settings["batch_size"]
    pad_id, end_id, mask_id = corpus.special_ids
    config = ModelConfig(vocab_size=corpus.n_ids, max_len=length, **shape)
    model = GPT(config) if kind == "causal" else MaskedLanguageModel(config)
    nn.init.normal_(model.body.embedding.tokens.weight, std=settings["embedding_std"])

    def batches(sequences: list[list[int]], seed: int, again: bool) -> Any:
        if kind == "causal":
            given = None if again else seed
            return NextTokenBatches(sequences, length, size, end_id, given, pad_id)
        hidden = MaskedBatches(
            cut_windows(sequences, length),
            size,
            mask_id,
            corpus.n_ids,
            seed,
            special_ids=corpus.special_ids,
            pad_id=pad_id,
        )
        return list(hidden) if again else hidden

    watched = batches(corpus.test_ids[:N_WATCHED], seed, True)
    held_out = batches(corpus.test_ids, seed, True)

    def look(model: nn.Module, n_updates: int, last: bool = False) -> dict[str, Any]:
        row: dict[str, Any] = {"watched": round(mean_surprise(model, watched), 4)}
        if last or n_updates in SAMPLES:
            shown = (
                _continued(model, corpus, seed)
                if isinstance(model, GPT)
                else _filled(model, corpus)
            )
            row["sample"] = shown
        return row

    loss = _Watched(look, MARKS)
    names = TrainingConfig.__dataclass_fields__
    training = TrainingConfig(**{k: settings[k] for k in names if k in settings})
    train = batches(corpus.train_ids, seed, False)
    history = fit(model, train, loss, training)
    loss.look = partial(look, last=True)
    loss.note(model)
    losses = np.array(history.step_losses)
    return {
        "n_weights": sum(weight.numel() for weight in model.parameters()),
        "n_updates": len(losses),
        "n_train": sum(len(ids) + 1 for ids in corpus.train_ids),
        "curve": loss.rows,
        "first_loss": round(float(losses[0]), 4),
        "train_losses": [
            round(float(part.mean()), 3)
            for part in np.array_split(losses, min(60, len(losses)))
        ],
        "held_out": round(mean_surprise(model, held_out), 4),
        "left_to_right": _left_to_right(kind, model, corpus),
    }


@torch.no_grad()
def _left_to_right(kind: str, model: nn.Module, corpus: Corpus) -> dict[str, Any]:
    """Ask either kind for the same tokens, from the 31 before each.

    A masked model is shown the mask where the next token would stand.
    """
    windows = [
        ids
        for ids in cut_windows(corpus.test_ids, N_BEFORE + 1)
        if len(ids) == N_BEFORE + 1
    ]
    total = 0.0
    for part in torch.tensor(windows).split(64):
        before, target = part[:, :-1], part[:, -1]
        if kind == "masked":
            mask = torch.full((len(part), 1), corpus.special_ids[2])
            before = torch.cat([before, mask], dim=1)
        logits = model(before)[:, -1]
        total += float(cross_entropy(logits, target)) * len(part)
    return {"surprise": round(total / len(windows), 4), "n_tokens": len(windows)}


def _continued(model: GPT, corpus: Corpus, seed: int) -> dict[str, Any]:
    """Let a causal model go on from Ana's words."""
    generator = torch.Generator().manual_seed(seed)
    prompt = [corpus.special_ids[1], *corpus.tokenizer.encode(PROMPT)]
    (written,) = generate(model, [prompt], 40, Sampling(0.7), generator=generator)
    words = corpus.words(written)
    return {"text": corpus.text(written), "n_copied": corpus.overlap(words)}


def _filled(model: nn.Module, corpus: Corpus) -> dict[str, Any]:
    """Ask a masked model for each word of Ana's sentence in turn."""
    mask_id = corpus.special_ids[2]
    ids = torch.tensor([corpus.tokenizer.encode(HIDDEN)])
    hidden = ids.repeat(ids.shape[1], 1).fill_diagonal_(mask_id)
    with torch.no_grad():
        chances = model(hidden).softmax(dim=-1).diagonal().T  # T, V
    best = chances.topk(3, dim=-1).indices.tolist()
    true = chances.gather(1, ids.T).squeeze(1)
    return {
        "guesses": [[corpus.text([i]) for i in row] for row in best],
        "true": [round(float(p), 4) for p in true],
    }


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the n-grams, then the Transformers."""
    data = load_fine_food_reviews()
    texts = data.train["text"].tolist(), data.test["text"].tolist()
    corpora = {unit: Corpus(unit, n, *texts) for unit, n in VOCAB_SIZES.items()}
    for unit, corpus in corpora.items():
        for order in ORDERS:
            config = {"unit": unit, "vocab_size": VOCAB_SIZES[unit], "order": order}
            work = partial(_n_gram, corpus, order)
            yield Run(f"n-gram/{unit}/{order}", config, work)
    for name, settings in RUNS.items():
        kind, _, of = name.partition("/")
        about = {"unit": of, "model": kind, "seed": 0, "settings": settings}
        corpus = next(c for c in corpora.values() if c.unit == of)
        yield Run(name, about, partial(_transformer, kind, settings, 0, corpus))


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    return {"train": fingerprint(data.train), "test": fingerprint(data.test)}


PRETRAINING = Experiment(
    name="pretraining",
    about="causal and masked language models of the fine-food reviews, and n-grams",
    fingerprints=_fingerprints,
    runs=_plan,
)

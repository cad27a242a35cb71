"""Fine-tuning: what pretraining on the reviews themselves buys, and what it costs.

One small Transformer sorts the fine-food reviews. It starts from scratch, or from a
body that has read training texts without their labels and guessed hidden tokens, or
next tokens. Then all weights learn from the labels, or LoRA and the head, or the
head alone: with all 4,000 labels, and with a tenth of them.

Nothing is chosen on the test part, and no test text is read before the end. A fifth
of the training reviews is the validation part. Pretraining does not read it either,
so its held-out loss is honest. Validation chooses learning rate and number of epochs
of each way, from the same number of tries.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from marketllm.baselines import tfidf_logistic_regression
from marketllm.batches import LabelledBatches
from marketllm.config import ModelConfig, TrainingConfig
from marketllm.datasets import (
    copy_key,
    fingerprint,
    group_folds,
    load_fine_food_reviews,
)
from marketllm.evaluation import mean_interval
from marketllm.experiments.bodies import (
    EMBEDDING_STD,
    PRETRAINING,
    SIZES,
    Part,
    new_model,
    pretrained,
    reviews,
)
from marketllm.experiments.review_task import Settings, brief, measure
from marketllm.experiments.runs import Experiment, Run
from marketllm.finetuning import add_lora, freeze, n_trainable
from marketllm.losses import classification_loss, cross_entropy
from marketllm.models import Classifier, masked_mean
from marketllm.training import fit, predict_probabilities

SEEDS = (0, 1, 2, 3, 4)
LORA: Settings = {"rank": 8, "alpha": 16.0, "names": ["to_query", "to_value"]}
# The body to start from, what learns, and the learning rates that are tried.
WAYS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "scratch": ("none", "all", (3e-4, 1e-3, 3e-3)),
    "masked, all": ("masked", "all", (3e-4, 1e-3, 3e-3)),
    "causal, all": ("causal", "all", (3e-4, 1e-3, 3e-3)),
    "masked, LoRA": ("masked", "lora", (1e-3, 3e-3, 1e-2)),
    "masked, head": ("masked", "head", (3e-3, 1e-2, 3e-2)),
    "causal, head": ("causal", "head", (3e-3, 1e-2, 3e-2)),
}
# How many labels, and the most epochs that are tried with them.
EPOCHS = {
    4000: {"all": 4, "lora": 4, "head": 40},
    400: {"all": 12, "lora": 12, "head": 100},
}


def _classifier(body: str, free: str, seed: int, digest: str | None) -> Classifier:
    """Give a classifier on a body, with everything frozen that does not learn."""
    torch.manual_seed(seed)
    model = Classifier(ModelConfig(**SIZES), n_classes=2, causal=body == "causal")
    if body == "none":
        start = new_model("masked").body.state_dict()
    else:
        start, facts = pretrained(body)
        if facts["weights"] != digest:
            raise ValueError(
                f"the {body} body has the digest {facts['weights']} now, but had "
                f"{digest} when the file was begun: another processor or other "
                "packages. Begin again with another --folder."
            )
    model.encoder.load_state_dict(start)
    if free != "all":
        freeze(model, except_for=["to_logits"])
    if free == "lora":
        add_lora(model, LORA["rank"], LORA["alpha"], LORA["names"])
    return model


def _labelled(part: Part, seed: int | None) -> LabelledBatches:
    return LabelledBatches(*part, max_len=SIZES["max_len"], seed=seed)


@torch.no_grad()
def _vectors(model: Classifier, part: Part, seed: int | None) -> DataLoader[Any]:
    """Let the frozen body read each text once: one vector, with its label."""
    model.eval()
    vectors = [
        masked_mean(model.encoder(ids), (ids != model.encoder.config.pad_id)[..., None])
        for ids, _ in _labelled(part, None)
    ]
    table = TensorDataset(torch.cat(vectors), torch.tensor(part[1]))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(table, 32, shuffle=seed is not None, generator=generator)


def _head_loss(head: nn.Module, batch: list[Tensor]) -> Tensor:
    return cross_entropy(head(batch[0]), batch[1])


def _some(table: pd.DataFrame, n_labels: int, seed: int) -> list[int]:
    """Draw rows, with the classes in their shares; all of them if there are no more."""
    n_parts = len(table) // n_labels
    if n_parts < 2:
        return list(range(len(table)))
    groups = table["text"].map(copy_key)
    return group_folds(table["label"], groups, n_parts, seed)[0][1].tolist()


def _tune(settings: Settings, seed: int, digest: str | None) -> dict[str, Any]:
    """Train one classifier, and measure it on the validation or the test part."""
    validate = settings["part"] == "validation"
    ours, theirs = ("kept", "held out") if validate else ("train", "test")
    _, tables, parts = reviews()
    rows = _some(tables[ours], settings["n_labels"], seed)
    ids, labels = parts[ours]
    part = [ids[row] for row in rows], [labels[row] for row in rows]
    model = _classifier(settings["body"], settings["free"], seed, digest)
    facts: dict[str, Any] = {"n_trainable": n_trainable(model)}
    started = time.process_time()
    learner: nn.Module
    loss: Callable[..., Tensor]
    batches: Iterable[Any]
    others: Iterable[Any]
    if settings["free"] == "head":
        learner, loss = model.to_logits, _head_loss
        batches, others = (
            _vectors(model, part, seed),
            _vectors(model, parts[theirs], None),
        )
    else:
        learner, loss = model, classification_loss
        batches, others = _labelled(part, seed), _labelled(parts[theirs], None)
    training = TrainingConfig(settings["n_epochs"], settings["learning_rate"])
    history = fit(learner, batches, loss, training, others if validate else None)
    facts["training_seconds"] = round(time.process_time() - started, 1)
    if validate:
        facts["best_epoch"] = history.best_epoch
    scores = predict_probabilities(learner, others)[:, 1]
    true = parts[theirs][1]
    whole = not validate and seed == 0 and settings["n_labels"] == max(EPOCHS)
    return facts | (measure(true, scores) if whole else brief(true, scores))


def _tfidf(n_labels: int, seed: int) -> dict[str, Any]:
    _, tables, _ = reviews()
    train, test = tables["train"], tables["test"]
    rows = train.iloc[_some(train, n_labels, seed)]
    model = tfidf_logistic_regression().fit(rows["text"], rows["label"])
    return brief(test["label"], model.predict_proba(test["text"])[:, 1])


def _summary(finished: Mapping[str, dict[str, Any]], title: str) -> dict[str, Any]:
    """Average five seeds: mean, low end and high end of the 95% interval by t."""
    found: dict[str, Any] = {}
    runs = [finished[f"{title}/{seed}"] for seed in SEEDS]
    for metric in ("accuracy", "auc"):
        values = [np.ravel(run[metric])[0] for run in runs]
        mean = mean_interval(values)
        ends = (mean.estimate, mean.low, mean.high)
        found[metric] = [round(end, 4) for end in ends]
    for name in ("n_trainable", "training_seconds"):
        if name in runs[0]:
            found[name] = round(float(np.mean([run[name] for run in runs])), 1)
    return found


def _run(name: str, settings: Settings, seed: int, digest: str | None) -> Run:
    work = partial(_tune, settings, seed, digest)
    return Run(name, settings | {"seed": seed}, work)


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give TF-IDF, the two bodies, and for each way its tries and its five seeds."""
    few = min(EPOCHS)
    titles = [f"tfidf, {few} labels"]
    for seed in SEEDS:
        config = {"part": "test", "n_labels": few, "seed": seed}
        yield Run(f"{titles[0]}/{seed}", config, partial(_tfidf, few, seed))
    start = {"sizes": SIZES, "embedding_std": EMBEDDING_STD}
    for kind, settings in PRETRAINING.items():
        config = start | {"part": "training texts", "settings": settings}
        work = partial(lambda kind: pretrained(kind)[1], kind)
        yield Run(f"pretrain/{kind}", config, work)
    for n_labels, n_epochs in EPOCHS.items():
        for way, (body, free, rates) in WAYS.items():
            digest = finished.get(f"pretrain/{body}", {}).get("weights")
            title = f"{way}, {n_labels} labels"
            settings = {"body": body, "free": free, "n_labels": n_labels}
            settings |= start | ({"lora": LORA} if free == "lora" else {})

            tries = {rate: f"search/{title}, rate {rate}" for rate in rates}
            for rate, name in tries.items():
                tried = {"learning_rate": rate, "n_epochs": n_epochs[free]}
                yield _run(name, settings | tried | {"part": "validation"}, 0, digest)
            best = max(rates, key=lambda rate: finished[tries[rate]]["auc"])
            chosen = settings | {"part": "test", "learning_rate": best}
            chosen["n_epochs"] = finished[tries[best]]["best_epoch"]
            for seed in SEEDS:
                yield _run(f"{title}/{seed}", chosen, seed, digest)
            titles.append(title)
    for title in titles:
        yield Run(
            f"summary/{title}", {"part": "test"}, partial(_summary, finished, title)
        )


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    return {"train": fingerprint(data.train), "test": fingerprint(data.test)}


FINETUNING = Experiment(
    name="finetuning",
    about="a small Transformer tuned from scratch and after pretraining, in whole "
    "and in part",
    fingerprints=_fingerprints,
    runs=_plan,
)

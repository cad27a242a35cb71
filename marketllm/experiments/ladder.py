"""The ladder: generations of models of text, each reading the same reviews.

Classical models first, then recurrent networks, then two Transformers of the same
width that differ in their mask alone. All learn from the 4,000 training reviews and
nothing else, and are tested on the same 1,000.

Nothing is chosen on the test part: settings and epochs come from the validation
part that the first result uses, by the highest AUC, and every try is in the file.
Scores are log-odds, so that models which are very sure keep their order.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from marketllm.baselines import (
    NGramClassifier,
    bag_of_words,
    majority,
    naive_bayes,
    tfidf_logistic_regression,
    word_vector_classifier,
)
from marketllm.batches import LabelledBatches
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
from marketllm.losses import classification_loss
from marketllm.models import Classifier, RecurrentClassifier
from marketllm.tokenizer import WordTokenizer

SEEDS = (0, 1, 2, 3, 4)
DISTANCES = 100  # how far back the gradient is followed
# What Ana wrote, and two texts of hers that hold the same words.
ANA = (
    "the tea arrived late but it tastes wonderful",
    "not stuffing, not good at all",
    "the soup was good, not bad at all",
    "the soup was bad, not good at all",
)
CLASSICAL: dict[str, Callable[..., Any]] = {
    "majority": majority,
    "bag_of_words": bag_of_words,
    "naive_bayes": naive_bayes,
    "ngrams": NGramClassifier,
    "word_vectors": word_vector_classifier,
    "tfidf": tfidf_logistic_regression,
}
CLASSICAL_TRIES: dict[str, list[Settings]] = {
    "bag_of_words": [{"c": 0.03}, {"c": 0.1}, {"c": 0.3}],
    "ngrams": [{"order": 2}, {"order": 3}, {"order": 4}],
    "word_vectors": [{"width": 100}, {"width": 200}, {"width": 300}],
}
# As the first result chose them for its encoder.
START: Settings = {
    "vocab_size": 4000,
    "max_len": 256,
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 1,
    "d_ff": 128,
    "dropout": 0.3,
    "norm_first": False,
    "positions": "none",
    "embedding_std": 0.1,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "n_epochs": 4,
}
RECURRENT_TRIES: dict[str, Settings] = {
    "start": {},
    "learning rate 3e-3": {"learning_rate": 3e-3},
    "large embeddings": {"embedding_std": 1.0, "n_epochs": 6},
    "two layers": {"n_layers": 2},
}
TRIES: dict[str, dict[str, Settings]] = {
    "rnn": RECURRENT_TRIES,
    "lstm": RECURRENT_TRIES,
    "gpt": {
        "start": {},
        "learning rate 3e-3": {"learning_rate": 3e-3},
        "learned positions": {"positions": "learned"},
    },
    "bert": {"start": {}, "learned positions": {"positions": "learned"}},
}


def gradient_norms(
    states: Callable[[Tensor], Tensor], x: Float[Tensor, "B T D"], seed: int = 0
) -> Float[Tensor, " T"]:
    """Follow the gradient of the last state back through the inputs.

    Parameters
    ----------
    states : callable
        Maps inputs of shape (B, T, D) to states of shape (B, T, D).
    x : Tensor of shape (B, T, D)
        The inputs.
    seed : int
        Fixes one random direction of length 1 for each example: the state's part
        along it is what is differentiated.

    Returns
    -------
    Tensor of shape (T,)
        Median over the examples of the norm of the gradient at the input that lies
        0, 1, 2, ... steps back.

    References
    ----------
    Pascanu, Mikolov and Bengio (2013), section 2.
    """
    inputs = x.detach().clone().requires_grad_()
    last = states(inputs)[:, -1]
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(last.shape, generator=generator).to(last)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    [gradient] = torch.autograd.grad((last * direction).sum(), inputs)
    return gradient.norm(dim=-1).median(dim=0).values.flip(0)


def _build(
    kind: str, kept: dict[str, Any], settings: Settings, tokenizer: WordTokenizer
) -> tuple[nn.Module, Callable[..., Tensor]]:
    names = ModelConfig.__dataclass_fields__
    sizes = {name: settings[name] for name in names if name in settings}
    config = ModelConfig(**sizes | {"vocab_size": len(tokenizer)})
    model: nn.Module
    if kind in ("rnn", "lstm"):
        model = RecurrentClassifier(config, 2, kind)  # type: ignore[arg-type]
        tokens = model.embedding.tokens
    else:
        model = Classifier(config, 2, causal=kind == "gpt")
        tokens = model.encoder.embedding.tokens
    nn.init.normal_(tokens.weight, std=settings["embedding_std"])
    kept["model"] = model
    return model, classification_loss


def _train(
    kind: str,
    settings: Settings,
    seed: int,
    train: pd.DataFrame,
    scored: pd.DataFrame,
    validate: bool,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Train one network; for a recurrent one, follow its gradient afterwards."""
    kept: dict[str, Any] = {}
    started = time.process_time()
    build = partial(_build, kind, kept)
    chances, facts = train_and_score(build, settings, seed, train, scored, validate)
    facts["seconds"] = round(time.process_time() - started, 2)
    if not validate and kind in ("rnn", "lstm"):
        tokenizer = WordTokenizer.train(train["text"], settings["vocab_size"])
        facts["gradient"] = _gradient(kept["model"], tokenizer, scored["text"])
        torch.manual_seed(seed)
        untrained, _ = _build(kind, kept, settings, tokenizer)
        facts["gradient_untrained"] = _gradient(untrained, tokenizer, scored["text"])
    sure = np.clip(chances.astype(float), 1e-7, 1 - 1e-7)
    return np.log(sure / (1 - sure)), facts


def _gradient(model: Any, tokenizer: WordTokenizer, texts: Any) -> list[float]:
    """Follow the gradient in texts that are long enough, relative to the last word."""
    ids = [tokenizer.encode(text)[: DISTANCES + 1] for text in texts]
    long = [row for row in ids if len(row) == DISTANCES + 1]
    [(batch, _)] = LabelledBatches(long, [0] * len(long), batch_size=len(long))
    model.double().eval()
    norms = gradient_norms(lambda x: model.recurrent(x)[0], model.embedding(batch))
    return [float(f"{number:.3g}") for number in norms / norms[0]]


def _fit_classical(
    name: str, settings: Settings, train: pd.DataFrame, scored: pd.DataFrame
) -> tuple[np.ndarray, dict[str, Any]]:
    started = time.process_time()
    with threadpool_limits(1):
        model = CLASSICAL[name](**settings).fit(train["text"], train["label"])
        other, great = model.predict_log_proba(scored["text"]).T
    seconds = round(time.process_time() - started, 2)
    return great - other, {"n_weights": _size(model), "seconds": seconds}


def _size(model: Any) -> int:
    """Count the numbers that a classical model learned from the reviews."""
    if isinstance(model, NGramClassifier):
        return sum(one.n_counts for one in model.models_)
    learned = "coef_ intercept_ class_prior_ class_log_prior_ feature_log_prob_ "
    names = (learned + "vectors_ idf_").split()
    parts = [model[step] for step in model.named_steps]
    return sum(np.size(getattr(part, name, ())) for part in parts for name in names)


def _search(kind: str, settings: Settings, seed: int, data: Dataset) -> dict[str, Any]:
    kept, held_out = cut_validation(data.train)
    if kind in CLASSICAL:
        scores, facts = _fit_classical(kind, settings, kept, held_out)
    else:
        scores, facts = _train(kind, settings, seed, kept, held_out, True)
    return brief(held_out["label"], scores, threshold=0.0) | facts


def _final(kind: str, settings: Settings, seed: int, data: Dataset) -> dict[str, Any]:
    """Train on all training reviews; score the test reviews and Ana's texts."""
    ana = pd.DataFrame({"text": ANA, "label": 0})  # her labels are not looked at
    scored = pd.concat([data.test[["text", "label"]], ana], ignore_index=True)
    if kind in CLASSICAL:
        scores, facts = _fit_classical(kind, settings, data.train, scored)
    else:
        scores, facts = _train(kind, settings, seed, data.train, scored, False)
    n_test = len(data.test)
    facts["ana"] = scores[n_test:].round(3).tolist()
    measured = measure(data.test["label"], scores[:n_test], digits=3, threshold=0.0)
    return facts | measured


def _plan(finished: Mapping[str, dict[str, Any]]) -> Iterator[Run]:
    """Give the classical models, then search and five seeds of each network."""
    data = load_fine_food_reviews()

    def run(part: str, kind: str, name: str, settings: Settings, seed: int = 0) -> Run:
        work = _search if part == "validation" else _final
        config = {"part": part, "model": kind, "seed": seed, "settings": settings}
        return Run(name, config, partial(work, kind, settings, seed, data))

    for kind in CLASSICAL:
        tries = {_title(kind, one): one for one in CLASSICAL_TRIES.get(kind, [{}])}
        for name, settings in tries.items():
            yield run("validation", kind, name, settings)
        best = max(tries, key=lambda name: finished[name]["auc"])
        yield run("test", kind, kind, tries[best])
    yield run("validation", "ngrams", _title("ngrams", {"order": 1}), {"order": 1})
    for kind, changes in TRIES.items():
        for title, change in changes.items():
            name = f"search/{kind}/{title}"
            yield run("validation", kind, name, START | change)
        best = max(changes, key=lambda title: finished[f"search/{kind}/{title}"]["auc"])
        chosen = START | changes[best]
        epochs = [finished[f"search/{kind}/{best}"]["best_epoch"]]
        for seed in SEEDS[1:3]:
            again = run("validation", kind, f"validation/{kind}/{seed}", chosen, seed)
            yield again
            epochs.append(finished[again.name]["best_epoch"])
        settings = chosen | {"n_epochs": statistics.median_low(epochs)}
        for seed in SEEDS:
            yield run("test", kind, f"{kind}/{seed}", settings, seed)


def _title(kind: str, settings: Settings) -> str:
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"search/{kind}/{told or 'start'}"


def _fingerprints() -> dict[str, str]:
    data = load_fine_food_reviews()
    return {"train": fingerprint(data.train), "test": fingerprint(data.test)}


LADDER = Experiment(
    name="ladder",
    about="eight generations of models of text on the fine-food reviews",
    fingerprints=_fingerprints,
    runs=_plan,
)

"""A search for the settings of the small Transformer, with Optuna."""

import time
from typing import Any

from marketllm.datasets import copy_key, group_folds
from marketllm.evaluation import auc
from marketllm.experiments.case_study.small_texts import (
    DEFAULT,
    drawn,
    scores,
    tables,
    train,
)
from marketllm.experiments.review_task import Settings, brief

MANY, FEW = 4000, 400  # labels
RANGES: Settings = {  # (low, high, logarithmic) or a list of choices
    "learning_rate": (3e-4, 1e-2, True),
    "dropout": (0.0, 0.5, False),
    "embedding_std": (0.03, 1.0, True),
    "d_model": [32, 64, 96],
    "n_layers": [1, 2],
    "vocab_size": [2000, 4000, 8000],
    "positions": ["rotary", "none"],
}
LONGEST = {MANY: (1, 5), FEW: (3, 20)}  # epochs that the search may ask for


def _ask(trial: Any, longest: tuple[int, int]) -> Settings:
    """Let Optuna suggest settings."""
    found: Settings = {"n_epochs": trial.suggest_int("n_epochs", *longest)}
    for name, values in RANGES.items():
        if isinstance(values, list):
            found[name] = trial.suggest_categorical(name, values)
        else:
            low, high, log = values
            found[name] = trial.suggest_float(name, low, high, log=log)
    return found | {"d_ff": 2 * found["d_model"]}


def search(
    start: Settings, n_labels: int, seed: int, n_trials: int, keep: bool
) -> dict[str, Any]:
    """Search on a fifth of the labels; the settings to begin with are the first trial.

    The test part is scored too, so that one can see what was gained there. It
    decides nothing.

    Parameters
    ----------
    start : dict
        The settings to begin with, ``n_epochs`` among them.
    n_labels : int
        The labels that there are, those of the validation among them.
    seed : int
        Fixes the draw, the sampler and the networks.
    n_trials : int
        Networks to train.
    keep : bool
        Whether the scores of each trial on the validation part are kept.

    Returns
    -------
    dict
        ``trials`` in order, and ``chosen``: the settings with the best AUC on the
        validation part.

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the search needs Optuna: pip install "marketllm[cases]"'
        ) from error
    if n_labels == MANY:
        ours, theirs = tables()["kept"], tables()["held out"]
    else:
        table = tables()["train"]
        table = table.iloc[drawn(table, n_labels, seed)].reset_index(drop=True)
        groups = table["text"].map(copy_key)
        kept, held_out = group_folds(table["label"], groups, 5, seed)[0]
        ours, theirs = table.iloc[kept], table.iloc[held_out]
    test = tables()["test"]
    trials: list[dict[str, Any]] = []

    def once(trial: Any) -> float:
        asked = _ask(trial, LONGEST[n_labels])
        started = time.process_time()
        trained = train(DEFAULT | asked, ours, seed)
        spent = round(time.process_time() - started, 1)
        found = scores(trained, theirs["text"])
        facts = {"settings": asked, "seconds": spent}
        facts["validation"] = brief(theirs["label"], found)
        facts["test"] = brief(test["label"], scores(trained, test["text"]))
        if keep:
            facts["scores"] = found.round(3).tolist()
        trials.append(facts)
        return auc(theirs["label"], found)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: start[name] for name in ("n_epochs", *RANGES)})
    study.optimize(once, n_trials=n_trials)
    return {"trials": trials, "chosen": trials[study.best_trial.number]["settings"]}

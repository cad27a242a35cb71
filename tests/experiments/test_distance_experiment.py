"""The distance dial: the file repeats, nobody beats the ceiling, the best reach it."""

import json

import numpy as np
import pytest

from marketllm.datasets import distance_dial, simulate_customers
from marketllm.experiments import DISTANCE, distance, load

pytest.importorskip("lightgbm")


@pytest.fixture(scope="module")
def book():
    return load("distance")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in DISTANCE.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == json.loads(json.dumps(config))
    assert book["data"] == DISTANCE.fingerprints()


def test_a_short_run_repeats(results):
    again, kept = distance._probe()["scores"], results["probe"]["scores"]
    np.testing.assert_allclose(again, kept, atol=0.01)
    assert np.ptp(kept) > 0.03


@pytest.mark.parametrize("name", ["lightgbm, counts/12/0", "ceiling/12/0"])
def test_a_cheap_run_repeats(results, name):
    run = next(run for run in DISTANCE.runs(results) if run.name == name)
    again, kept = run.work(), results[name]
    for key in ("accuracy", "auc"):
        assert again[key] == pytest.approx(kept[key], abs=0.01)


def test_the_summary_is_that_of_the_runs(results):
    cells = {}
    for name, found in results.items():
        parts = name.split("/")
        if len(parts) == 3 and parts[0] not in ("try", "ceiling"):
            cells.setdefault("/".join(parts[:2]), []).append(found)
    assert {len(runs) for runs in cells.values()} == {len(distance.SEEDS)}
    again = distance._summary(cells)
    assert set(again) == set(results["summary"])
    for cell, found in results["summary"].items():
        for key, value in found.items():
            assert again[cell][key] == pytest.approx(value, abs=1e-4), (cell, key)


def test_no_model_beats_the_ceiling_by_more_than_chance(results):
    """The leakage canary: p-values corrected for all models and distances."""
    summary = results["summary"]
    assert len(summary) > 40
    for cell, found in summary.items():
        assert min(found["p_accuracy_holm"], found["p_auc_holm"]) > 0.05, cell


def test_the_canary_would_sing():
    """A model that has seen the labels of some test customers is found out."""
    customers = simulate_customers(distance_dial(12, 50, 2000), seed=0)
    labels = customers.data.test["label"].to_numpy()
    scores = np.asarray(customers.probabilities["test"]).copy()
    scores[:300] = labels[:300]
    caught = distance._summary({"leak": [distance.judge(customers, scores)] * 5})
    assert caught["leak"]["p_accuracy_holm"] < 1e-6
    assert caught["leak"]["p_auc_holm"] < 1e-3


@pytest.mark.parametrize("gap", distance.GAPS)
def test_the_best_model_comes_within_two_points_of_the_ceiling(results, gap):
    cells = {n: s for n, s in results["summary"].items() if n.endswith(f"/{gap}")}
    for metric in ("accuracy_minus_ceiling", "auc_minus_ceiling"):
        assert max(found[metric][0] for found in cells.values()) > -0.02


def test_one_network_without_a_hint_comes_within_two_points_too(results):
    """Rotary positions reach the ceiling where all five seeds have learned."""
    summary = results["summary"]
    for cell in (
        "transformer, rotary/4",
        "transformer, rotary, 2 blocks/12",
        "transformer, rotary/32",
    ):
        assert summary[cell]["accuracy_minus_ceiling"][0] > -0.02, cell


def test_absolute_positions_and_counts_stay_at_chance(results):
    summary = results["summary"]
    for name in ("transformer, sinusoidal", "transformer, learned", "lightgbm, counts"):
        for gap in distance.GAPS:
            mean = summary[f"{name}/{gap}"]["accuracy"][0]
            assert abs(mean - 0.5) < 0.03, (name, gap)

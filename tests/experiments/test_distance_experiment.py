"""The distance dial: the file is what the code does, and no model knows too much."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from marketllm.datasets import distance_dial, simulate_customers
from marketllm.experiments import DISTANCE, load
from marketllm.experiments.case_study import distance as module
from marketllm.experiments.case_study import distance_models as models

pytest.importorskip("lightgbm")
ALL_GAPS = ("transformer, rotary", "transformer, sinusoidal", "transformer, learned")
ALL_GAPS += (*models.TABLES, "rnn", "lstm")


@pytest.fixture(scope="module")
def book():
    return load("distance")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


def cell(results, name, gap, key="accuracy"):
    return np.array([results[f"{name}/{gap}/{seed}"][key] for seed in module.SEEDS])


def cells(results):
    return sorted(
        {n.rsplit("/", 1)[0] for n in results if n.count("/") == 2}
        - {f"ceiling/{gap}" for gap in module.GAPS}
        - {f"try/{name}" for name in module.NETWORKS}
    )


# The file -----------------------------------------------------------------------


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in DISTANCE.runs(results)}
    assert set(book["runs"]) == set(planned)
    for name, config in planned.items():
        assert book["runs"][name]["config"] == json.loads(json.dumps(config))
    assert book["data"] == DISTANCE.fingerprints()


def test_every_distance_has_every_model_with_five_seeds(results):
    assert module.GAPS == (1, 4, 12, 32)
    assert len(module.SEEDS) == 5
    found = cells(results)
    for gap in module.GAPS:
        for name in ALL_GAPS:
            assert f"{name}/{gap}" in found
    assert set(results["summary"]) == set(found)
    assert all(len(cell(results, *one.rsplit("/", 1))) == 5 for one in found)


def test_the_rates_were_chosen_on_a_draw_of_their_own(book, results):
    assert module.TRY_SEED not in module.SEEDS
    for name in module.NETWORKS:
        tried = {rate: results[f"try/{name}/{rate}"]["auc"] for rate in module.RATES}
        best = max(tried, key=tried.get)
        for run, entry in book["runs"].items():
            if run.startswith(f"{name}/"):
                assert entry["config"]["learning_rate"] == best


def test_a_few_scores_repeat(results):
    kept = results["probe"]["scores"]
    np.testing.assert_allclose(module._probe()["scores"], kept, atol=5e-3)
    assert np.std(kept) > 0.02


@pytest.mark.parametrize(
    ("name", "work"),
    [("logistic regression, neighbours", "12/0"), ("lightgbm, distances", "12/0")],
)
def test_a_table_repeats(results, name, work):
    again = module._learn(models.TABLES[name], 12, 0)
    kept = results[f"{name}/{work}"]
    for key in ("accuracy", "auc", "accuracy_minus_ceiling", "auc_minus_ceiling"):
        assert again[key] == pytest.approx(kept[key], abs=2e-3)
    assert abs(again["n_otherwise"] - kept["n_otherwise"]) <= 4


def test_the_ceilings_are_those_of_the_draws(results):
    for gap, seed in ((12, 0), (32, 3)):
        found = simulate_customers(distance_dial(gap, 4500, 2000), seed)
        labels, rule = found.data.test["label"], found.rule()
        kept = results[f"ceiling/{gap}/{seed}"]
        assert kept["accuracy"] == pytest.approx(0.9)
        right = (rule == labels).mean()
        assert kept["realised_accuracy"] == pytest.approx(right, abs=1e-4)
        area = roc_auc_score(labels, rule)
        assert kept["realised_auc"] == pytest.approx(area, abs=1e-4)
        assert kept["rule"]["accuracy_minus_ceiling"] == 0
        assert kept["rule"]["n_otherwise"] == 0


def test_differences_to_the_ceiling_are_paired(results):
    for one in cells(results):
        name, gap = one.rsplit("/", 1)
        for seed in module.SEEDS:
            run, top = results[f"{one}/{seed}"], results[f"ceiling/{gap}/{seed}"]
            for key in ("accuracy", "auc"):
                difference = run[key] - top[f"realised_{key}"]
                kept = run[f"{key}_minus_ceiling"]
                assert kept == pytest.approx(difference, abs=2e-4), name
            # What is lost is what was decided otherwise and wrong.
            lost = run["n_otherwise"] - 2 * run["n_right_then"]
            assert run["accuracy_minus_ceiling"] == pytest.approx(
                -lost / 2000, abs=1e-4
            )


def holm_by_hand(p_values):
    """Reject from the smallest on while p is at most 0.05 / what is left."""
    n_rejected = 0
    for k, p in enumerate(sorted(p_values)):
        if p > 0.05 / (len(p_values) - k):
            break
        n_rejected += 1
    return n_rejected


def test_no_model_knows_more_than_can_be_known(results):
    """Two exact families of tests, corrected for their number."""
    p_values = []
    for one in cells(results):
        runs = [results[f"{one}/{seed}"] for seed in module.SEEDS]
        n, right = (sum(r[k] for r in runs) for k in ("n_otherwise", "n_right_then"))
        # Right where the best rule is wrong: with chance 0.1, for 0.9 is the ceiling.
        p = stats.binomtest(right, n, 0.1, alternative="greater").pvalue if n else 1.0
        z = sum(run["auc_z"] for run in runs) / math.sqrt(5)
        kept = results["summary"][one]
        assert kept["p_accuracy"] == pytest.approx(p, abs=1e-4)
        assert kept["p_auc"] == pytest.approx(stats.norm.sf(z), abs=1e-4)
        p_values += [p, stats.norm.sf(z)]
        assert min(kept["p_accuracy_holm"], kept["p_auc_holm"]) > 0.05
    assert len(p_values) == 2 * (4 * 10 + 4)
    assert holm_by_hand(p_values) == 0
    # Were nothing wrong with the p-values, they would fill 0 to 1 (AUC: no zeros).
    assert 0.2 < np.mean(p_values) < 0.8


def test_no_model_is_better_than_the_best_rule(results):
    p_values = []
    for one in cells(results):
        for key in ("accuracy_minus_ceiling", "auc_minus_ceiling"):
            gains = cell(results, *one.rsplit("/", 1), key)
            if np.ptp(gains) == 0:
                assert gains.max() <= 0
                continue
            p_values.append(stats.ttest_1samp(gains, 0, alternative="greater").pvalue)
    assert len(p_values) > 70
    assert holm_by_hand(p_values) == 0


def test_the_best_model_and_the_best_network_come_within_two_points(results):
    for gap in module.GAPS:
        losses = {
            one: -cell(results, *one.rsplit("/", 1), "accuracy_minus_ceiling").mean()
            for one in cells(results)
            if one.endswith(f"/{gap}")
        }
        networks = [one for one in losses if one.startswith(("rnn", "lstm", "trans"))]
        assert min(losses.values()) < 0.02
        assert min(losses[one] for one in networks) < 0.02


def test_summaries_are_those_of_the_runs(results):
    for one, kept in results["summary"].items():
        for key in ("accuracy", "auc", "accuracy_minus_ceiling", "auc_minus_ceiling"):
            values = cell(results, *one.rsplit("/", 1), key)
            reach = stats.t.ppf(0.975, 4) * stats.sem(values)
            expected = values.mean() + reach * np.array([0, -1, 1])
            np.testing.assert_allclose(kept[key], expected, atol=1e-4)


# What the ledger says -------------------------------------------------------------


def test_k2_is_as_the_ledger_says(results):
    def mean(name, gap):
        return cell(results, name, gap).mean()

    for gap in module.GAPS:
        top = cell(results, "ceiling", gap, "realised_accuracy").mean()
        # A table with the right columns needs no network at any distance.
        assert mean("lightgbm, distances", gap) == pytest.approx(top, abs=1e-3)
        assert mean("lightgbm, counts", gap) == pytest.approx(0.5, abs=0.02)
        assert 0.55 < mean("lightgbm, places", gap) < 0.62
        # Absolute places never get there, not even at a distance of one.
        for positions in ("sinusoidal", "learned"):
            assert cell(results, f"transformer, {positions}", gap).max() < 0.53
        assert mean("transformer, rotary", gap) > 0.8
    assert mean("logistic regression, neighbours", 1) > 0.89
    assert mean("logistic regression, neighbours", 4) < 0.53
    # The LSTM is as good at one, finds the pair now and then at four, and then no more.
    assert mean("lstm", 1) > mean("transformer, rotary", 1)
    assert (cell(results, "lstm", 4) > 0.6).sum() == 1
    assert max(cell(results, "lstm", gap).max() for gap in (12, 32)) < 0.53
    assert (cell(results, "lstm, 30 epochs", 12) > 0.6).sum() == 2
    # With rotary positions the Transformer reaches 32, though not from every start.
    near = {
        gap: (
            cell(results, "transformer, rotary", gap, "accuracy_minus_ceiling") > -0.02
        )
        for gap in module.GAPS
    }
    assert {gap: int(rows.sum()) for gap, rows in near.items()} == {
        1: 4,
        4: 4,
        12: 3,
        32: 3,
    }


def test_k24_is_as_the_ledger_says(results):
    one, two = (
        cell(results, f"transformer, rotary{blocks}", 12, "accuracy_minus_ceiling")
        for blocks in ("", ", 2 blocks")
    )
    # One block reaches as far; the second makes training reliable.
    assert one.max() > -0.001
    assert two.min() > -0.02
    assert two.mean() > one.mean() + 0.05
    # Without relative positions a second block changes nothing.
    assert cell(results, "transformer, learned, 2 blocks", 12).max() < 0.53


# The code -----------------------------------------------------------------------


def test_tables_are_counted_right():
    rng = np.random.default_rng(0)
    offer, visit = models._pair_numbers()
    events = rng.integers(1, 13, size=(6, 20))
    events[0, [2, 9]], events[0, [3, 14]] = offer, visit
    counts, places = models._counts(events), models._places(events)
    distances = models._distances(events)
    assert (counts.shape, places.shape) == ((6, 12), (6, 240))
    assert distances.shape == (6, 19)
    for row, history in enumerate(events.tolist()):
        assert counts[row].tolist() == [history.count(kind) for kind in range(1, 13)]
        cells_ = [float(kind == k) for kind in history for k in range(1, 13)]
        assert places[row].tolist() == cells_
        for d in range(1, 20):
            pairs = zip(history[:-d], history[d:], strict=True)
            assert distances[row, d - 1] == list(pairs).count((offer, visit))
    assert distances[0, 0] >= 1


def test_kinds_are_numbered_from_one():
    found = simulate_customers(distance_dial(3, 30, 20))
    events = models.numbered(found)
    kinds = found.data.events["kind"].to_numpy().reshape(50, 48)
    names = sorted(set(kinds.ravel()))
    assert (np.array(["", *names])[events] == kinds).all()
    offer, visit = models._pair_numbers()
    assert (names[offer - 1], names[visit - 1]) == ("offer", "visit")


@pytest.fixture(scope="module")
def drawn():
    return simulate_customers(distance_dial(5, 60, 2000), seed=20)


def test_judging_by_hand(drawn):
    labels, rule = drawn.data.test["label"].to_numpy(), drawn.rule()
    scores = np.where(rule == 1, 0.75, 0.25)
    wrong = np.flatnonzero(rule != labels)[:3]
    right = np.flatnonzero(rule == labels)[:40]
    scores[np.hstack([wrong, right])] = 1 - scores[np.hstack([wrong, right])]
    found = module.judge(drawn, scores)
    assert (found["n_otherwise"], found["n_right_then"]) == (43, 3)
    top = drawn.ceiling()
    assert found["accuracy_minus_ceiling"] == pytest.approx(-37 / 2000, abs=1e-4)
    area = roc_auc_score(labels, scores)
    assert found["auc_minus_ceiling"] == pytest.approx(
        area - top.realised_auc, abs=1e-4
    )
    assert abs(module.judge(drawn, rule)["auc_z"]) == 0


def test_a_leak_is_seen_and_noise_is_not(drawn):
    labels, rule = drawn.data.test["label"].to_numpy(), drawn.rule()
    rng = np.random.default_rng(1)
    noise = rule + rng.normal(size=2000)
    honest = module.judge(drawn, noise)
    assert abs(honest["auc_z"]) < 3
    assert (
        stats.binom.sf(honest["n_right_then"] - 1, honest["n_otherwise"], 0.1) > 0.001
    )
    # Some of the noise comes from the labels: worse than the rule, and yet too good.
    leaked = module.judge(drawn, noise + 0.6 * labels)
    assert leaked["accuracy_minus_ceiling"] < -0.1
    assert leaked["auc_z"] > 4
    assert stats.binom.sf(leaked["n_right_then"] - 1, leaked["n_otherwise"], 0.1) < 1e-4


def test_the_summary_reports_a_leak(drawn):
    labels = drawn.data.test["label"].to_numpy()
    rng = np.random.default_rng(2)
    runs = {"honest": [], "leaks": []}
    for _ in range(3):
        noise = drawn.rule() + rng.normal(size=2000)
        runs["honest"].append(module.judge(drawn, noise))
        runs["leaks"].append(module.judge(drawn, noise + 0.6 * labels))
    found = module._summary(runs)
    for key in ("p_accuracy_holm", "p_auc_holm"):
        assert found["leaks"][key] < 0.001 < 0.05 < found["honest"][key]


def test_the_customers_set_aside_are_not_learned_from(monkeypatch):
    """Turned labels there change when training stops, and not what it learns."""
    monkeypatch.setattr(models, "N_TRAIN", 120)
    monkeypatch.setattr(models, "N_CHOOSE", 60)
    found = simulate_customers(distance_dial(1, 180, 30), seed=3)
    events, labels = models.numbered(found), found.data.train["label"].to_numpy()
    train, test = events[:180], events[180:]
    settings = {"n_epochs": 1, "d_model": 8, "n_heads": 2, "dropout": 0.0}
    turned = labels.copy()
    turned[120:] = 1 - turned[120:]
    first, again = (
        models.network(settings, train, y, test)[0] for y in (labels, turned)
    )
    np.testing.assert_array_equal(first, again)
    turned[:60] = 1 - turned[:60]
    assert np.abs(models.network(settings, train, turned, test)[0] - first).max() > 1e-3


def test_plans_go_on_after_the_tries_and_seeds_change_the_draw(results):
    runs = {run.name: run for run in DISTANCE.runs(results)}
    names = list(runs)
    assert names[0] == "probe"
    assert names[-1] == "summary"
    first, second = (models.draw(12, seed) for seed in (0, 1))
    assert first[1].shape == (4500, 48)
    assert first[2].shape == (2000, 48)
    assert (first[1] != second[1]).any()
    assert (first[2] != second[2]).any()

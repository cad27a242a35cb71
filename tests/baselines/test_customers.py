"""Tables of customers: RFM, the pipelines, and the model of repeat purchases."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jaxtyping import config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from marketllm.baselines import (
    BGNBD,
    rfm,
    table_lightgbm,
    table_logistic_regression,
    table_naive_bayes,
    text_lightgbm,
)
from marketllm.evaluation import auc

PURCHASES = pd.DataFrame(
    [
        ("ana", "1997-01-10", 10.0),
        ("ana", "1997-01-10", 5.0),
        ("bo", "1997-02-01", 7.0),
        ("ana", "1997-03-10 23:00", 30.0),
        ("bo", "1997-01-02", np.nan),
    ],
    columns=["customer", "date", "amount"],
).assign(date=lambda frame: pd.to_datetime(frame["date"], format="mixed"))
TABLES = {
    "logistic": table_logistic_regression,
    "bayes": table_naive_bayes,
    "trees": table_lightgbm,
}


def customers(n, seed, signal=3.0):
    """Buying hangs on a number that may be missing, on a name, and on a gap."""
    rng = np.random.default_rng(seed)
    age = rng.normal(size=n)
    region = rng.choice(["north", "south", "east"], n)
    gap = rng.random(n) < 0.3
    logit = signal * (0.6 * age + (region == "north") - 0.4 + gap * 0.8 - 0.24)
    frame = pd.DataFrame(
        {
            "customer": rng.permutation(n),
            "age": age,
            "noise": np.where(gap, np.nan, rng.normal(size=n)),
            "region": pd.Series(region).where(rng.random(n) < 0.9, None),
            "amount": rng.gamma(2, 50, n),
            "text": "some words",
            "label": (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )
    return frame, frame.pop("label")


def test_rfm_by_hand():
    table = rfm(PURCHASES, "1997-03-31")
    assert table.index.tolist() == ["ana", "bo"]
    assert table.index.name == "customer"
    assert table["recency_days"].tolist() == [21, 58]
    assert table["age_days"].tolist() == [80, 88]
    assert table["n_purchases"].tolist() == [2, 2]  # two rows of one day are one
    assert table["amount"].tolist() == [45.0, 7.0]
    assert table["mean_amount"].tolist() == [22.5, 3.5]
    mixed = PURCHASES.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(rfm(mixed, "1997-03-31"), table)
    without = rfm(PURCHASES.drop(columns="amount"), "1997-03-10")
    assert list(without) == ["recency_days", "age_days", "n_purchases"]
    assert without["recency_days"].tolist() == [0, 37]


def test_rfm_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="1 events are later than until=1997-03-09"):
        rfm(PURCHASES, "1997-03-09")
    with pytest.raises(ValueError, match="no column 'date'"):
        rfm(PURCHASES.drop(columns="date"), "1997-03-31")
    with pytest.raises(ValueError, match="0 events, of which 0"):
        rfm(PURCHASES[:0], "1997-03-31")
    missing = PURCHASES.assign(customer=PURCHASES["customer"].replace("bo", None))
    with pytest.raises(ValueError, match="5 events, of which 2 have no customer"):
        rfm(missing, "1997-03-31")
    with pytest.raises(ValueError, match="date has the type .*to_datetime"):
        rfm(PURCHASES.assign(date="1997-01-01"), "1997-03-31")


@pytest.mark.parametrize("name", TABLES)
def test_planted_truth_is_found(name):
    if name == "trees":
        pytest.importorskip("lightgbm")
    frame, labels = customers(1200, 0)
    other, truth = customers(800, 1)
    model = TABLES[name]().fit(frame, labels)
    chances = model.predict_proba(other)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert auc(truth, chances[:, 1]) > 0.84  # who knows the rule: 0.88
    # Each part of the rule is used: without it the forecast is worse.
    for column in ("age", "region", "noise"):
        less = clone(model).fit(frame.drop(columns=column), labels)
        assert auc(truth, less.predict_proba(other)[:, 1]) < auc(truth, chances[:, 1])


@pytest.mark.parametrize("name", TABLES)
def test_shuffled_labels_give_chance(name):
    if name == "trees":
        pytest.importorskip("lightgbm")
    other, truth = customers(1500, 1)
    scores = []
    for seed in range(3):
        frame, labels = customers(400, seed + 2)
        mixed = labels.sample(frac=1, random_state=seed).to_numpy()
        model = TABLES[name]().fit(frame, mixed)
        scores.append(auc(truth, model.predict_proba(other)[:, 1]))
    # One such AUC spreads by about 0.1: the few columns that matter lean by chance.
    assert abs(np.mean(scores) - 0.5) < 0.25


@pytest.mark.parametrize("name", TABLES)
def test_number_label_and_text_are_never_read(name):
    if name == "trees":
        pytest.importorskip("lightgbm")
    frame, labels = customers(300, 0)
    plain = TABLES[name]().fit(frame, labels).predict_proba(frame)
    changed = frame.assign(customer=labels, label=labels, text=labels.astype(str))
    told = TABLES[name]().fit(changed, labels).predict_proba(changed)
    np.testing.assert_array_equal(told, plain)
    assert plain.std() > 0.05


@pytest.mark.parametrize("name", TABLES)
def test_only_training_rows_are_learned_from(name):
    if name == "trees":
        pytest.importorskip("lightgbm")
    frame, labels = customers(300, 0)
    model = TABLES[name]().fit(frame, labels)
    one = model.predict_proba(frame[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wild = pd.concat([frame[:1], frame[1:].assign(age=1e6, region="west")])
        among_others = model.predict_proba(wild)[:1]
    np.testing.assert_allclose(among_others, one, rtol=1e-12)
    again = TABLES[name]().fit(frame, labels).predict_proba(frame)
    np.testing.assert_array_equal(again, model.predict_proba(frame))


def test_the_logistic_table_by_hand():
    frame, labels = customers(200, 0)
    frame["amount"] = np.where(np.arange(200) == 3, -20, frame["amount"])  # a refund
    model = table_logistic_regression(c=0.5).fit(frame, labels)
    columns = []

    def scaled(values):
        columns.append((values - values.mean()) / values.std(ddof=0))

    scaled(np.sign(frame["amount"]) * np.log1p(frame["amount"].abs()))
    scaled(frame["age"])
    scaled(frame["noise"].fillna(frame["noise"].median()))
    scaled(frame["noise"].isna().astype(float))
    for region in ("east", "missing", "north", "south"):
        columns.append((frame["region"].fillna("missing") == region).astype(float))
    expected = np.stack([np.asarray(column) for column in columns], axis=1)
    found = model["prepare"].transform(frame)
    found = found.toarray() if hasattr(found, "toarray") else found
    np.testing.assert_allclose(found, expected, atol=1e-12)
    by_hand = LogisticRegression(C=0.5, max_iter=3000).fit(expected, labels)
    np.testing.assert_allclose(
        model.predict_proba(frame), by_hand.predict_proba(expected), atol=1e-4
    )


def test_text_trees_learn_from_raw_texts():
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    words = np.where(labels, "wonderful", "awful")
    fill = rng.choice(["tea", "soup", "cake", "bread"], (400, 3))
    texts = [f"{' '.join(f)} {w}" for f, w in zip(fill, words, strict=True)]
    model = text_lightgbm().fit(texts[:300], labels[:300])
    assert auc(labels[300:], model.predict_proba(texts[300:])[:, 1]) > 0.99
    mixed = rng.permutation(labels[:300])
    by_chance = text_lightgbm().fit([" ".join(f) for f in fill[:300]], mixed)
    chances = by_chance.predict_proba([" ".join(f) for f in fill[300:]])[:, 1]
    assert 0.35 < auc(labels[300:], chances) < 0.65  # 2 standard errors: 0.12


@pytest.fixture(scope="module")
def published():
    """The customers that the paper was written with, in its units: weeks."""
    lifetimes = pytest.importorskip("lifetimes")
    folder = Path(lifetimes.__file__).parent / "datasets"
    return pd.read_csv(folder / "cdnow_customers_summary.csv")


def as_rfm(frame):
    return pd.DataFrame(
        {
            "n_purchases": frame["frequency"].astype(int) + 1,
            "age_days": 7 * frame["T"],
            "recency_days": 7 * (frame["T"] - frame["recency"]),
        }
    )


def test_the_published_numbers(published):
    model = BGNBD().fit(as_rfm(published))
    # Fader, Hardie and Lee (2005), table 2: alpha there is in weeks.
    found = {**model.parameters_, "alpha": model.parameters_["alpha"] / 7}
    expected = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
    assert found == pytest.approx(expected, abs=6e-4)


def test_who_bought_often_and_lately_buys_again(published):
    model = BGNBD().fit(as_rfm(published))
    table = pd.DataFrame(
        {
            "n_purchases": [6, 6, 1, 300],
            "age_days": [270.0, 270, 270, 270],
            "recency_days": [5.0, 200, 270, 1],
        }
    )
    expected = model.expected_purchases(table, 90)
    assert np.isfinite(expected).all()
    assert expected[3] > expected[0] > expected[2] > 0
    assert expected[0] > 5 * expected[1]
    longer = model.expected_purchases(table, 180)
    assert (longer > expected).all()
    alive = model.p_alive(table)
    assert alive[2] == 1  # bought once: cannot have left, in this model
    assert alive[0] > 0.8
    assert alive[1] < 0.1


@pytest.fixture
def _no_types():
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_no_types")
def test_purchases_that_cannot_be_modelled_are_refused():
    pytest.importorskip("lifetimes")
    table = rfm(PURCHASES, "1997-03-31")
    with pytest.raises(ValueError, match="not fitted: call fit"):
        BGNBD().p_alive(table)
    with pytest.raises(ValueError, match="none of the 2 customers bought on 2 days"):
        BGNBD().fit(table.assign(n_purchases=1))
    with pytest.raises(ValueError, match="0 rows: give at least 1 customer"):
        BGNBD().fit(table[:0])
    with pytest.raises(ValueError, match="no column 'age_days'"):
        BGNBD().fit(table.drop(columns="age_days"))
    with pytest.raises(ValueError, match="days is 0: give a number above 0"):
        BGNBD().expected_purchases(table, 0)
    with pytest.raises(ValueError, match="customers have 0 rows"):
        table_naive_bayes().fit(table[:0], [])


@pytest.mark.parametrize("build", [table_lightgbm, text_lightgbm])
def test_a_missing_library_is_named(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "marketllm\[cases\]"'):
        build()


def test_missing_lifetimes_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lifetimes", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "marketllm\[data\]"'):
        BGNBD().fit(rfm(PURCHASES, "1997-03-31"))


def test_too_few_customers_are_refused_and_nothing_is_printed(monkeypatch, capsys):
    from lifetimes import BetaGeoFitter
    from lifetimes.utils import ConvergenceError

    def fail(self, *table, **rest):
        print("precision loss")
        raise ConvergenceError("did not converge")

    table = rfm(PURCHASES, "1997-03-31").assign(n_purchases=2)
    monkeypatch.setattr(BetaGeoFitter, "fit", fail)
    n = len(table)
    with pytest.raises(ValueError, match=rf"{n} customers, of whom {n} .*hundreds"):
        BGNBD().fit(table)
    assert capsys.readouterr().out == ""


def test_an_expectation_that_is_no_number_is_refused(monkeypatch, published):
    from lifetimes import BetaGeoFitter

    table = as_rfm(published)
    model = BGNBD().fit(table)
    name = "conditional_expected_number_of_purchases_up_to_time"
    broken = np.r_[np.nan, np.inf, np.ones(len(table) - 2)]
    monkeypatch.setattr(BetaGeoFitter, name, lambda *given: broken)
    with pytest.raises(ValueError, match=rf"no expectation for 2 of {len(table)}"):
        model.expected_purchases(table, 30)

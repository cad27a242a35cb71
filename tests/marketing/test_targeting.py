"""Uplift learners: planted effects are found, and econml finds the same."""

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from marketllm.marketing import (
    DoublyRobust,
    HistoryTokenizer,
    PurchaseIntent,
    TransformedOutcome,
    TwoModel,
)

COLUMNS = list("abc")
LEARNERS = {
    "two_model": TwoModel(LogisticRegression()),
    "transformed": TransformedOutcome(LinearRegression()),
    "classes": TransformedOutcome(LogisticRegression()),
    "doubly_robust": DoublyRobust(LogisticRegression(), LinearRegression()),
}
by_learner = pytest.mark.parametrize("name", LEARNERS)


def planted(n, seed, coin=True):
    """Who is high in a buys anyway; who is high in b is moved, who is low is put off.

    Without a coin those high in a are treated more often.
    """
    rng = np.random.default_rng(seed)
    people = pd.DataFrame(rng.normal(size=(n, 3)), columns=COLUMNS)
    known = np.full(n, 0.5) if coin else np.clip(expit(1.5 * people["a"]), 0.05, 0.95)
    chances = expit(np.stack([people["a"], people["a"] + 1.5 * people["b"]], axis=1))
    treated = (rng.random(n) < known).astype(int)
    labels = (rng.random(n) < chances[np.arange(n), treated]).astype(int)
    return people, treated, labels, np.asarray(known), chances[:, 1] - chances[:, 0]


@by_learner
def test_planted_effects_are_found(name):
    people, treated, labels, _, _ = planted(4000, 0)
    others, _, _, _, truth = planted(1000, 1)
    found = clone(LEARNERS[name]).fit(people, treated, labels, 0.5).effect(others)
    assert found.shape == (1000,)
    assert spearmanr(found, truth).statistic > 0.85
    rmse = np.sqrt(np.mean((found - truth) ** 2))
    assert rmse < 0.65 * truth.std()
    assert 0.75 < np.polyfit(truth, found, 1)[0] < 1.25  # its size, not only its order
    assert (found[truth > 0.2] > 0).mean() > 0.97
    # Likely buyers are others: a response model does not find these.
    response = LogisticRegression().fit(people, labels).predict_proba(others)[:, 1]
    assert spearmanr(response, truth).statistic < 0.5


@by_learner
def test_swapped_arms_turn_the_effect_round(name):
    people, treated, labels, _, _ = planted(1000, 0)
    found = clone(LEARNERS[name]).fit(people, treated, labels, 0.5).effect(people)
    swapped = clone(LEARNERS[name]).fit(people, 1 - treated, labels, 0.5)
    assert found.std() > 0.1
    # The folds are cut by arm and label, so they differ for the swapped arms.
    tolerance = 0.1 if name == "doubly_robust" else 1e-4
    np.testing.assert_allclose(swapped.effect(people), -found, atol=tolerance)


@by_learner
def test_shuffled_arms_have_no_effect(name):
    people, treated, labels, _, _ = planted(4000, 0)
    mixed = np.random.default_rng(1).permutation(treated)
    found = clone(LEARNERS[name]).fit(people, mixed, labels, 0.5).effect(people)
    real = clone(LEARNERS[name]).fit(people, treated, labels, 0.5).effect(people)
    assert np.abs(found).mean() < 0.3 * np.abs(real).mean()


def test_two_models_are_two_models():
    people, treated, labels, _, _ = planted(500, 0)
    learner = TwoModel(LogisticRegression()).fit(people, treated, labels)
    arms = [
        LogisticRegression()
        .fit(people[treated == arm], labels[treated == arm])
        .predict_proba(people)[:, 1]
        for arm in (0, 1)
    ]
    np.testing.assert_allclose(learner.chances(people), np.stack(arms, axis=1))
    np.testing.assert_allclose(learner.effect(people), arms[1] - arms[0])


def test_the_mean_of_the_transformed_outcome_is_the_effect():
    """Over many lots, for each of a few customers, with a chance of its own each."""
    rng = np.random.default_rng(0)
    known, chances = (
        np.array([0.2, 0.5, 0.9]),
        np.array([[0.3, 0.6], [0.5, 0.4], [0, 1]]),
    )
    rows = np.tile(np.arange(3), 20_000)
    treated = (rng.random(60_000) < known[rows]).astype(int)
    labels = (rng.random(60_000) < chances[rows, treated]).astype(int)
    people = pd.DataFrame(np.eye(3)[rows], columns=COLUMNS)
    learner = TransformedOutcome(LinearRegression(fit_intercept=False))
    learner.fit(people, treated, labels, known[rows])
    found = learner.effect(people[:3])
    np.testing.assert_allclose(found, chances[:, 1] - chances[:, 0], atol=0.04)
    # The wrong chance gives the wrong effect.
    learner.fit(people, treated, labels, 0.5)
    assert np.abs(learner.effect(people[:3]) - [0.3, -0.1, 1]).max() > 0.2


def average(classifier, propensity_model, n_logs=8):
    """Mean error of the average effect where likely buyers were treated."""
    found = []
    for seed in range(n_logs):
        people, treated, labels, _, truth = planted(2000, seed, coin=False)
        learner = DoublyRobust(classifier, LinearRegression(), propensity_model)
        learner.fit(people, treated, labels)
        found.append(learner.average_.estimate - truth.mean())
    return np.mean(found), np.std(found) / n_logs**0.5


@pytest.mark.parametrize(
    ("purchases", "lots", "right"),
    [
        (True, True, True),
        (False, True, True),
        (True, False, True),
        (False, False, False),
    ],
    ids=["both right", "purchases wrong", "lots wrong", "both wrong"],
)
def test_doubly_robust_needs_one_right_model(purchases, lots, right):
    dull, able = DummyClassifier(), LogisticRegression()
    error, spread = average(able if purchases else dull, able if lots else dull)
    assert spread < 0.015
    assert (abs(error) < 4 * spread) == right
    if not right:
        assert error > 0.15  # the naive difference: likely buyers were treated


def test_likely_buyers_treated_mislead_who_takes_the_lot_for_a_coin():
    people, treated, labels, known, truth = planted(6000, 3, coin=False)

    def rmse(learner, propensities):
        found = clone(learner).fit(people, treated, labels, propensities).effect(people)
        return np.sqrt(np.mean((found - truth) ** 2))

    honest = rmse(LEARNERS["transformed"], known)
    assert honest < 0.8 * rmse(LEARNERS["transformed"], 0.5)
    assert rmse(LEARNERS["doubly_robust"], known) < 0.65 * truth.std()


class Chance(RegressorMixin, BaseEstimator):
    """A classifier that econml takes for a regressor."""

    def fit(self, rows, labels):
        self.model_ = LogisticRegression().fit(rows, labels)
        return self

    def predict(self, rows):
        return self.model_.predict_proba(rows)[:, 1]


class PerArm(ClassifierMixin, BaseEstimator):
    """econml shows one model the arm as the last column: two models in one."""

    def fit(self, rows, labels):
        self.classes_ = np.unique(labels)
        self.models_ = []
        for arm in (0, 1):
            own = rows[:, -1] == arm
            self.models_.append(LogisticRegression().fit(rows[own, :-1], labels[own]))
        return self

    def predict_proba(self, rows):
        found = [model.predict_proba(rows[:, :-1]) for model in self.models_]
        return np.where(rows[:, -1:] == 1, found[1], found[0])

    def predict(self, rows):
        return self.predict_proba(rows).argmax(axis=1)


@pytest.mark.filterwarnings("ignore")
def test_econml_finds_the_same():
    metalearners = pytest.importorskip("econml.metalearners")
    dr = pytest.importorskip("econml.dr")
    people, treated, labels, _, _ = planted(600, 0, coin=False)
    rows = people.to_numpy()
    theirs = metalearners.TLearner(models=Chance()).fit(labels, treated, X=rows)
    ours = TwoModel(LogisticRegression()).fit(people, treated, labels)
    np.testing.assert_allclose(
        theirs.effect(rows).ravel(), ours.effect(people), atol=1e-10
    )
    made = DoublyRobust(
        LogisticRegression(), Ridge(), LogisticRegression(), n_folds=3, least=1e-6
    ).fit(people, treated, labels)
    theirs = dr.DRLearner(
        model_propensity=LogisticRegression(),
        model_regression=PerArm(),
        model_final=Ridge(),
        discrete_outcome=True,
        min_propensity=1e-6,
        cv=made.folds_,
    ).fit(labels, treated, X=rows)
    found = theirs.effect(rows).ravel()
    np.testing.assert_allclose(found, made.effect(people), atol=1e-10)
    assert found.std() > 0.1
    assert np.abs(found - ours.effect(people)).max() > 0.05


def histories(n, seed):
    """Who had an offer is moved by the campaign; nothing else tells who."""
    rng = np.random.default_rng(seed)
    names = [f"{seed}-{i}" for i in range(n)]
    offered = rng.random(n) < 0.5
    kinds = rng.choice(["visit", "search"], (n, 3))
    kinds[offered, rng.integers(0, 3, offered.sum())] = "offer"
    events = pd.DataFrame(
        {
            "customer": np.repeat(names, 3),
            "date": pd.Timestamp("2025-01-01")
            + pd.to_timedelta(np.tile([0, 1, 2], n), unit="D"),
            "kind": kinds.ravel(),
        }
    )
    treated = rng.integers(2, size=n)
    chances = np.where(offered & (treated == 1), 0.9, 0.15)
    labels = (rng.random(n) < chances).astype(int)
    people = pd.DataFrame({"customer": names, "age": rng.integers(20, 60, n)})
    return people, treated, labels, events, offered


@pytest.fixture(scope="module")
def reader():
    tokens = HistoryTokenizer(gaps=False, n_bins=2)
    return PurchaseIntent(
        tokenizer=tokens,
        d_model=8,
        n_heads=2,
        dropout=0.0,
        n_epochs=8,
        learning_rate=0.01,
    )


@pytest.mark.parametrize("kind", ["two_model", "classes", "doubly_robust"])
def test_the_transformer_learns_effects_from_histories(reader, kind):
    learner = {
        "two_model": TwoModel(reader),
        "classes": TransformedOutcome(reader),
        "doubly_robust": DoublyRobust(
            reader, Chances(), DummyClassifier(), add_chances=True
        ),
    }[kind]
    people, treated, labels, events, _ = histories(700, 0)
    others, _, _, more, offered = histories(200, 1)
    learner.fit(people, treated, labels, 0.5, events=events)
    found = learner.effect(others, events=more)
    assert found[offered].mean() > 0.5
    assert abs(found[~offered].mean()) < 0.2
    order = np.random.default_rng(0).permutation(200)
    again = learner.effect(others.iloc[order], events=more)
    np.testing.assert_allclose(again, found[order], atol=1e-5)


class Chances(RegressorMixin, BaseEstimator):
    """A straight line through the two predictions: nothing else says who is moved."""

    def fit(self, rows, guesses):
        self.line_ = LinearRegression().fit(rows[["without", "with"]], guesses)
        return self

    def predict(self, rows):
        return self.line_.predict(rows[["without", "with"]])


@by_learner
def test_settings_inputs_and_outside_random_numbers_stay(name):
    people, treated, labels, _, _ = planted(200, 0)
    before = people.copy()
    np.random.seed(3)
    torch.manual_seed(3)
    drawn = np.random.rand(), torch.rand(1)
    np.random.seed(3)
    torch.manual_seed(3)
    learner = clone(LEARNERS[name])
    assert learner.fit(people, treated, labels, 0.5) is learner
    first = learner.effect(people)
    assert (np.random.rand(), torch.rand(1)) == drawn
    pd.testing.assert_frame_equal(people, before)
    own = learner.get_params(deep=False)
    inner = own.get("classifier", own.get("model"))
    assert not hasattr(inner, "coef_")  # only copies are fitted
    moved = people.set_index(np.arange(1000, 1200))
    again = clone(learner).fit(moved, treated.tolist(), pd.Series(labels), 0.5)
    np.testing.assert_array_equal(again.effect(moved), first)
    with pytest.raises(NotFittedError):
        clone(learner).effect(people)


def test_another_seed_cuts_other_folds():
    people, treated, labels, _, _ = planted(300, 0)
    first, second = (
        DoublyRobust(LogisticRegression(), LinearRegression(), seed=seed).fit(
            people, treated, labels
        )
        for seed in (0, 1)
    )
    assert not np.array_equal(first.folds_[0][1], second.folds_[0][1])
    assert sorted(np.concatenate([rows for _, rows in first.folds_])) == list(
        range(300)
    )
    assert first.propensities_.std() > 0
    assert first.average_.low < first.average_.estimate < first.average_.high


PEOPLE, TREATED, BOUGHT, *_ = planted(40, 0)
ONE_ARM, ONE_CLASS = np.ones(40, dtype=int), np.where(TREATED == 1, 1, BOUGHT)


@by_learner
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treated": ONE_ARM}, "treated holds 40 treated and 0 others"),
        ({"treated": 0 * ONE_ARM}, "treated holds 0 treated and 40 others"),
        ({"labels": ONE_CLASS}, r"labels of the \d+ treated customers are all 1"),
        ({"labels": 0 * BOUGHT}, r"labels of the \d+ untreated customers are all 0"),
        ({"labels": BOUGHT + 1}, "labels has .* outside 0 and 1"),
        ({"treated": TREATED * 0.5}, "treated has .* outside 0 and 1"),
        ({"treated": TREATED[:39]}, "Different lengths"),
        ({"customers": PEOPLE[:39]}, "39 customers but 40 of treated"),
        ({"propensities": 0.0}, "not above 0 and below 1, the first is 0"),
        ({"propensities": 1.0}, "always or never treated"),
        ({"propensities": [0.5] * 39}, "40 customers but 39 propensities"),
        ({"propensities": [0.5] * 39 + [np.nan]}, "propensities has 1 of 40"),
        (
            {"customers": PEOPLE[:0], "treated": [], "labels": []},
            "customers have 0 rows",
        ),
        ({"treated": ["yes"] * 40}, "treated must be numbers"),
        ({"labels": [b"\xff"] * 40}, "labels must be numbers"),
        ({"labels": [10**400] * 40}, "labels must be numbers"),
        ({"customers": PEOPLE.assign(treated=TREATED)}, "have a column 'treated'"),
    ],
    ids=range(17),
)
def test_what_no_effect_can_be_told_from_is_refused(name, change, message):
    given = {"customers": PEOPLE, "treated": TREATED, "labels": BOUGHT} | change
    with pytest.raises(ValueError, match=message):
        clone(LEARNERS[name]).fit(**given)


@by_learner
def test_wrong_types_are_refused(name, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="customers is a list, expected a pandas"):
        clone(LEARNERS[name]).fit([[1, 2]], [1, 0], [1, 0])
    learner = clone(LEARNERS[name]).fit(PEOPLE, TREATED, BOUGHT, 0.5)
    with pytest.raises(ValueError, match="customers is a ndarray"):
        learner.effect(PEOPLE.to_numpy())
    with pytest.raises(ValueError, match="customers have 0 rows"):
        learner.effect(PEOPLE[:0])
    with pytest.raises(ValueError, match="have a column 'treated'"):
        learner.effect(PEOPLE.assign(treated=1))
    with pytest.raises(ValueError, match=r"infinity|NaN|infinite"):
        learner.effect(PEOPLE.assign(a=np.inf))


def test_a_text_that_is_not_utf8_is_refused(reader):
    people, treated, labels, events, _ = histories(30, 0)
    with pytest.raises(ValueError, match="of type bytes: give texts of type str"):
        TwoModel(reader).fit(
            people.assign(text=b"\xff"), treated, labels, events=events
        )


def test_settings_of_the_doubly_robust_learner_are_checked():
    for settings, message in (
        ({"n_folds": 1}, "n_folds is 1"),
        ({"least": 0.5}, "least is 0.5"),
        ({"n_folds": 30}, r"customers have label \d, but 30 folds"),
    ):
        learner = DoublyRobust(LogisticRegression(), Ridge(), **settings)
        with pytest.raises(ValueError, match=message):
            learner.fit(PEOPLE, TREATED, BOUGHT)


def test_a_classifier_of_classes_needs_a_coin():
    people, treated, labels, known, _ = planted(200, 0, coin=False)
    for chances in (known, 0.4):
        with pytest.raises(ValueError, match="a classifier needs a fair coin"):
            TransformedOutcome(LogisticRegression()).fit(
                people, treated, labels, chances
            )
    few = (np.arange(200) % 4 == 0).astype(int)
    with pytest.raises(ValueError, match="from 0.5, and a classifier"):
        TransformedOutcome(LogisticRegression()).fit(people, few, labels)

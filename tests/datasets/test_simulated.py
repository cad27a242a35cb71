"""Simulated customers: the equations hold, nothing else tells, the ceiling is right."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logit
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from marketllm.datasets import (
    Ceiling,
    SimulationConfig,
    distance_dial,
    simulate_customers,
)
from marketllm.datasets.simulated import events
from marketllm.datasets.simulated.ceiling import _ceiling
from marketllm.datasets.simulated.events import _draw_pairs, _pair_table

PARTS = ("train", "test")
OFF = {
    "attribute_signal": 0.0,
    "event_signal": 0.0,
    "text_signal": 0.0,
    "treatment_effect": 0.0,
}
FOR = {"love", "again?", "adores", "Excellent", "subscribe", "Delicious"}
FOR |= {"recommended", "best"}
AGAINST = {"refund.", "disappointed,", "annoying.", "Awful", "Cancel", "Nobody"}
AGAINST |= {"leaked", "Never"}


def small(**dials):
    return SimulationConfig(**({"n_train": 1500, "n_test": 1500} | dials))


@pytest.fixture(scope="module")
def everything():
    return simulate_customers(small(), seed=3)


def table(found):
    return pd.concat([found.data.train, found.data.test], ignore_index=True)


def chances(found):
    return np.concatenate([found.probabilities[part] for part in PARTS])


def histories(found):
    """Kinds of events as lists, read from the frame customer by customer."""
    events = found.data.events.sort_values(["customer", "date"], kind="stable")
    names = table(found)["customer"]
    groups = dict(list(events.groupby("customer")["kind"]))
    return [groups[name].tolist() for name in names]


def n_exact(kinds, gap):
    return sum(
        a == "offer" and b == "visit"
        for a, b in zip(kinds[:-gap], kinds[gap:], strict=True)
    )


def above(labels, p, chosen):
    """How many standard deviations a choice is better than the truth allows."""
    labels, chosen = np.asarray(labels), np.asarray(chosen)
    best = (p >= 0.5).astype(int)
    otherwise = chosen != best
    gain = np.where(chosen == labels, 1, -1)[otherwise].sum()
    expected = -np.abs(2 * p - 1)[otherwise].sum()
    spread = np.sqrt((4 * p * (1 - p))[otherwise].sum())
    return (gain - expected) / spread if otherwise.any() else 0.0


# The equations ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strengths", "noise"),
    [
        ((1.0, 3.0, 1.0, 0.5), 0.0),
        ((0.7, 0.0, 2.0, 0.0), 0.2),
        ((0.0, 2.0, 0.0, 1.5), 0.1),
    ],
    ids=["all", "attributes and text", "events and campaign"],
)
def test_the_chance_is_that_of_the_documented_equation(strengths, noise):
    a, e, t, c = strengths
    config = small(
        n_train=300,
        n_test=200,
        attribute_signal=a,
        event_signal=e,
        text_signal=t,
        treatment_effect=c,
        label_noise=noise,
        base_rate=0.4,
    )
    found = simulate_customers(config, seed=7)
    logits, effects = [], []
    p = (chances(found) - noise) / (1 - 2 * noise)
    both = np.concatenate([found.effects[part] for part in PARTS])
    rows = zip(table(found).to_dict("records"), histories(found), p, strict=True)
    for row, kinds, clean in rows:
        u = 0.5 * (np.log(row["income"]) - 10.3) / 0.4
        u += 0.5 * (np.log(1 + row["tenure"]) - 3)
        u += {"north": 0.5, "east": -0.5}.get(row["region"], 0)
        u -= 0.8 * (row["age"] >= 60)
        u += 0.8 * (row["age"] < 35 and row["device"] == "phone")
        z = n_exact(kinds, config.gap)
        words = row["text"].split()
        v = sum(w in FOR for w in words) - sum(w in AGAINST for w in words)
        tau = 2 if row["tenure"] < 12 else 0.5 if row["tenure"] < 60 else -1
        tau += 0.5 * (row["device"] == "phone")
        known = a * u + e * z + t * v * np.sqrt(3) / 2
        logits.append(logit(clean) - known - c * row["treated"] * tau)
        base = logit(clean) - c * row["treated"] * tau
        treated, not_treated = (1 / (1 + np.exp(-base - w * c * tau)) for w in (1, 0))
        effects.append((1 - 2 * noise) * (treated - not_treated))
    # What is left is the intercept, the same for all.
    assert np.ptp(logits) < 1e-8
    assert p.mean() == pytest.approx(0.4, abs=1e-9)
    np.testing.assert_allclose(both, effects, atol=1e-9)
    assert (np.std(both) > 0.05) == (c > 0)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.8])
def test_the_base_rate_is_met(rate):
    found = simulate_customers(small(base_rate=rate), seed=1)
    assert chances(found).mean() == pytest.approx(rate, abs=1e-9)
    share = table(found)["label"].mean()
    spread = np.sqrt((chances(found) * (1 - chances(found))).sum()) / 3000
    assert share == pytest.approx(rate, abs=4 * spread)


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_labels_come_out_as_often_as_the_chance_says(noise):
    found = simulate_customers(small(n_train=6000, label_noise=noise), seed=2)
    p, labels = chances(found), table(found)["label"].to_numpy()
    order = np.array_split(np.argsort(p), 10)
    for rows in order:
        spread = np.sqrt((p[rows] * (1 - p[rows])).sum())
        assert abs(labels[rows].sum() - p[rows].sum()) < 4 * spread
    ends = [labels[order[i]].mean() for i in (0, -1)]
    assert ends[0] < ends[1] - 0.3


def test_noise_turns_labels_and_enters_the_chance():
    clean, noisy = (
        simulate_customers(small(n_train=4500, label_noise=noise), seed=5)
        for noise in (0.0, 0.2)
    )
    np.testing.assert_allclose(
        chances(noisy), 0.8 * chances(clean) + 0.2 * (1 - chances(clean))
    )
    turned = table(clean)["label"] != table(noisy)["label"]
    assert turned.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 6000))
    rest = [table(found).drop(columns="label") for found in (clean, noisy)]
    pd.testing.assert_frame_equal(*rest)
    assert noisy.ceiling().accuracy < clean.ceiling().accuracy - 0.05


def test_pure_noise_leaves_a_coin():
    found = simulate_customers(small(label_noise=0.5))
    np.testing.assert_allclose(chances(found), 0.5)
    assert found.ceiling().accuracy == pytest.approx(0.5)
    assert found.ceiling().auc == pytest.approx(0.5)


def test_the_campaign_does_what_the_effects_say():
    found = simulate_customers(
        small(n_train=20_000, treatment_effect=1.0, n_events=12, gap=2), seed=4
    )
    frame, effects = found.data.train, found.effects["train"]
    new = (frame["tenure"] < 12).to_numpy()
    for rows in (new, ~new):
        part, n = frame[rows], rows.sum()
        rates = part.groupby("treated")["label"].mean()
        error = np.sqrt(4 * 0.25 / n)
        assert rates[1] - rates[0] == pytest.approx(effects[rows].mean(), abs=4 * error)
    assert effects[new].mean() > effects[~new].mean() + 0.1
    assert (effects < 0).any()
    # Drawn by a coin: neither attributes nor events know of it.
    others = frame["treated"].corr(frame["income"]), frame["treated"].mean() - 0.5
    assert np.abs(others).max() < 4 / np.sqrt(20_000)


def test_the_words_carry_the_text_signal():
    found = simulate_customers(small(**(OFF | {"text_signal": 2.0})), seed=6)
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=500))
    model.fit(found.data.train["text"], found.data.train["label"])
    scores = model.predict_proba(found.data.test["text"])[:, 1]
    reached = roc_auc_score(found.data.test["label"], scores)
    assert found.ceiling().auc > 0.8
    assert reached == pytest.approx(found.ceiling().realised_auc, abs=0.02)
    assert table(found)["text"].nunique() > 2700


# Events -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_events", "gap", "n_distractors"),
    [(48, 1, 1), (48, 8, 1), (48, 40, 1), (30, 5, 3), (20, 4, 0), (17, 1, 3)],
    ids=str,
)
def test_one_pair_or_none_stands_at_the_distance(n_events, gap, n_distractors):
    config = small(
        n_train=201, n_test=100, n_events=n_events, gap=gap, n_distractors=n_distractors
    )
    found = simulate_customers(config, seed=8)
    exact = []
    for kinds in histories(found):
        assert len(kinds) == n_events
        assert kinds.count("offer") == kinds.count("visit") == 1 + n_distractors
        exact.append(n_exact(kinds, gap))
    assert sorted(set(exact)) == [0, 1]
    assert sum(exact[:201]) == 100
    assert sum(exact[201:]) == 50
    rules = np.concatenate([found.rule(part) for part in PARTS])
    np.testing.assert_array_equal(rules, exact)


@pytest.mark.parametrize("gap", [1, 8, 32])
@pytest.mark.parametrize("n_distractors", [0, 1])
def test_the_place_of_an_offer_or_a_visit_is_the_same_in_both_halves(
    gap, n_distractors
):
    config = SimulationConfig(gap=gap, n_distractors=n_distractors)
    counts = np.arange(60_000) % 2 == 1
    places = _draw_pairs(counts, config, np.random.default_rng(9))
    for where, first in zip(places, (0, gap), strict=True):
        rows = [np.bincount(where[counts == half].ravel()) for half in (True, False)]
        both = np.array(rows)[:, first:]
        assert both.shape[1] == 48 - gap
        assert np.array(rows)[:, :first].sum() == 0
        # Places of one customer exclude each other, so this is a little too mild.
        assert stats.chi2_contingency(both).pvalue > 1e-3
        assert both.min() > 0.9 * both.mean()


@pytest.mark.parametrize("gap", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("n_starts", [4, 5, 8])
def test_the_table_of_places_is_even_and_leaves_the_distance_out(gap, n_starts):
    table = _pair_table(gap + n_starts, gap)
    np.testing.assert_allclose(table.sum(axis=0), 1 / n_starts, atol=1e-9)
    np.testing.assert_allclose(table.sum(axis=1), 1 / n_starts, atol=1e-9)
    for offer, j in itertools.product(range(n_starts), range(n_starts)):
        clash = j == offer or gap + j == offer
        assert (table[offer, j] == 0) == clash


def test_distractors_stand_before_and_after_and_at_many_distances():
    places = _draw_pairs(
        np.zeros(20_000, bool), SimulationConfig(gap=8), np.random.default_rng(0)
    )
    distances = places[1] - places[0]
    assert len(np.unique(distances)) > 70
    assert 8 not in distances
    assert 0.2 < (distances < 0).mean() < 0.5
    assert distances.mean() == pytest.approx(8, abs=0.5)  # places are even: no choice


def test_there_is_one_event_a_day(everything):
    events = everything.data.events
    steps = events.groupby("customer")["date"].diff().dropna()
    assert set(steps) == {pd.Timedelta(days=1)}
    assert len(events) == 48 * 3000
    assert events["kind"].nunique() == 12


# Nothing else tells -------------------------------------------------------------


def columns(found):
    """All that a careless model may see: counts, numbers, row order, lengths."""
    frame = table(found)
    numbers = pd.get_dummies(frame.drop(columns=["customer", "text", "label"]))
    numbers["number"] = frame["customer"].str[1:].astype(int)
    numbers["row"] = np.concatenate(
        [np.arange(len(getattr(found.data, p))) for p in PARTS]
    )
    numbers["n_characters"] = frame["text"].str.len()
    kinds = np.array(histories(found))
    for kind in np.unique(kinds):
        numbers[f"n {kind}"] = (kinds == kind).sum(axis=1)
    return numbers.astype(float), kinds


def reached(found, features):
    """Scores of the test part by a logistic regression and by trees."""
    lightgbm = pytest.importorskip("lightgbm")
    n = len(found.data.train)
    labels = table(found)["label"].to_numpy()
    scores = {}
    for name, model in {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        "trees": lightgbm.LGBMClassifier(n_estimators=40, n_jobs=1, verbose=-1),
    }.items():
        values = np.asarray(features, dtype=float)
        model.fit(values[:n], labels[:n])
        scores[name] = model.predict_proba(values[n:])[:, 1]
    return scores


def test_with_all_signals_off_every_model_is_at_chance():
    found = simulate_customers(small(**OFF), seed=10)
    features, kinds = columns(found)
    hot = pd.get_dummies(pd.DataFrame(kinds))
    assert found.ceiling().auc == pytest.approx(0.5)
    labels = found.data.test["label"]
    error = np.sqrt(1 / (12 * 1500 * 0.3 * 0.7))
    for table_ in (features, hot):
        for scores in reached(found, table_).values():
            assert np.std(scores) > 0.005
            assert abs(roc_auc_score(labels, scores) - 0.5) < 4 * error


@pytest.mark.parametrize("gap", [1, 12])
def test_counts_and_single_places_do_not_know_the_distance(gap):
    found = simulate_customers(distance_dial(gap, 3000, 3000), seed=11)
    features, kinds = columns(found)
    labels = found.data.test["label"]
    error = np.sqrt(1 / (3 * 3000))
    for scores in reached(found, features).values():
        assert abs(roc_auc_score(labels, scores) - 0.5) < 4 * error
    places = reached(found, pd.get_dummies(pd.DataFrame(kinds)))["linear"]
    assert abs(roc_auc_score(labels, places) - 0.5) < 4 * error
    # The rule that looks at the distance gets it all.
    assert roc_auc_score(labels, found.rule()) > 0.88


def test_nothing_predicts_beyond_the_ceiling(everything):
    features, _ = columns(everything)
    features["rule"] = np.concatenate([everything.rule(part) for part in PARTS])
    words = CountVectorizer(min_df=30).fit_transform(table(everything)["text"])
    both = np.hstack([features, words.toarray()])
    labels, p = everything.data.test["label"], everything.probabilities["test"]
    for scores in reached(everything, both).values():
        assert above(labels, p, scores >= 0.5) < 3
        reached_auc = roc_auc_score(labels, scores)
        assert 0.8 < reached_auc < everything.ceiling().realised_auc + 0.005


def test_who_knows_some_labels_is_seen():
    found = simulate_customers(small(), seed=12)
    labels, p = found.data.test["label"].to_numpy(), found.probabilities["test"]
    leaked = (p >= 0.5).astype(int)
    leaked[1::4] = 1 - leaked[1::4]  # worse than the ceiling, and yet it leaks
    leaked[::4] = labels[::4]
    assert (leaked == labels).mean() < found.ceiling().realised_accuracy
    assert above(labels, p, leaked) > 3


def test_parts_share_no_customer_and_no_row(everything):
    train, test = everything.data.train, everything.data.test
    assert not set(train["customer"]) & set(test["customer"])
    assert table(everything)["customer"].is_unique
    content = ["age", "income", "region", "tenure", "device", "text"]
    assert not table(everything)[content].duplicated().any()
    for part, frame in zip(PARTS, (train, test), strict=True):
        assert everything.originals[part].tolist() == frame["customer"].tolist()


# The ceiling --------------------------------------------------------------------


def brute(p):
    """Both expected scores by going through all labels that may be drawn."""
    best, right, pairs = 0.0, 0.0, 0.0
    for labels in itertools.product((0, 1), repeat=len(p)):
        weight = np.prod([q if y else 1 - q for q, y in zip(p, labels, strict=True)])
        best += weight * np.mean(
            [(q >= 0.5) == y for q, y in zip(p, labels, strict=True)]
        )
        for (q, y), (r, x) in itertools.permutations(zip(p, labels, strict=True), 2):
            if y > x:
                pairs += weight
                right += weight * ((q > r) + (q == r) / 2)
    return best, right / pairs


@pytest.mark.parametrize(
    "p", [(0.1, 0.9), (0.2, 0.2, 0.7), (0.5, 0.3, 0.3, 0.9, 0.05, 0.5)], ids=str
)
def test_expected_scores_equal_those_of_all_possible_labels(p):
    found = _ceiling(np.array(p), np.array([0, 1, 1, 0, 0, 1][: len(p)]))
    assert (found.accuracy, found.auc) == pytest.approx(brute(p), abs=1e-12)


def test_expected_scores_are_the_mean_over_redrawn_labels(everything):
    p = everything.probabilities["test"]
    rng = np.random.default_rng(13)
    drawn = [_ceiling(p, (rng.random(1500) < p).astype(int)) for _ in range(300)]
    expected = everything.ceiling()
    for name in ("accuracy", "auc"):
        values = [getattr(found, f"realised_{name}") for found in drawn]
        error = np.std(values) / np.sqrt(300)
        assert np.mean(values) == pytest.approx(getattr(expected, name), abs=4 * error)
        assert error < 0.001


def test_realised_scores_are_those_of_scikit_learn(everything):
    for part, frame in zip(
        PARTS, (everything.data.train, everything.data.test), strict=True
    ):
        p, found = everything.probabilities[part], everything.ceiling(part)
        assert found.realised_auc == pytest.approx(roc_auc_score(frame["label"], p))
        right = ((p >= 0.5) == frame["label"]).mean()
        assert found.realised_accuracy == pytest.approx(right)
    assert everything.ceiling("train") != everything.ceiling()
    assert np.isnan(_ceiling(np.array([0.4, 0.6]), np.array([1, 1])).realised_auc)


def test_the_ceiling_is_shown_with_both_kinds_of_scores():
    text = str(Ceiling(0.9, 0.95, 0.8, 0.85))
    assert text == "accuracy 0.900 (0.800 on the labels drawn), AUC 0.950 (0.850)"


@pytest.mark.parametrize("gap", [1, 4, 12, 32])
def test_the_distance_dial_has_a_ceiling_of_nine_in_ten(gap):
    found = simulate_customers(distance_dial(gap, 500, 700), seed=gap)
    p = found.probabilities["test"]
    np.testing.assert_allclose(p, np.where(found.rule() == 1, 0.9, 0.1))
    ceiling = found.ceiling()
    assert ceiling.accuracy == pytest.approx(0.9)
    assert ceiling.auc == pytest.approx(0.9, abs=0.001)
    right = (found.rule() == found.data.test["label"]).mean()
    assert ceiling.realised_accuracy == right
    assert found.config.gap == gap


# Dials --------------------------------------------------------------------------


def test_the_seed_fixes_everything():
    once, again = (simulate_customers(small(missing=0.1, duplicates=0.1)) for _ in "ab")
    other = simulate_customers(small(missing=0.1, duplicates=0.1), seed=1)
    for part in PARTS:
        pd.testing.assert_frame_equal(
            getattr(once.data, part), getattr(again.data, part)
        )
        np.testing.assert_array_equal(
            once.probabilities[part], again.probabilities[part]
        )
        np.testing.assert_array_equal(once.effects[part], again.effects[part])
    pd.testing.assert_frame_equal(once.data.events, again.data.events)
    for column in ("age", "region", "treated", "text", "label"):
        assert not once.data.test[column].equals(other.data.test[column])
    assert not once.data.events["kind"].equals(other.data.events["kind"])


@pytest.mark.parametrize(
    ("dial", "value", "changed"),
    [
        ("gap", 3, {"events", "label"}),
        ("text_signal", 3.0, {"label"}),
        ("missing", 0.3, {"age", "income", "region", "tenure", "device"}),
        ("label_noise", 0.3, {"label"}),
    ],
    ids=["gap", "text_signal", "missing", "label_noise"],
)
def test_turning_a_dial_leaves_the_rest(everything, dial, value, changed):
    found = simulate_customers(small(**{dial: value}), seed=3)
    ours, theirs = table(everything), table(found)
    differ = {name for name in ours if not ours[name].equals(theirs[name])}
    if not everything.data.events.equals(found.data.events):
        differ.add("events")
    # The gap moves the pair, and not who has one: chances and labels stay.
    assert differ == changed - ({"label"} if dial == "gap" else set())


def test_cells_are_emptied_at_random(everything):
    found = simulate_customers(small(missing=0.2), seed=3)
    empty = table(found).isna()
    attributes = ["age", "income", "region", "tenure", "device"]
    assert not empty.drop(columns=attributes).any().any()
    for name in attributes:
        assert empty[name].mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 3000))
        kept = ~empty[name]
        assert (table(found)[name][kept] == table(everything)[name][kept]).all()
        assert abs(empty[name].corr(table(found)["label"])) < 4 / np.sqrt(3000)
    np.testing.assert_array_equal(chances(found), chances(everything))
    assert f"{int(empty.sum().sum()):,} attribute cells" in str(found.data.card)


def test_copies_are_told(everything):
    found = simulate_customers(small(duplicates=0.2), seed=3)
    frame, original = table(found), table(everything)
    sources = np.concatenate([found.originals[part] for part in PARTS])
    copied = sources != frame["customer"]
    for rows in (slice(1500), slice(1500, None)):
        assert copied[rows].sum() == 300
    assert frame["customer"].is_unique
    assert not np.isin(sources, frame["customer"][copied]).any()
    place = {name: row for row, name in enumerate(original["customer"])}
    rows = [place[name] for name in sources]
    left, right = (one.drop(columns="customer") for one in (frame, original.iloc[rows]))
    pd.testing.assert_frame_equal(left, right.reset_index(drop=True))
    kinds, before = histories(found), histories(everything)
    assert kinds == [before[row] for row in rows]
    np.testing.assert_array_equal(chances(found), chances(everything)[rows])
    # What a look at the rows alone finds is what the card says.
    content = left.drop(columns=["label", "treated"]).astype(str).agg("|".join, axis=1)
    n_seen = content[1500:].isin(content[:1500]).sum()
    assert 200 < n_seen < 700
    card = str(found.data.card)
    assert "300 rows in train and 300 in test copy another row" in card
    assert f"{n_seen:,} rows in test have the content of a row in train" in card
    assert "copy another row" not in str(everything.data.card)


def test_the_card_is_that_of_the_data(everything):
    card = everything.data.card
    assert tuple(card.fields) == tuple(everything.data.train)
    assert tuple(card.event_fields) == tuple(everything.data.events)
    assert "1,500 customers to train, 1,500 to test" in card.size
    kinds = set(everything.data.events["kind"])
    assert set(card.event_fields["kind"].split(", ")) == kinds
    noisy = simulate_customers(small(label_noise=0.125)).data.card
    assert "12.5% of the labels" in str(noisy)
    assert "turned" not in str(card)


def test_attributes_are_as_documented():
    frame = table(simulate_customers(small(n_train=20_000, n_events=12, gap=2)))
    shares = frame["region"].value_counts(normalize=True)
    for region, share in {
        "north": 0.3,
        "south": 0.3,
        "east": 0.25,
        "west": 0.15,
    }.items():
        assert shares[region] == pytest.approx(share, abs=0.015)
    assert frame["age"].between(18, 80).all()
    assert frame["age"].mean() == pytest.approx(42, abs=0.6)
    assert frame["tenure"].between(0, 120).all()
    assert frame["tenure"].median() == pytest.approx(30 * np.log(2), abs=1.5)
    middle = np.log(frame["income"]) - 0.2 * np.sin(np.pi * (frame["age"] - 18) / 62)
    assert middle.mean() == pytest.approx(10.2, abs=0.015)
    assert middle.std() == pytest.approx(0.4, abs=0.01)
    assert (frame["income"] % 100 == 0).all()
    for young, share in (
        ("age < 35", 0.75),
        ("35 <= age < 60", 0.5),
        ("age >= 60", 0.3),
    ):
        devices = frame.query(young)["device"].value_counts(normalize=True)
        assert devices["phone"] == pytest.approx(share, abs=0.04)
        assert devices["desktop"] == pytest.approx(0.7 * (1 - share), abs=0.04)


# Refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"n_train": 1}, "n_train is 1: give at least 2"),
        ({"n_test": 0}, "n_test is 0: give at least 2"),
        ({"gap": 0}, "gap is 0: give at least 1"),
        ({"n_distractors": -1}, "n_distractors is -1: give at least 0"),
        ({"gap": 48}, "leave 0 starting places for 2 pairs, but 8"),
        ({"gap": 41}, "48 events with a gap of 41 leave 7 .* take n_events=49"),
        ({"base_rate": 0.0}, "base_rate is 0.0: give a share above 0"),
        ({"base_rate": 1.0}, "base_rate is 1.0"),
        ({"text_signal": -1.0}, "text_signal is -1.0: give a strength of 0"),
        ({"event_signal": float("nan")}, "event_signal is nan"),
        ({"treatment_effect": float("inf")}, "treatment_effect is inf"),
        ({"label_noise": 0.6}, "label_noise is 0.6: give 0 to 0.5"),
        ({"missing": 1.0}, "missing is 1.0: give a share from 0 up to"),
        ({"duplicates": -0.1}, "duplicates is -0.1"),
    ],
    ids=str,
)
def test_impossible_dials_are_refused(dials, message):
    with pytest.raises(ValueError, match=message):
        SimulationConfig(**dials)


def test_the_tightest_room_that_is_allowed_is_enough():
    for gap, m in itertools.product((1, 2, 7, 30), (0, 1, 4, 7)):
        n_starts = {0: 4, 1: 8, 4: 25, 7: 64}[m]
        sizes = {"n_train": 200, "n_test": 2, "gap": gap, "n_distractors": m}
        found = simulate_customers(small(n_events=gap + n_starts, **sizes))
        assert found.rule("train").sum() == 100
        with pytest.raises(ValueError, match=f"leave {n_starts - 1} starting places"):
            small(n_events=gap + n_starts - 1, **sizes)


def test_who_finds_no_room_says_so(monkeypatch):
    monkeypatch.setattr(events, "_ROUNDS", 1)
    with pytest.raises(
        ValueError, match=r"no room .* for 4 pairs in 48 events for \d+ of"
    ):
        simulate_customers(small(n_distractors=3))


def test_other_parts_are_refused(everything):
    for ask in (everything.ceiling, everything.rule):
        with pytest.raises(
            ValueError, match=re.escape("part is 'valid'; choose 'train'")
        ):
            ask("valid")

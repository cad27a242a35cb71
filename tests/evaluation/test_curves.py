"""Gain, lift, profit and calibration: references, properties, cases by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored import quick, scored
from sklearn import metrics
from sklearn.calibration import calibration_curve

from marketllm.evaluation import (
    auc,
    calibration_table,
    gain_curve,
    lift,
    profit_curve,
    profit_threshold,
)

# Ten customers, three buy. The second and third have one score, so half a buyer each.
LABELS = [1, 1, 0, 0, 0, 0, 1, 0, 0, 0]
SCORES = [0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_gain_lift_and_profit_by_hand():
    curve = gain_curve(LABELS, SCORES)
    assert curve["share"].tolist() == [0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    found = [0, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert curve["gain"].tolist() == pytest.approx([n / 3 for n in found])
    assert lift(LABELS, SCORES) == pytest.approx(1 / 0.3)  # 1 of 1 against 3 of 10
    assert lift(LABELS, SCORES, 0.2) == pytest.approx(0.75 / 0.3)  # 1 1/2 of 2
    assert lift(LABELS, SCORES, 0.25) == pytest.approx(1.75 / 2.5 / 0.3)
    assert lift(LABELS, SCORES, 1.0) == pytest.approx(1)
    money = profit_curve(LABELS, SCORES, margin=20.0, cost=5.0)
    assert money["share"].tolist() == curve["share"].tolist()
    by_hand = [
        (20 * n - 5 * 10 * q) / 10 for n, q in zip(found, money["share"], strict=True)
    ]
    assert money["profit"].tolist() == pytest.approx(by_hand)
    assert money["profit"].max() == pytest.approx(2.5)  # 2 buyers in 3 letters: 25
    assert profit_threshold(margin=20.0, cost=5.0) == 0.25


@quick
@given(scored(), st.randoms(use_true_random=False))
def test_curves_do_not_depend_on_the_order_of_rows(pair, random):
    labels, scores = pair
    order = random.sample(range(len(labels)), len(labels))
    other = labels[order], scores[order]
    assert gain_curve(*other).equals(gain_curve(labels, scores))
    assert profit_curve(*other, 3.0, 1.0).equals(profit_curve(labels, scores, 3.0, 1.0))
    tables = [
        calibration_table(truth, (values + 9) / 18, 4)
        for truth, values in (pair, other)
    ]
    assert np.allclose(*tables, rtol=0, atol=1e-12)


@quick
@given(scored())
def test_the_gain_curve_is_the_mean_over_the_orders_of_ties(pair):
    labels, scores = pair
    curve = gain_curve(labels, scores)
    generator = np.random.default_rng(0)
    shares = np.arange(len(labels) + 1) / len(labels)
    gains = []
    for _ in range(400):  # every row of one score is as likely to stand first
        order = np.lexsort((generator.random(len(labels)), -scores))
        gains.append(np.concatenate([[0], labels[order].cumsum()]) / labels.sum())
    mean = np.interp(shares, curve["share"], curve["gain"])
    assert np.mean(gains, axis=0) == pytest.approx(mean, abs=0.13)


@quick
@given(scored())
def test_gain_curve_and_auc_tell_the_same(pair):
    labels, scores = pair
    curve = gain_curve(labels, scores)
    assert curve.iloc[0].tolist() == [0, 0]
    assert curve.iloc[-1].tolist() == [1, 1]
    assert (curve.diff().iloc[1:]["share"] > 0).all()
    assert (curve.diff().iloc[1:]["gain"] >= 0).all()
    area = np.trapezoid(curve["gain"], curve["share"])
    ones = labels.mean()
    assert area == pytest.approx(ones / 2 + (1 - ones) * auc(labels, scores))
    turned = gain_curve(labels, -scores)  # from the bottom of the list
    below = 1 - np.interp(1 - turned["share"], curve["share"], curve["gain"])
    assert turned["gain"].tolist() == pytest.approx(below.tolist())


@quick
@given(scored())
def test_the_gain_curve_is_that_of_scikit_learn(pair):
    labels, scores = pair
    wrong, right, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    ones = labels.mean()
    curve = gain_curve(labels, scores)
    assert curve["gain"].tolist() == pytest.approx(right.tolist())
    share = ones * right + (1 - ones) * wrong
    assert curve["share"].tolist() == pytest.approx(share.tolist())


def test_the_threshold_is_the_top_of_the_profit_curve():
    """Where probabilities are right, the best list ends at cost over margin."""
    generator = np.random.default_rng(0)
    probabilities = generator.random(200_000)
    labels = (generator.random(200_000) < probabilities) * 1
    curve = profit_curve(labels, probabilities, margin=20.0, cost=5.0)
    best = curve["share"][curve["profit"].idxmax()]
    threshold = profit_threshold(20.0, 5.0)
    assert best == pytest.approx(1 - threshold, abs=0.03)
    # Integrals of 20 p - 5, from 1/4 to 1 and from 1/2 to 1.
    assert curve["profit"].max() == pytest.approx(5.625, abs=0.12)
    half = np.interp(0.5, curve["share"], curve["profit"])
    assert half == pytest.approx(5, abs=0.12)


def test_who_should_not_be_contacted():
    assert profit_threshold(margin=4.0, cost=5.0) == 1.25  # more than any probability
    assert (profit_curve(LABELS, SCORES, 4.0, 5.0)["profit"] <= 0).all()
    assert profit_threshold(margin=4.0, cost=0.0) == 0
    assert profit_curve(LABELS, SCORES, 4.0, 0.0)["profit"].iloc[-1] == pytest.approx(
        1.2
    )


@quick
@given(scored(), st.integers(1, 8))
def test_calibration_equals_scikit_learn(pair, n_bins):
    labels, scores = pair
    probabilities = (scores + 9) / 18
    table = calibration_table(labels, probabilities, n_bins)
    shares, means = calibration_curve(
        labels, probabilities, n_bins=n_bins, strategy="quantile"
    )
    assert table["share"].tolist() == pytest.approx(shares.tolist())
    assert table["mean_probability"].tolist() == pytest.approx(means.tolist())
    assert table["n"].sum() == len(labels)
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()


def test_calibration_by_hand():
    labels = [0, 0, 0, 1, 0, 1, 1, 1]
    table = calibration_table(labels, [0.1, 0.1, 0.2, 0.2, 0.6, 0.7, 0.8, 0.9], 2)
    assert list(table) == ["mean_probability", "share", "n", "low", "high"]
    assert table["mean_probability"].tolist() == pytest.approx([0.15, 0.75])
    assert table["share"].tolist() == [0.25, 0.75]
    assert table["n"].tolist() == [4, 4]
    z = 1.959964  # Wilson's ends for 1 of 4
    middle, root = (1 + z**2 / 2) / (4 + z**2), (3 / 4 + z**2 / 4) ** 0.5
    ends = middle - z * root / (4 + z**2), middle + z * root / (4 + z**2)
    assert (table["low"][0], table["high"][0]) == pytest.approx(ends, abs=1e-6)


def test_calibration_finds_who_exaggerates():
    generator = np.random.default_rng(0)
    right = generator.random(4000)
    labels = (generator.random(4000) < right) * 1
    table = calibration_table(labels, right)
    inside = table["mean_probability"].between(table["low"], table["high"])
    assert inside.sum() >= 8
    shrill = 1 / (1 + ((1 - right) / right) ** 3)
    table = calibration_table(labels, shrill)
    inside = table["mean_probability"].between(table["low"], table["high"])
    assert inside.sum() <= 3


def test_equal_probabilities_are_one_group():
    table = calibration_table([1, 0, 0, 0], [0.3] * 4)
    assert table[["mean_probability", "share", "n"]].values.tolist() == [[0.3, 0.25, 4]]
    assert calibration_table([1, 1], [0.3, 0.4], 1)["n"].tolist() == [2]  # one class


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, 10.0, float("nan")])
def test_lift_refuses_a_share_out_of_range(share):
    message = (
        r"share is .*, expected above 0 and at most 1\. Write 0\.1 for the top 10%"
    )
    with pytest.raises(ValueError, match=message):
        lift(LABELS, SCORES, share)


@pytest.mark.parametrize(
    ("margin", "cost", "message"),
    [
        (0.0, 1.0, r"margin is 0\.0, expected above 0"),
        (-2.0, 1.0, r"margin is -2\.0, expected above 0"),
        (float("nan"), 1.0, "margin is nan, expected above 0"),
        (float("inf"), 1.0, "margin is inf, expected above 0"),
        (5.0, -1.0, r"cost is -1\.0, expected 0 or more: what one contact costs"),
        (5.0, float("nan"), "cost is nan, expected 0 or more"),
    ],
)
def test_money_out_of_range_is_refused(margin, cost, message):
    with pytest.raises(ValueError, match=message):
        profit_threshold(margin, cost)
    with pytest.raises(ValueError, match=message):
        profit_curve(LABELS, SCORES, margin, cost)


def test_other_refusals_of_curves():
    with pytest.raises(ValueError, match="3 of class 0 and 0 of class 1"):
        gain_curve([0, 0, 0], [1, 2, 3])
    with pytest.raises(ValueError, match="0 of class 0 and 2 of class 1"):
        profit_curve([1, 1], [1, 2], 3.0, 1.0)
    with pytest.raises(ValueError, match=r"Different lengths: .*'scores': 1"):
        gain_curve([0, 1], [1])
    with pytest.raises(ValueError, match=r"probabilities has 1 of 2 .* 0 to 1.* is 3"):
        calibration_table([0, 1], [0.2, 3])
    with pytest.raises(ValueError, match="labels has 1 of 2 values outside 0 and 1"):
        calibration_table([0, 2], [0.2, 0.3])
    with pytest.raises(ValueError, match="n_bins is 0, expected 1 or more"):
        calibration_table([0, 1], [0.2, 0.3], 0)

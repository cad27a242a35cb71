"""Uplift curves: worked by hand, as a library has them, and the same in any order."""

import numpy as np
import pytest

from marketllm.evaluation import (
    OneClassError,
    auuc,
    qini,
    uplift_curve,
    uplift_interval,
)

# Eight customers from the top of the list: arm and label.
TREATED = [1, 0, 1, 0, 1, 0, 1, 0]
LABELS = [1, 0, 1, 1, 0, 0, 0, 1]
SCORES = [8, 7, 6, 5, 4, 3, 2, 1]
# Buyers among the treated less buyers among the others times n_t / n_c.
QINI = [0, 1, 1, 2, 2 - 1, 2 - 3 / 2, 2 - 1, 2 - 4 / 3, 2 - 2]
UPLIFT = [0, 1 / 8, 2 / 8, 3 / 8, 1 / 2 * 4 / 8, 1 / 6 * 5 / 8]
UPLIFT += [1 / 3 * 6 / 8, 1 / 6 * 7 / 8, 0]


def drawn(n=600, seed=0, n_scores=None):
    """A campaign by coin: the effect rises with the score, from -0.2 to 0.4."""
    rng = np.random.default_rng(seed)
    treated = rng.integers(2, size=n)
    scores = rng.random(n)
    if n_scores is not None:
        scores = np.floor(scores * n_scores)
    effects = 0.6 * scores / max(1, scores.max()) - 0.2
    labels = (rng.random(n) < 0.4 + treated * effects).astype(int)
    return labels, treated, scores


def with_rows_in_order(labels, treated, scores):
    """The bug: rows of one score are listed as they stand."""
    order = np.argsort(-scores, kind="stable")
    return qini(labels[order], treated[order], -np.arange(len(scores)))


def test_worked_example():
    curve = uplift_curve(LABELS, TREATED, SCORES)
    np.testing.assert_allclose(curve["share"], np.arange(9) / 8, rtol=1e-12)
    np.testing.assert_allclose(curve["qini"], QINI, atol=1e-12)
    np.testing.assert_allclose(curve["uplift"], UPLIFT, atol=1e-12)
    # It ends where it began, so the random line is flat. Perfect: 0, 2, 2, 0 at
    # 0, 2, 6 and 8 customers.
    area, perfect = sum(QINI) / 8, (2 + 8 + 2) / 8
    assert qini(LABELS, TREATED, SCORES) == pytest.approx(area / perfect, abs=1e-12)
    assert area / perfect == pytest.approx(43 / 72)
    assert auuc(LABELS, TREATED, SCORES) == pytest.approx(sum(UPLIFT) / 8, abs=1e-12)


def test_tied_customers_are_one_step():
    curve = uplift_curve(LABELS, TREATED, [2, 2, 2, 2, 1, 1, 1, 1])
    np.testing.assert_allclose(curve["share"], [0, 0.5, 1])
    np.testing.assert_allclose(curve["qini"], [0, 1, 0])
    assert qini(LABELS, TREATED, [3] * 8) == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(6))
def test_equal_to_scikit_uplift(seed):
    metrics = pytest.importorskip("sklift.metrics")
    labels, treated, scores = drawn(300, seed, n_scores=[None, 7, 40][seed % 3])
    curve = uplift_curve(labels, treated, scores)
    share, heights = metrics.qini_curve(labels, scores, treated)
    np.testing.assert_allclose(curve["share"], share / 300, atol=1e-12)
    np.testing.assert_allclose(curve["qini"], heights, atol=1e-9)
    share, heights = metrics.uplift_curve(labels, scores, treated)
    np.testing.assert_allclose(curve["uplift"], heights / 300, atol=1e-12)
    theirs = metrics.qini_auc_score(labels, scores, treated)
    assert qini(labels, treated, scores) == pytest.approx(theirs, abs=1e-10)
    area = np.trapezoid(heights, share) / 300**2
    assert auuc(labels, treated, scores) == pytest.approx(area, abs=1e-10)
    assert abs(theirs) > 1e-3


@pytest.mark.parametrize("metric", [qini, auuc])
@pytest.mark.parametrize("n_scores", [None, 5])
def test_order_of_rows_never_matters(metric, n_scores):
    log = drawn(n_scores=n_scores)
    value = metric(*log)
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(len(log[0]))
        assert metric(*(column[rows] for column in log)) == pytest.approx(
            value, abs=1e-12
        )
    worst = np.lexsort((log[0] * (2 * log[1] - 1), log[2]))
    assert metric(*(column[worst] for column in log)) == pytest.approx(value, abs=1e-12)


def test_the_bug_of_listing_tied_rows_as_they_stand_is_seen():
    labels, treated, scores = drawn(n_scores=5)
    good = np.argsort(-labels * (2 * treated - 1), kind="stable")
    found = [
        with_rows_in_order(labels[rows], treated[rows], scores[rows])
        for rows in (good, good[::-1])
    ]
    assert found[0] > found[1] + 0.15


def test_a_value_does_not_hang_on_what_else_is_compared():
    """causalml #272 and #519: there a model's area changed with the other columns."""
    labels, treated, scores = drawn()
    rng = np.random.default_rng(1)
    rivals = {"a": scores, "b": rng.random(600), "c": labels * (2 * treated - 1.0)}
    alone = {name: qini(labels, treated, rivals[name]) for name in "a"}
    beside = {name: qini(labels, treated, rivals[name]) for name in "cba"}
    assert alone["a"] == beside["a"]
    assert beside["c"] == pytest.approx(1, abs=1e-12)
    assert beside["b"] < beside["a"] < 1


def test_only_the_order_of_scores_matters():
    labels, treated, scores = drawn()
    value = qini(labels, treated, scores)
    assert qini(labels, treated, np.exp(5 * scores) - 3) == pytest.approx(value)
    assert qini(labels, treated, -scores) < 0 < value
    random = [
        qini(labels, treated, np.random.default_rng(s).random(600)) for s in range(100)
    ]
    assert abs(np.mean(random)) < 4 * np.std(random) / 100**0.5
    assert abs(np.mean(random)) < value / 5


def test_heights_are_the_effect_on_average():
    """The uplift curve estimates the buyers that treating the top would add."""
    found = [
        np.interp(0.3, *uplift_curve(*drawn(2000, seed))[["share", "uplift"]].T.values)
        for seed in range(40)
    ]
    truth = 0.3 * (0.6 * 0.85 - 0.2)  # scores from 0.7 to 1
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / 40**0.5
    assert np.std(found) / 40**0.5 < truth / 20


def test_intervals_hold_the_value_and_shrink():
    wide = uplift_interval(qini, *drawn(400), n_resamples=100)
    narrow = uplift_interval(qini, *drawn(3600), n_resamples=100)
    assert wide.estimate == qini(*drawn(400))
    assert wide.low < wide.estimate < wide.high
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert 2 < ratio < 4.5
    assert uplift_interval(qini, *drawn(400), n_resamples=100) == wide
    other = uplift_interval(qini, *drawn(400), n_resamples=100, seed=1)
    assert other.low != wide.low


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = np.mean([qini(*drawn(20_000, 1000 + seed)) for seed in range(5)])
    held = [
        interval.low <= truth <= interval.high
        for interval in (
            uplift_interval(qini, *drawn(200, seed), n_resamples=30)
            for seed in range(20)
        )
    ]
    assert sum(held) >= 15  # 18 or 19 on average; half as wide, 13


def test_a_resample_without_an_arm_is_drawn_again():
    few = [1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [5, 4, 3, 2, 1]
    found = uplift_interval(auuc, *few, n_resamples=50)
    assert np.isfinite([found.low, found.high]).all()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (([], [], []), "No rows"),
        (([1, 0], [1, 1], [1, 2]), "treated holds 2 treated and 0 others"),
        (([1, 0], [0, 0], [1, 2]), "treated holds 0 treated and 2 others"),
        (([1, 0, 1], [1, 0], [1, 2]), "Different lengths"),
        (([1, 2], [1, 0], [1, 2]), "labels has 1 of 2 values outside 0 and 1"),
        (([1, 0], [1, 0.5], [1, 2]), "treated has 1 of 2 values outside 0 and 1"),
        (([1, 0], [1, 0], [1, np.nan]), "scores has 1 of 2 values that are NaN"),
        (([1, 0], [1, 0], [1, 10**400]), "scores must be numbers in one row"),
        (([1, 0], [1, 0], [b"\xff", b"\xfe"]), "scores must be numbers in one row"),
        (([1, 0], [1, 0], [[1], [2]]), r"scores has shape \(2, 1\)"),
        (([1, 0], ["yes", "no"], [1, 2]), "treated must be numbers in one row"),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("metric", [uplift_curve, qini, auuc])
def test_refusals(metric, log, message):
    with pytest.raises(ValueError, match=message):
        metric(*log)


def test_qini_needs_both_classes():
    with pytest.raises(OneClassError, match="3 of class 0 and 0 of class 1"):
        qini([0, 0, 0], [1, 0, 1], [1, 2, 3])
    with pytest.raises(ValueError, match="n_resamples is 0"):
        uplift_interval(qini, *drawn(50), n_resamples=0)

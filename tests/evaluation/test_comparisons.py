"""Paired tests and the correction for many comparisons."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scored import quick, sample, scored

from marketllm.evaluation import (
    Interval,
    auc,
    average_precision,
    bootstrap_interval,
    holm,
    mcnemar,
    paired_bootstrap,
)


def test_mcnemar_by_hand():
    # Twelve rows: 1 only the first has right, 9 only the second, 1 both, 1 neither.
    # 2 * (C(10,0) + C(10,1)) / 2^10 = 22 / 1024.
    labels = np.array([1, 0] * 6)
    first_right = np.array([1] + [0] * 9 + [1, 0])
    second_right = np.array([0] + [1] * 9 + [1, 0])
    first = np.where(first_right, labels, 1 - labels)
    second = np.where(second_right, labels, 1 - labels)
    found = mcnemar(labels, first, second)
    assert (found.n_first_only, found.n_second_only) == (1, 9)
    assert found.p_value == pytest.approx(0.021484375, abs=1e-12)
    assert str(found) == (
        "only the first right: 1, only the second right: 9, p = 0.0215"
    )


def test_mcnemar_of_equal_predictions():
    found = mcnemar([1, 0, 1], [1, 1, 1], [1, 1, 1])
    assert (found.p_value, found.n_first_only, found.n_second_only) == (1, 0, 0)


@quick
@given(scored(), st.integers(0, 2**31))
def test_mcnemar_is_symmetric(pair, seed):
    labels, scores = pair
    first = (scores > 0) * 1
    second = np.random.default_rng(seed).integers(2, size=len(labels))
    one, other = mcnemar(labels, first, second), mcnemar(labels, second, first)
    assert one.p_value == pytest.approx(other.p_value, abs=1e-12)
    assert (one.n_first_only, one.n_second_only) == (
        other.n_second_only,
        other.n_first_only,
    )
    assert one == mcnemar(1 - labels, 1 - first, 1 - second)


def test_mcnemar_rejects_a_true_hypothesis_rarely():
    generator = np.random.default_rng(0)
    n_rejected = 0
    for _ in range(400):
        labels, first, second = generator.integers(2, size=(3, 60))
        n_rejected += mcnemar(labels, first, second).p_value < 0.05
    assert 0.01 < n_rejected / 400 < 0.06  # exact, so somewhat below 0.05


@settings(deadline=None, max_examples=15, phases=[Phase.generate])
@given(scored(), st.integers(0, 2**31), st.sampled_from([auc, average_precision]))
def test_swapping_the_models_turns_the_difference_round(pair, seed, metric):
    labels, first = pair
    second = np.random.default_rng(seed).normal(size=len(labels))
    one = paired_bootstrap(metric, labels, first, second, n_resamples=20)
    other = paired_bootstrap(metric, labels, second, first, n_resamples=20)
    there, back = one.difference, other.difference
    assert (there.estimate, there.low, there.high) == pytest.approx(
        (-back.estimate, -back.high, -back.low), abs=1e-12
    )
    assert one.p_value == other.p_value


def test_a_model_does_not_differ_from_itself():
    labels, good, _ = sample()
    found = paired_bootstrap(auc, labels, good, good, n_resamples=100)
    assert found.difference == Interval(0.0, 0.0, 0.0, 0.95)
    assert found.p_value == 1


def test_a_clear_difference_has_the_smallest_p():
    labels, good, middling = sample()
    found = paired_bootstrap(auc, labels, good, middling, n_resamples=400)
    assert found.difference.estimate == auc(labels, good) - auc(labels, middling)
    assert 0 < found.difference.low < found.difference.estimate < found.difference.high
    assert found.p_value == pytest.approx(2 / 401)


def test_pairing_narrows_the_interval():
    # The second model is the first with little noise: they err on the same rows.
    labels, good, _ = sample()
    close = good + 0.1 * np.random.default_rng(2).normal(size=len(good))
    paired = paired_bootstrap(auc, labels, good, close, n_resamples=300).difference
    alone = bootstrap_interval(auc, labels, good, n_resamples=300)
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_p_is_uniform_where_the_models_are_equally_good():
    generator = np.random.default_rng(0)
    p_values = []
    for run in range(100):
        labels = generator.integers(2, size=100)
        first, second = labels + generator.normal(size=(2, 100))
        result = paired_bootstrap(auc, labels, first, second, 100, seed=run)
        p_values.append(result.p_value)
    assert 0.10 < np.mean(np.array(p_values) < 0.2) < 0.32
    assert 0.37 < np.mean(np.array(p_values) < 0.5) < 0.65


def share_right(labels, predictions):
    """Accuracy without its checks, for thousands of data sets."""
    return float((labels == predictions).mean())


def test_paired_intervals_cover_the_truth_as_often_as_they_claim():
    # Both models see the label through their own noise, and some of it is common.
    generator = np.random.default_rng(0)
    truth = norm.cdf(0.5 / 1.25**0.5) - norm.cdf(0.5 / 2**0.5)
    n_hits, n_sets = 0, 1000
    for run in range(n_sets):
        labels = generator.integers(2, size=200)
        common, one, other = generator.normal(size=(3, 200))
        first = (labels + common + one / 2 > 0.5) * 1
        second = (labels + common + other > 0.5) * 1
        found = paired_bootstrap(share_right, labels, first, second, 300, seed=run)
        n_hits += found.difference.low <= truth <= found.difference.high
    assert 0.93 <= n_hits / n_sets <= 0.97  # 95%; the standard error is 0.7 points


def test_p_and_interval_agree():
    for seed in range(8):
        labels, good, middling = sample(n_rows=60, seed=seed)
        found = paired_bootstrap(auc, labels, good, middling, n_resamples=300)
        if not 0.02 < found.p_value < 0.08:  # not at the very edge
            outside = not found.difference.low <= 0 <= found.difference.high
            assert outside == (found.p_value < 0.05)


# --- many comparisons at once ---


def test_holm_by_hand():
    # 4 * 0.01, 3 * 0.02, 2 * 0.04 and 0.03 * 1: none below one before it.
    assert holm([0.02, 0.01, 0.9, 0.04]) == pytest.approx([0.06, 0.04, 0.9, 0.08])
    assert holm([0.01, 0.02, 0.021]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.3, 0.6]) == pytest.approx([0.6, 0.6])
    assert holm([0.7, 0.8]) == [1, 1]
    assert holm([0.03]) == [0.03]


def rejected(p_values, level):
    """Holm's procedure itself: from the smallest on, until one is not small enough."""
    found = set()
    for place, row in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[row] > level / (len(p_values) - place):
            break
        found.add(row)
    return found


families = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.04, 1.0])),
    min_size=1,
    max_size=8,
)


@quick
@given(families, st.floats(0.001, 0.999))
def test_holm_rejects_what_the_definition_rejects(p_values, level):
    corrected = holm(p_values)
    assume(min(abs(p - level) for p in corrected) > 1e-9)  # not at the very edge
    assert {row for row, p in enumerate(corrected) if p <= level} == rejected(
        p_values, level
    )


@quick
@given(families, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_and_the_places(p_values, random):
    corrected = holm(p_values)
    pairs = sorted(zip(p_values, corrected, strict=True))
    assert all(low[1] <= high[1] for low, high in pairwise(pairs))
    most = [min(1, p * len(p_values)) for p in p_values]  # Bonferroni
    trios = zip(p_values, corrected, most, strict=True)
    assert all(p <= q <= b for p, q, b in trios)
    order = random.sample(range(len(p_values)), len(p_values))
    shuffled = holm([p_values[row] for row in order])
    assert shuffled == [corrected[row] for row in order]


def test_holm_errs_in_one_family_of_twenty():
    p_values = np.random.default_rng(0).random((2000, 8))  # all hypotheses are true
    share = np.mean([min(holm(row)) <= 0.05 for row in p_values])
    assert 0.03 <= share <= 0.07
    assert np.mean(p_values.min(axis=1) <= 0.05) > 0.3  # without it: one in three


@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        ([0.1, 1.2], r"p_values has 1 of 2 values outside 0 to 1, the first is 1\.2"),
        ([-0.1], r"p_values has 1 of 1 values outside 0 to 1, the first is -0\.1"),
        ([], "No rows"),
        ([0.1, float("nan")], "p_values has 1 of 2 values that are NaN"),
    ],
)
def test_refusals_of_holm(p_values, message):
    with pytest.raises(ValueError, match=message):
        holm(p_values)

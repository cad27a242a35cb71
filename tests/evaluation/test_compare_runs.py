"""Models trained several times, compared on the same rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scored import sample, scored

from marketllm.evaluation import (
    accuracy,
    auc,
    brier,
    compare_runs,
    mean_interval,
    paired_bootstrap,
)


def share_right(labels, predictions):
    """Accuracy without its checks, for thousands of data sets."""
    return float((labels == predictions).mean())


@settings(deadline=None, max_examples=20)
@given(scored(), st.integers(2, 4), st.integers(2, 5), st.integers(0, 2**31))
def test_the_estimate_is_the_difference_of_the_mean_metrics(pair, s, r, seed):
    """Each model's metric is its own: nothing is ranked across models."""
    labels, scores = pair
    generator = np.random.default_rng(seed)
    first = np.clip(
        (scores + 9) / 18 + generator.normal(0, 0.1, (s, len(labels))), 0, 1
    )
    second = generator.random((r, len(labels)))
    for metric in (auc, brier):
        means = [np.mean([metric(labels, run) for run in t]) for t in (first, second)]
        found = compare_runs(metric, labels, first, second, n_resamples=2)
        assert found.difference.estimate == pytest.approx(means[0] - means[1])
        assert found.difference.low <= found.difference.estimate
        back = compare_runs(metric, labels, second, first, n_resamples=2)
        assert back.difference.low == pytest.approx(-found.difference.high)
        assert back.p_value == pytest.approx(found.p_value)


def test_without_chance_it_is_the_bootstrap():
    labels, good, middling = sample()
    found = compare_runs(auc, labels, good, middling, n_resamples=1000).difference
    paired = paired_bootstrap(auc, labels, good, middling).difference
    assert found.estimate == paired.estimate
    ends = (paired.low, paired.high)
    assert (found.low, found.high) == pytest.approx(ends, abs=0.005)


def test_where_only_the_seeds_vary_it_is_the_t_interval():
    # One row, a hundred times: every resample is the same. Welch's test remains.
    labels = np.ones(100)
    first = np.repeat([[0.1], [0.5], [0.2], [0.4]], 100, axis=1)
    second = np.repeat([[0.6], [0.8], [0.5]], 100, axis=1)
    found = compare_runs(brier, labels, first, second, n_resamples=20)
    welch = stats.ttest_ind(
        (1 - first[:, 0]) ** 2, (1 - second[:, 0]) ** 2, equal_var=False
    )
    assert found.p_value == pytest.approx(welch.pvalue, abs=1e-9)
    ends = welch.confidence_interval(0.95)
    assert found.difference.low == pytest.approx(ends.low, abs=1e-9)
    assert found.difference.high == pytest.approx(ends.high, abs=1e-9)
    alone = compare_runs(brier, labels, first, np.ones(100), n_resamples=20).difference
    mean = mean_interval([(1 - p) ** 2 for p in first[:, 0]])
    assert (alone.low, alone.high) == pytest.approx((mean.low, mean.high), abs=1e-9)


def test_where_only_rows_vary_the_seeds_add_nothing():
    """Runs that differ in single rows, not in quality: the rows tell it all."""
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=2000)
    table = (generator.random((30, 2000)) < 0.8) == labels
    runs = table.astype(int)
    constant = np.ones(2000)
    found = compare_runs(accuracy, labels, runs, constant).difference
    by_rows = (runs == labels).mean(axis=0) - (constant == labels)
    error = by_rows.std() / 2000**0.5
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 * error, rel=0.15)


def test_nothing_varies():
    labels = [1, 0, 1]
    right, wrong = [[1, 0, 1]] * 2, [[0, 1, 0]] * 3
    same = compare_runs(accuracy, labels, right, right, 10)
    assert (same.difference.low, same.difference.high, same.p_value) == (0, 0, 1)
    far = compare_runs(accuracy, labels, right, wrong, 10)
    assert (far.difference.low, far.difference.high, far.p_value) == (1, 1, 0)


def test_p_and_interval_agree_and_the_seed_fixes_both():
    generator = np.random.default_rng(0)
    for shift in (0.0, 0.2, 0.4, 0.6):
        labels, scores, _ = sample(n_rows=150)
        first = scores + generator.normal(size=(4, 150))
        second = scores * (1 - shift) + generator.normal(size=(3, 150))
        found = compare_runs(auc, labels, first, second, 100)
        outside = not found.difference.low <= 0 <= found.difference.high
        assert outside == (found.p_value < 0.05)
        assert found == compare_runs(auc, labels, first, second, 100)
        assert found != compare_runs(auc, labels, first, second, 100, seed=1)


# luck: what a seed shifts a whole run by; blur: what it does to single rows.
@pytest.mark.parametrize(
    ("n_first", "n_second", "luck", "blur"),
    [(5, 5, 0.15, 0.5), (3, 5, 0.4, 0.3), (5, 0, 0.05, 0.5)],
    ids=["some luck", "much luck", "against one without chance"],
)
def test_intervals_cover_the_truth_as_often_as_they_claim(
    n_first, n_second, luck, blur
):
    generator = np.random.default_rng(0)
    n_rows, n_hits, n_sets = 200, 0, 1000

    def right(n_runs, hardness):
        """Draw which run has which row right: luck, blur and a taste of the model."""
        taste = generator.normal(size=n_rows) * 0.4
        if n_runs == 0:
            more = (luck**2 + blur**2) ** 0.5  # equally good, so the truth is 0
            return (hardness + taste + generator.normal(0, more, n_rows) > 0) * 1
        shift = generator.normal(0, luck, (n_runs, 1))
        noise = generator.normal(0, blur, (n_runs, n_rows))
        return (hardness + taste + shift + noise > 0) * 1

    labels = np.ones(n_rows, dtype=int)
    for run in range(n_sets):
        hardness = generator.normal(0.9, 1, n_rows)
        first, second = right(n_first, hardness), right(n_second, hardness)
        found = compare_runs(share_right, labels, first, second, 60, seed=run)
        n_hits += found.difference.low <= 0 <= found.difference.high
    assert 0.93 <= n_hits / n_sets <= 0.97  # 95%; the standard error is 0.7 points


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([[1, 0, 1]], [1, 0, 1], r"first has shape \(1, 3\), expected \(S, N\) with 2"),
        ([1, 0, 1], [[[1, 0, 1]]], r"second has shape \(1, 1, 3\), expected \(S, N\)"),
        (
            [1, 0, 1],
            [[1, 0], [1, 1]],
            r"Different lengths: \{'labels': 3, 'second': 2\}",
        ),
        ([1, 0, float("nan")], [1, 0, 1], "first has 1 of 3 values that are NaN"),
        ([1, 0, 0.5], [1, 0, 1], "predictions has 1 of 3 values outside 0 and 1"),
    ],
    ids=["one run", "three axes", "lengths", "a gap", "scores"],
)
def test_refusals_of_compare_runs(first, second, message):
    with pytest.raises(ValueError, match=message):
        compare_runs(accuracy, [1, 0, 1], first, second)


def test_one_draw_of_rows_is_refused():
    with pytest.raises(ValueError, match="n_resamples is 1, expected 2 or more"):
        compare_runs(accuracy, [1, 0], [1, 0], [1, 1], n_resamples=1)

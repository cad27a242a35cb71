"""Intervals: cases by hand, properties, and how often they hold the truth."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scored import quick, sample, scored

from marketllm.evaluation import (
    Interval,
    PairedDifference,
    accuracy,
    auc,
    bootstrap_interval,
    compare_runs,
    mcnemar,
    mean_interval,
    paired_bootstrap,
)


@quick
@given(scored(min_size=2), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_interval_contains_the_estimate(pair, confidence):
    # For a share this is a theorem: a binomial's median is next to its mean.
    labels, scores = pair
    found = bootstrap_interval(
        accuracy, labels, (scores > 0) * 1, n_resamples=200, confidence=confidence
    )
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.estimate == accuracy(labels, (scores > 0) * 1)
    assert found.confidence == confidence


def test_the_interval_of_a_share_is_that_of_the_binomial():
    labels = np.ones(500, dtype=int)
    chosen = np.repeat([1, 0], [400, 100])
    found = bootstrap_interval(accuracy, labels, chosen, n_resamples=4000)
    error = np.sqrt(0.8 * 0.2 / 500)
    assert found.low == pytest.approx(0.8 - 1.96 * error, abs=0.003)
    assert found.high == pytest.approx(0.8 + 1.96 * error, abs=0.003)


def test_pairs_stay_together():
    labels, scores = [0] * 30 + [1] * 30, list(range(60))
    found = bootstrap_interval(auc, labels, scores, n_resamples=100)
    assert (found.estimate, found.low, found.high) == (1, 1, 1)


def test_resamples_of_one_class_are_drawn_again():
    labels, scores = [0, 0, 0, 0, 0, 1], [1, 2, 3, 4, 6, 5]  # 1 of 3 lacks class 1
    drawn = []

    def watched(labels, scores):
        drawn.append(len(set(labels)))
        return auc(labels, scores)

    found = bootstrap_interval(watched, labels, scores, n_resamples=300)
    assert drawn.count(2) == 301  # the data, and each resample that counts
    assert drawn.count(1) > 50
    assert 0 <= found.low < found.estimate < found.high <= 1


def test_an_error_of_the_metric_is_not_swallowed():
    calls = []

    def broken(labels, scores):
        calls.append(1)
        if len(calls) == 3:  # the data and the first resample pass
            raise ValueError("a bug")
        return 0.5

    with pytest.raises(ValueError, match="a bug"):
        bootstrap_interval(broken, [1, 0], [1, 0], n_resamples=20)


def test_seed_and_confidence():
    labels, good, _ = sample()
    first, again, other = (
        bootstrap_interval(auc, labels, good, n_resamples=200, seed=seed)
        for seed in (5, 5, 6)
    )
    assert first == again != other
    widths = [
        found.high - found.low
        for found in (
            bootstrap_interval(auc, labels, good, 200, confidence)
            for confidence in (0.5, 0.8, 0.99)
        )
    ]
    assert all(narrow < wide for narrow, wide in pairwise(widths))


@pytest.mark.parametrize("metric", [accuracy, auc])
def test_bootstrap_intervals_cover_the_truth_as_often_as_they_claim(metric):
    # Scores are normal, shifted by 1 for class 1: AUC is Phi(1 / sqrt 2), and the
    # accuracy of the best threshold, 1/2, is Phi(1/2).
    generator = np.random.default_rng(0)
    truth = norm.cdf(2**-0.5 if metric is auc else 0.5)
    n_hits, n_sets = 0, 1000
    for run in range(n_sets):
        labels = generator.integers(2, size=200)
        scores = labels + generator.normal(size=200)
        values = scores if metric is auc else (scores > 0.5) * 1
        found = bootstrap_interval(metric, labels, values, 300, seed=run)
        n_hits += found.low <= truth <= found.high
    assert 0.93 <= n_hits / n_sets <= 0.97  # 95%; the standard error is 0.7 points


# --- mean of some runs ---


def test_mean_interval_by_hand():
    # Mean 3, standard deviation sqrt(5/2), n = 5; Student's table: t = 2.776 at 4.
    found = mean_interval([1, 2, 3, 4, 5])
    spread = 2.776 * (5 / 2) ** 0.5 / 5**0.5
    assert found.estimate == 3
    assert (found.low, found.high) == pytest.approx((3 - spread, 3 + spread), abs=5e-4)
    narrow = mean_interval([1, 2, 3, 4, 5], confidence=0.9)
    assert narrow.high == pytest.approx(3 + 2.132 * (5 / 2) ** 0.5 / 5**0.5, abs=5e-4)
    assert narrow.confidence == 0.9
    assert mean_interval([0.8, 0.8]) == Interval(0.8, 0.8, 0.8)


@pytest.mark.parametrize("n_values", [2, 3, 5, 10])
def test_mean_intervals_cover_the_mean_as_often_as_they_claim(n_values):
    draws = np.random.default_rng(n_values).normal(0.8, 0.01, (2000, n_values))
    found = [mean_interval(row) for row in draws]
    share = np.mean([one.low <= 0.8 <= one.high for one in found])
    assert 0.93 <= share <= 0.97
    normal = 1.96 * draws.std(axis=1, ddof=1) / n_values**0.5
    too_narrow = np.mean(abs(draws.mean(axis=1) - 0.8) <= normal)
    assert too_narrow < share  # what the normal distribution would do in t's place
    assert n_values > 5 or too_narrow < 0.91


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.8], r"values has 1 number, expected 2 or more.*more seeds"),
        ([], "No rows"),
        ([0.8, float("nan")], "values has 1 of 2 values that are NaN"),
        ([[0.8, 0.9]], r"values has shape \(1, 2\), expected one axis"),
    ],
)
def test_refusals_of_mean_interval(values, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(values)


# --- refusals ---


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 95.0, float("nan")])
def test_confidence_out_of_range_is_refused(confidence):
    message = r"confidence is .*, expected above 0 and below 1.*Write 0\.95 for 95%"
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(accuracy, [1, 0], [1, 0], confidence=confidence)
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(accuracy, [1, 0], [1, 0], [1, 1], confidence=confidence)
    with pytest.raises(ValueError, match=message):
        compare_runs(accuracy, [1, 0], [1, 0], [1, 1], confidence=confidence)
    with pytest.raises(ValueError, match=message):
        mean_interval([1, 2], confidence=confidence)


def test_other_refusals_of_bootstrap_and_test():
    with pytest.raises(ValueError, match="n_resamples is 0, expected 1 or more"):
        bootstrap_interval(accuracy, [1, 0], [1, 0], n_resamples=0)
    with pytest.raises(ValueError, match=r"'second': 1"):
        paired_bootstrap(accuracy, [1, 0], [1, 0], [1])
    with pytest.raises(ValueError, match=r"second has 1 of 2 values outside"):
        mcnemar([1, 0], [1, 0], [0.5, 0])
    with pytest.raises(ValueError, match=r"'labels': 2, 'first': 3"):
        mcnemar([1, 0], [1, 0, 1], [1, 0])
    with pytest.raises(ValueError, match=r"not a number in \d+ of 50 resamples"):
        bootstrap_interval(
            lambda labels, scores: float("nan" if labels.all() else 1),
            [1, 1, 0],
            [1, 2, 3],
            n_resamples=50,
        )


def test_what_results_look_like():
    interval = Interval(0.8126, 0.7875, 0.8364)
    assert str(interval) == "0.813 (95% interval 0.787 to 0.836)"
    assert (
        str(Interval(0.5, 0.4, 0.6, 0.995)) == "0.500 (99.5% interval 0.400 to 0.600)"
    )
    found = PairedDifference(Interval(-0.02, -0.05, 0.01, 0.9), 0.25)
    assert str(found) == (
        "difference -0.020 (90% interval -0.050 to 0.010), p = 0.2500"
    )

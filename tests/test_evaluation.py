"""Metrics, intervals and paired tests: references, properties, cases by hand."""

from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics

from marketllm import evaluation
from marketllm.batches import IGNORE, NextTokenBatches
from marketllm.evaluation import (
    Interval,
    accuracy,
    auc,
    average_precision,
    bootstrap_interval,
    mcnemar,
    mean_surprise,
    paired_bootstrap,
)
from marketllm.losses import token_loss

quick = settings(deadline=None, max_examples=60)


@st.composite
def scored(draw, min_size=4, max_size=30):
    """Labels of both classes and scores with ties."""
    n_rows = draw(st.integers(min_size, max_size))
    labels = draw(st.lists(st.integers(0, 1), min_size=n_rows, max_size=n_rows))
    assume(0 < sum(labels) < n_rows)
    scores = draw(st.lists(st.integers(-9, 9), min_size=n_rows, max_size=n_rows))
    return np.array(labels), np.array(scores, dtype=float)


def sample(n_rows=400, seed=1):
    """Labels, scores of a good and of a middling model."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n_rows) < 0.4).astype(int)
    good = labels * 1.5 + generator.normal(size=n_rows)
    middling = labels * 0.5 + generator.normal(size=n_rows)
    return labels, good, middling


# --- metrics ---


@quick
@given(scored())
def test_metrics_equal_scikit_learn(pair):
    labels, scores = pair
    chosen = (scores > 0).astype(int)
    assert accuracy(labels, chosen) == metrics.accuracy_score(labels, chosen)
    assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert average_precision(labels, scores) == pytest.approx(
        metrics.average_precision_score(labels, scores)
    )


@quick
@given(scored())
def test_auc_is_the_share_of_pairs_in_the_right_order(pair):
    labels, scores = pair
    pairs = product(scores[labels == 1], scores[labels == 0])
    wins = [(one > zero) + (one == zero) / 2 for one, zero in pairs]
    assert auc(labels, scores) == pytest.approx(np.mean(wins), abs=1e-12)


@quick
@given(scored(), st.floats(0.1, 5), st.floats(-3, 3))
def test_auc_depends_on_the_order_alone(pair, slope, shift):
    labels, scores = pair
    for transformed in (slope * scores + shift, np.tanh(scores / 9), scores**3):
        assert auc(labels, transformed) == auc(labels, scores)
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores), abs=1e-12)
    assert auc(1 - labels, -scores) == pytest.approx(auc(labels, scores), abs=1e-12)


def test_metrics_by_hand():
    labels, scores = [1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1]
    assert accuracy(labels, [1, 1, 1, 0, 0]) == 0.8
    assert auc(labels, scores) == pytest.approx(5 / 6)  # one of six pairs is wrong
    assert average_precision(labels, scores) == pytest.approx((1 / 1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    "wrap",
    [list, tuple, np.array, pd.Series, torch.tensor, lambda v: np.array(v, dtype=bool)],
)
def test_lists_series_tensors_and_booleans_are_taken(wrap):
    assert accuracy(wrap([1, 0, 1]), wrap([1, 1, 1])) == pytest.approx(2 / 3)
    shuffled = pd.Series([1, 1, 0], index=[2, 0, 1])  # rows by place, not by index
    assert accuracy(shuffled, [1, 1, 0]) == 1


# --- refusals ---


@pytest.mark.parametrize("metric", [accuracy, auc, average_precision])
@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        ([], [], r"No rows: \{'labels': 0, '(predictions|scores)': 0\}, expected 1"),
        ([1, 0, 1], [1, 0], r"Different lengths: \{'labels': 3, .*: 2\}.*each row"),
        ([[1], [0]], [1, 0], r"labels has shape \(2, 1\), expected one axis, \(N,\)"),
        ([1, 0], [[1, 0], [0, 1]], r"has shape \(2, 2\), expected one axis.*argmax"),
        ([1, 0], [1, float("nan")], r"has 1 of 2 values that are NaN.*Find out why"),
        ([1, 0], [1, float("inf")], r"has 1 of 2 values that are NaN or infinite"),
        ([1, None], [1, 0], r"labels (has 1 of 2 values that are NaN|must be numbers)"),
        (["great", "other"], [1, 0], r"labels must be numbers.*great"),
        ([1, 2, 0], [1, 1, 0], r"labels has 1 of 3 values outside 0 and 1, .* is 2\."),
        ([1, -1, 0], [1, 1, 0], r"labels has 1 of 3 values outside 0 and 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(metric, labels, values, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, values)


def test_accuracy_refuses_scores():
    message = r"predictions has 2 of 3 values outside 0 and 1, the first is 0\.3.*0\.5"
    with pytest.raises(ValueError, match=message):
        accuracy([1, 0, 1], [1, 0.3, 0.7])


def test_the_accuracy_of_740_percent_is_refused():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=50)
    table = generator.integers(2, size=(50, 50))
    unchecked = (table == labels).sum() / len(labels)
    assert unchecked > 1  # broadcasting compares 2,500 pairs and divides by 50
    with pytest.raises(ValueError, match=r"shape \(50, 50\), expected one axis"):
        accuracy(labels, table)


@pytest.mark.parametrize("metric", [auc, average_precision])
@pytest.mark.parametrize(("label", "counts"), [(0, (3, 0)), (1, (0, 3))])
def test_one_class_is_refused(metric, label, counts):
    message = f"{counts[0]} of class 0 and {counts[1]} of class 1, expected at least 1"
    with pytest.raises(evaluation.OneClassError, match=message):
        metric([label] * 3, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(metric, [label] * 3, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 95.0, float("nan")])
def test_confidence_out_of_range_is_refused(confidence):
    message = r"confidence is .*, expected above 0 and below 1.*Write 0\.95 for 95%"
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(accuracy, [1, 0], [1, 0], confidence=confidence)
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(accuracy, [1, 0], [1, 0], [1, 1], confidence=confidence)


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


# --- bootstrap interval ---


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
def test_intervals_cover_the_truth_as_often_as_they_claim(metric):
    # Scores are normal, shifted by 1 for class 1: AUC is Phi(1 / sqrt 2), and the
    # accuracy of the best threshold, 1/2, is Phi(1/2).
    generator = np.random.default_rng(0)
    truth = norm.cdf(2**-0.5 if metric is auc else 0.5)
    n_hits, n_runs = 0, 150
    for run in range(n_runs):
        labels = generator.integers(2, size=100)
        scores = labels + generator.normal(size=100)
        values = scores if metric is auc else (scores > 0.5) * 1
        found = bootstrap_interval(metric, labels, values, 150, 0.8, seed=run)
        n_hits += found.low <= truth <= found.high
    # 80% of 150; the standard error is 3.3%. Small samples cover slightly less.
    assert 0.71 < n_hits / n_runs < 0.88


# --- comparing two models ---


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


def test_p_and_interval_agree():
    for seed in range(8):
        labels, good, middling = sample(n_rows=60, seed=seed)
        found = paired_bootstrap(auc, labels, good, middling, n_resamples=300)
        if not 0.02 < found.p_value < 0.08:  # not at the very edge
            outside = not found.difference.low <= 0 <= found.difference.high
            assert outside == (found.p_value < 0.05)


def test_what_results_look_like():
    interval = Interval(0.8126, 0.7875, 0.8364)
    assert str(interval) == "0.813 (95% interval 0.787 to 0.836)"
    assert (
        str(Interval(0.5, 0.4, 0.6, 0.995)) == "0.500 (99.5% interval 0.400 to 0.600)"
    )
    found = evaluation.PairedDifference(Interval(-0.02, -0.05, 0.01, 0.9), 0.25)
    assert str(found) == (
        "difference -0.020 (90% interval -0.050 to 0.010), p = 0.2500"
    )


# --- surprise at text ---


class Table(torch.nn.Module):
    """The logits of a token are a row of a table."""

    def __init__(self, n_ids=9):
        super().__init__()
        self.rows = torch.nn.Embedding(n_ids, n_ids)

    def forward(self, ids):
        return self.rows(ids)


def test_mean_surprise_worked_example():
    """Shares of 1/2 and 1/8 at two tokens that count: (ln 2 + ln 8) / 2."""
    model = Table(3)
    half, eighth = np.log([1 / 4, 1 / 2, 1 / 4]), np.log([1 / 8, 3 / 4, 1 / 8])
    rows = torch.tensor(np.array([half, half, eighth]), dtype=torch.float32)
    model.rows.weight = torch.nn.Parameter(rows)
    batch = torch.tensor([[1, 2, 1]]), torch.tensor([[1, 0, IGNORE]])
    expected = (np.log(2) + np.log(8)) / 2
    assert mean_surprise(model, [batch]) == pytest.approx(expected, abs=1e-6)


@quick
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_mean_surprise_does_not_depend_on_the_batches(lengths, batch_size):
    sequences = [[2 + (i * n) % 7 for i in range(n)] for n in lengths]
    torch.manual_seed(0)
    model = Table()
    batches = NextTokenBatches(sequences, 4, batch_size, end_id=1)
    whole = NextTokenBatches(sequences, 100, 1, end_id=1)
    ((ids, targets),) = whole
    expected = token_loss(model, (ids, targets)).item()
    assert mean_surprise(model, batches) == pytest.approx(expected, abs=1e-5)


def test_mean_surprise_weighs_tokens_and_not_batches():
    torch.manual_seed(0)
    model = Table()
    long = torch.tensor([[3, 4, 5, 6]]), torch.tensor([[4, 5, 6, 7]])
    short = torch.tensor([[8, 2, 2, 2]]), torch.tensor([[1, *[IGNORE] * 3]])
    surprises = [token_loss(model, batch).item() for batch in (long, short)]
    assert abs(surprises[0] - surprises[1]) > 0.5
    expected = (4 * surprises[0] + surprises[1]) / 5
    assert mean_surprise(model, [long, short]) == pytest.approx(expected, abs=1e-6)


def test_mean_surprise_refuses_nothing():
    with pytest.raises(ValueError, match=r"there are no batches \(0\)"):
        mean_surprise(Table(), [])
    nothing = torch.tensor([[3]]), torch.tensor([[IGNORE]])
    with pytest.raises(ValueError, match="no target that counts"):
        mean_surprise(Table(), [nothing])

"""Metrics: references, properties, cases by hand, refusals."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scored import quick, scored
from sklearn import metrics

from marketllm import evaluation
from marketllm.evaluation import (
    accuracy,
    auc,
    average_precision,
    bootstrap_interval,
    brier,
    lift,
)


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
    probabilities = (scores + 9) / 18
    assert brier(labels, probabilities) == pytest.approx(
        metrics.brier_score_loss(labels, probabilities), abs=1e-15
    )


@quick
@given(scored(), st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_the_order_of_rows(pair, random):
    labels, scores = pair
    order = random.sample(range(len(labels)), len(labels))
    for metric in (auc, average_precision, lift, partial(lift, share=0.35)):
        assert metric(labels[order], scores[order]) == metric(labels, scores)
    probabilities = (scores + 9) / 18
    shuffled = brier(labels[order], probabilities[order])
    assert shuffled == pytest.approx(brier(labels, probabilities), abs=1e-15)


def test_a_list_sorted_by_class_gains_nothing():
    """Equal scores tell nothing, however the file is sorted: the historic bug."""
    labels, scores = np.repeat([1, 0], [20, 80]), np.zeros(100)
    for truth in (labels, labels[::-1]):
        assert auc(truth, scores) == 0.5
        assert average_precision(truth, scores) == pytest.approx(0.2)
        assert lift(truth, scores, 0.1) == pytest.approx(1)


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
    squares = (0.1**2, 0.8**2, 0.3**2, 0.2**2, 0.1**2)
    assert brier(labels, scores) == pytest.approx(sum(squares) / 5)


@quick
@given(st.lists(st.integers(0, 1), min_size=1, max_size=20), st.floats(0, 1))
def test_brier_is_least_for_the_share(labels, other):
    share = np.mean(labels)
    best = brier(labels, [share] * len(labels))
    assert best == pytest.approx(share * (1 - share), abs=1e-12)
    apart = brier(labels, [other] * len(labels)) - best
    assert apart == pytest.approx((other - share) ** 2, abs=1e-12)


@pytest.mark.parametrize(
    "wrap",
    [list, tuple, np.array, pd.Series, torch.tensor, lambda v: np.array(v, dtype=bool)],
)
def test_lists_series_tensors_and_booleans_are_taken(wrap):
    assert accuracy(wrap([1, 0, 1]), wrap([1, 1, 1])) == pytest.approx(2 / 3)
    shuffled = pd.Series([1, 1, 0], index=[2, 0, 1])  # rows by place, not by index
    assert accuracy(shuffled, [1, 1, 0]) == 1


# --- refusals ---


@pytest.mark.parametrize("metric", [accuracy, auc, average_precision, brier, lift])
@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        (
            [],
            [],
            r"No rows: \{'labels': 0, '(pred|scores|prob)[a-z]*': 0\}, expected 1",
        ),
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


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_brier_refuses_what_is_no_probability(wrong):
    message = rf"probabilities has 1 of 3 values outside 0 to 1, the first is {wrong}"
    with pytest.raises(ValueError, match=message):
        brier([1, 0, 1], [0.5, wrong, 1])


def test_the_accuracy_of_740_percent_is_refused():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=50)
    table = generator.integers(2, size=(50, 50))
    unchecked = (table == labels).sum() / len(labels)
    assert unchecked > 1  # broadcasting compares 2,500 pairs and divides by 50
    with pytest.raises(ValueError, match=r"shape \(50, 50\), expected one axis"):
        accuracy(labels, table)


@pytest.mark.parametrize("metric", [auc, average_precision, lift])
@pytest.mark.parametrize(("label", "counts"), [(0, (3, 0)), (1, (0, 3))])
def test_one_class_is_refused(metric, label, counts):
    message = f"{counts[0]} of class 0 and {counts[1]} of class 1, expected at least 1"
    with pytest.raises(evaluation.OneClassError, match=message):
        metric([label] * 3, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(metric, [label] * 3, [0.1, 0.2, 0.3])

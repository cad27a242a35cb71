"""Profit of a list and value of a rule: by hand, and on average over many logs."""

import numpy as np
import pytest

from marketllm.evaluation import estimated_profit, policy_value, true_profit

N = 400
MONEY = {"margin": 10.0, "cost": 1.5}


def firm(seed=0):
    """Customers with known chances, and a firm that treats likely buyers more."""
    rng = np.random.default_rng(seed)
    likely = rng.random(N)
    chances = np.stack([0.1 + 0.7 * likely, 0.3 + 0.5 * likely], axis=1)
    propensities = 0.1 + 0.8 * likely
    policy = np.ones(N)  # a letter to everybody: of the unlikely few were seen
    value = np.mean(chances[:, 0] + policy * (chances[:, 1] - chances[:, 0]))
    return chances, propensities, policy, value


def logs(n_logs=300):
    chances, propensities, _, _ = firm()
    rng = np.random.default_rng(1)
    for _ in range(n_logs):
        treated = (rng.random(N) < propensities).astype(int)
        labels = (rng.random(N) < chances[np.arange(N), treated]).astype(int)
        yield labels, treated


def errors(propensities=None, forecasts=None, n_logs=300):
    """Estimates less the truth, over many logs of the same firm."""
    _, known, policy, value = firm()
    given = known if propensities is None else propensities
    found = [
        policy_value(*log, given, policy, forecasts).estimate for log in logs(n_logs)
    ]
    return np.array(found) - value


def is_unbiased(found):
    return abs(found.mean()) < 4 * found.std() / len(found) ** 0.5


RIGHT = firm()[0]
WRONG = np.tile([0.9, 0.2], (N, 1))
WRONG_LOT = np.full(N, 0.5)


def test_inverse_propensity_weighting_is_unbiased_and_the_plain_mean_is_not():
    found = errors()
    assert is_unbiased(found)
    assert found.std() / len(found) ** 0.5 < 0.008
    _, _, policy, value = firm()
    plain = [labels[treated == policy].mean() - value for labels, treated in logs()]
    assert abs(np.mean(plain)) > 0.03
    assert not is_unbiased(np.array(plain))
    assert not is_unbiased(errors(WRONG_LOT))


@pytest.mark.parametrize(
    ("propensities", "forecasts", "right"),
    [
        (None, RIGHT, True),
        (None, WRONG, True),
        (WRONG_LOT, RIGHT, True),
        (WRONG_LOT, WRONG, False),
    ],
    ids=["both right", "forecasts wrong", "lot wrong", "both wrong"],
)
def test_doubly_robust_needs_one_of_the_two(propensities, forecasts, right):
    found = errors(propensities, forecasts)
    assert is_unbiased(found) == right
    if not right:
        assert abs(found.mean()) > 0.03


def test_forecasts_make_the_estimate_sharper():
    assert errors(None, RIGHT).std() < 0.8 * errors().std()


def test_intervals_hold_the_value():
    _, known, policy, value = firm()
    held = [
        found.low <= value <= found.high
        for found in (policy_value(*log, known, policy, RIGHT) for log in logs(200))
    ]
    # Customers stand fixed here, so the interval is a little too wide.
    assert 184 <= sum(held) <= 199


def test_policy_value_by_hand():
    found = policy_value([1, 0, 1, 1], [1, 1, 0, 0], [0.5, 0.5, 0.2, 0.8], [1, 1, 0, 1])
    assert found.estimate == pytest.approx((2 + 0 + 1 / 0.8 + 0) / 4)
    forecasts = np.array([[0.1, 0.4]] * 4)
    found = policy_value(
        [1, 0, 1, 1], [1, 1, 0, 0], [0.5, 0.5, 0.2, 0.8], [1, 1, 0, 1], forecasts
    )
    rows = [0.4 + 2 * 0.6, 0.4 - 2 * 0.4, 0.1 + 0.9 / 0.8, 0.4 + 0]
    assert found.estimate == pytest.approx(np.mean(rows))
    half = policy_value([10.0, 4.0], [1, 0], [0.5, 0.5], [0.5, 0.5])
    assert half.estimate == pytest.approx(7.0)  # money, and a rule with a lot


def test_true_profit_by_hand():
    effects, scores = [0.3, -0.1, 0.2, 0.0], [4, 3, 2, 1]
    assert true_profit(effects, scores, 0.5, **MONEY) == pytest.approx(
        10 * (0.3 - 0.1) / 4 - 1.5 * 0.5
    )
    assert true_profit(effects, effects, 0.5, **MONEY) == pytest.approx(
        10 * 0.5 / 4 - 0.75
    )
    # All alike: any half, on average.
    assert true_profit(effects, [1] * 4, 0.5, **MONEY) == pytest.approx(
        10 * 0.4 / 8 - 0.75
    )
    # A cut between two of three who are tied takes them in proportion.
    assert true_profit(effects, [1, 0, 0, 0], 0.5, **MONEY) == pytest.approx(
        10 * (0.3 + 0.1 / 3) / 4 - 0.75
    )
    rows = [2, 0, 3, 1]
    again = true_profit(
        np.array(effects)[rows], np.array([1, 0, 0, 0])[rows], 0.5, 10.0, 1.5
    )
    assert again == pytest.approx(10 * (0.3 + 0.1 / 3) / 4 - 0.75)


def test_the_estimated_profit_is_right_on_average():
    chances, *_ = firm()
    effects = chances[:, 1] - chances[:, 0]
    truth = true_profit(effects, effects, 0.25, **MONEY)
    rng = np.random.default_rng(2)
    found = []
    for _ in range(200):
        treated = rng.integers(2, size=N)
        labels = (rng.random(N) < chances[np.arange(N), treated]).astype(int)
        found.append(estimated_profit(labels, treated, effects, 0.25, **MONEY))
    assert is_unbiased(np.array(found) - truth)
    assert np.std(found) / 200**0.5 < 0.04


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0.0}, "budget is 0.0, expected above 0"),
        ({"budget": 1.2}, "budget is 1.2"),
        ({"margin": 0.0}, "margin is 0.0"),
        ({"cost": -1.0}, "cost is -1.0"),
        ({"effects": [1.5, 0.2]}, "effects has 1 of 2 values outside -1 to 1"),
        ({"effects": []}, "Different lengths"),
        ({"effects": [], "scores": []}, "No rows"),
        ({"scores": ["a", "b"]}, "scores must be numbers"),
    ],
    ids=range(8),
)
def test_true_profit_refuses(change, message):
    given = {"effects": [0.1, 0.2], "scores": [1, 2], "budget": 0.5} | MONEY | change
    with pytest.raises(ValueError, match=message):
        true_profit(**given)


def test_estimated_profit_refuses():
    with pytest.raises(ValueError, match="budget is 0"):
        estimated_profit([1, 0], [1, 0], [1, 2], 0.0, **MONEY)
    with pytest.raises(ValueError, match="treated holds 2 treated and 0 others"):
        estimated_profit([1, 0], [1, 1], [1, 2], 0.5, **MONEY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensities": [0.5, 1.0]}, "1 of 2 values that are not above 0 and below"),
        ({"propensities": [0.0, 0.5]}, "always or never treated"),
        ({"propensities": [0.5]}, "Different lengths"),
        ({"policy": [0.5, 1.5]}, "policy has 1 of 2 values outside 0 to 1"),
        ({"treated": [1, 1]}, "treated holds 2 treated and 0 others"),
        ({"treated": [2, 1]}, "treated has 1 of 2 values outside 0 and 1"),
        ({"outcomes": [np.inf, 1]}, "outcomes has 1 of 2 values that are NaN"),
        ({"chances": np.zeros(2)}, r"chances has shape \(2,\), expected \(2, 2\)"),
        ({"chances": np.full((2, 2), np.nan)}, "without has 2 of 2 values"),
    ],
    ids=range(9),
)
def test_policy_value_refuses(change, message):
    given = {"outcomes": [1, 0], "treated": [1, 0], "propensities": [0.5, 0.5]}
    given |= {"policy": [1, 1]} | change
    with pytest.raises(ValueError, match=message):
        policy_value(**given)

"""The drawings show the numbers they were given."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

mpl.use("Agg")

import matplotlib.pyplot as plt

from marketllm.plots import heat_map, intervals, set_style, shares

WEIGHTS = [[0.75, 0.25, 0.0], [0.1, 0.2, 0.7]]
ROWS, COLUMNS = ["tea", "late"], ["the", "tea", "arrived"]


@pytest.fixture(autouse=True)
def _clean():
    with mpl.rc_context():
        yield
    plt.close("all")


def labels(texts):
    return [text.get_text() for text in texts]


@pytest.mark.parametrize("kind", [list, np.asarray, torch.tensor])
def test_heat_map_shows_the_numbers(kind):
    ax = heat_map(kind(WEIGHTS), ROWS, COLUMNS)
    expected = ["0.75", "0.25", "0.00", "0.10", "0.20", "0.70"]
    assert labels(ax.texts) == expected
    assert labels(ax.get_yticklabels()) == ROWS
    assert labels(ax.get_xticklabels()) == COLUMNS
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("key", "query")
    assert ax.collections[0].get_clim() == (0.0, 1.0)


def test_heat_map_of_both_signs_is_white_at_0():
    ax = heat_map([[1.0, -3.0]], ["a"], ["b", "c"], limits=None, digits=None)
    assert ax.collections[0].get_clim() == (-3.0, 3.0)
    assert not ax.texts


def test_heat_map_draws_where_it_is_told():
    _, axes = plt.subplots(1, 2)
    assert heat_map(WEIGHTS, ROWS, COLUMNS, ax=axes[0]) is axes[0]
    assert not axes[1].collections


@pytest.mark.parametrize(("rows", "columns"), [(COLUMNS, ROWS), (ROWS, ROWS)])
def test_heat_map_refuses_names_that_do_not_fit(rows, columns):
    message = rf"shape \(2, 3\), but there are {len(rows)} row names and {len(columns)}"
    with pytest.raises(ValueError, match=message):
        heat_map(WEIGHTS, rows, columns)


def test_intervals_show_the_numbers_the_first_on_top():
    names = ["majority", "naive Bayes", "ours"]
    ax = intervals(names, [0.65, 0.8, 0.7], [0.6, 0.78, 0.65], [0.7, 0.81, 0.79])
    points, _, (bars,) = ax.containers[0]
    assert points.get_xdata().tolist() == [0.65, 0.8, 0.7]
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.6, 0.7], [0.78, 0.81], [0.65, 0.79]])
    assert labels(ax.get_yticklabels()) == names
    bottom, top = ax.get_ylim()
    assert bottom > top  # the axis is turned over: place 0 is on top


def test_intervals_refuse_unequal_numbers():
    message = "2 names, 2 estimates, 1 lows and 2 highs: give as many of each"
    with pytest.raises(ValueError, match=message):
        intervals(["a", "b"], [0.5, 0.6], [0.4], [0.6, 0.7])


@pytest.mark.parametrize("estimate", [0.3, 0.9, float("nan")])
def test_intervals_refuse_an_estimate_outside(estimate):
    with pytest.raises(ValueError, match=f"ours: the estimate {estimate} lies outside"):
        intervals(["ours"], [estimate], [0.4], [0.8])


def test_shares_show_the_numbers_and_how_many_are_behind_them():
    nan = float("nan")
    names, counts = ["taste", "price", "service"], [12, 2, 30]
    ax = shares(names, [0.75, nan, 0.5], [0.5, nan, 0.4], [0.9, nan, 0.6], counts)
    points, _, (bars,) = ax.containers[1]
    assert points.get_xdata().tolist() == [0.75, 0.5]
    assert points.get_ydata().tolist() == [0, 2]
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.5, 0.9], [0.4, 0.6]])
    assert labels(ax.get_yticklabels()) == ["taste (12)", "price (2)", "service (30)"]
    [said] = ax.texts
    assert (said.get_text(), said.get_position()[1]) == ("too few to tell", 1)
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert ax.get_xlim() == (0, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (([0.5], [0.4], [0.6]), "2 names, 1 shares and 2 counts"),
        (([0.5, 0.9], [0.4, 0.4], [0.6, 0.6]), "b: the share 0.9 with its interval"),
        (([0.5, 1.1], [0.4, 0.9], [0.6, 1.2]), "b: the share 1.1"),
        (([0.5, float("nan")], [0.4, 0.1], [0.6, 0.2]), "b: only some of share"),
    ],
)
def test_shares_out_of_order_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        shares(["a", "b"], *values, [7, 8])


def test_style_is_readable_on_a_phone():
    set_style()
    assert mpl.rcParams["font.size"] >= 10
    assert mpl.rcParams["figure.figsize"][0] <= 7
    assert mpl.rcParams["figure.dpi"] == 100


def test_a_tensor_with_a_gradient_is_drawn():
    values = torch.tensor([[0.25, 0.75]], requires_grad=True)
    ax = heat_map(values, ["q"], ["a", "b"])
    assert [text.get_text() for text in ax.texts] == ["0.25", "0.75"]

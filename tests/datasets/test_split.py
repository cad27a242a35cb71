import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.datasets import copy_key, group_folds, row_groups
from marketllm.datasets.split import _choose_latest

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 30)), min_size=40, max_size=120
)


@settings(max_examples=50)
@given(rows, st.integers(2, 5), st.integers(0, 9))
def test_folds_hold_each_row_once_and_each_group_whole(rows, n_folds, seed):
    labels, groups = map(np.array, zip(*rows, strict=True))
    n_groups = len(set(groups.tolist()))
    if n_groups < n_folds:
        return
    folds = group_folds(labels, groups, n_folds, seed)
    held = np.concatenate([test for _, test in folds])
    assert sorted(held.tolist()) == list(range(len(labels)))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(labels)))
        assert not set(groups[train].tolist()) & set(groups[test].tolist())


def test_classes_are_spread_evenly_over_single_rows():
    labels = np.array([1] * 65 + [0] * 35)
    for _, test in group_folds(labels, np.arange(100), 5):
        assert (len(test), labels[test].sum()) == (20, 13)


def test_a_large_group_is_balanced_by_the_others():
    labels = np.array([1] * 20 + [0] * 20)
    groups = np.array([0] * 10 + list(range(1, 31)))
    sizes = sorted(len(test) for _, test in group_folds(labels, groups, 2))
    assert sizes == [20, 20]


def test_seed_fixes_the_folds_and_another_gives_others():
    labels, groups = np.array([0, 1] * 50), np.arange(100)
    first, again, other = (group_folds(labels, groups, 4, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0][1], other[0][1])


def test_folds_are_the_same_on_every_machine():
    labels = [0, 1, 1, 0, 1, 1, 0, 1]
    groups = list("aabcdeef")
    folds = group_folds(labels, groups, 2, seed=1)
    assert [test.tolist() for _, test in folds] == [[3, 5, 6, 7], [0, 1, 2, 4]]


def test_too_few_groups_and_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="n_folds is 3 with 2 groups"):
        group_folds([0, 1, 1], ["a", "a", "b"], 3)
    with pytest.raises(ValueError, match="n_folds is 1 with 2 groups: give at least 2"):
        group_folds([0, 1, 1], ["a", "a", "b"], 1)
    with pytest.raises(ValueError, match="3 labels but 2 groups"):
        group_folds([0, 1, 1], ["a", "b"], 2)


def test_copies_have_the_same_key_and_other_texts_have_not():
    assert copy_key(" The  Tea\nis GOOD ") == copy_key("the tea is good")
    assert copy_key("the tea is good") != copy_key("the tea is good!")


# Equal rows and latest days ---------------------------------------------------

small = st.one_of(st.integers(0, 2), st.sampled_from(["", "1", "tea"]), st.none())
tables = st.lists(st.tuples(small, small, small), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_rows_have_one_name_only_if_all_their_cells_are_equal(rows):
    frame = pd.DataFrame(rows, columns=["a", "b", "c"], dtype=object)
    names = row_groups(frame)
    for i, first in enumerate(rows):
        for j, second in enumerate(rows):
            assert (names[i] == names[j]) == (first == second)
    # A name depends on the row, not on its place or on the rows beside it.
    assert row_groups(frame.iloc[::-1]) == names[::-1]


def test_missing_cells_equal_each_other_and_nothing_else():
    totals = pd.DataFrame({"tenure": [0, 0, 0], "total": [np.nan, np.nan, 0.0]})
    names = row_groups(totals)
    assert names[0] == names[1] != names[2]


def test_rows_without_columns_are_refused():
    with pytest.raises(ValueError, match="0 columns, expected 1 or more"):
        row_groups(pd.DataFrame(index=range(3)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(1, 19))
def test_the_latest_days_are_whole_and_nearest_to_the_fraction(days, twentieths):
    fraction = twentieths / 20
    if len(set(days)) < 2:
        return
    hours = pd.to_timedelta([5 * i % 24 for i in range(len(days))], unit="h")
    dates = pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D") + hours
    chosen = _choose_latest("shop.csv", pd.Series(dates), fraction)
    first = min(day for day, is_test in zip(days, chosen, strict=True) if is_test)
    assert chosen.tolist() == [day >= first for day in days]
    gaps = [
        abs(sum(day >= other for day in days) - fraction * len(days))
        for other in sorted(set(days))[1:]
    ]
    assert abs(chosen.sum() - fraction * len(days)) == pytest.approx(min(gaps))


def test_one_day_cannot_be_split_by_time():
    dates = pd.Series(pd.to_datetime(["2026-01-01 10:00", "2026-01-01 11:00"]))
    with pytest.raises(ValueError, match=r"all dates are 2026-01-01, expected 2 or"):
        _choose_latest("shop.csv", dates, 0.2)

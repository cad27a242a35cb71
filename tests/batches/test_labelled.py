"""Labelled batches cover the data once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.batches import LabelledBatches

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def examples(lengths):
    """Sequence i is i + 1, i + 2, ...: no two are alike and none holds a 0."""
    return [[100 * (i + 1) + k for k in range(n)] for i, n in enumerate(lengths)]


def order(batches):
    return [label for _, labels in batches for label in labels.tolist()]


@PROPERTY
@given(LENGTHS, st.integers(1, 7), st.one_of(st.none(), st.integers(0, 99)))
def test_an_epoch_covers_each_example_once(lengths, batch_size, seed):
    sequences = examples(lengths)
    labels = list(range(len(sequences)))  # the label is the row: pairs stay together
    batches = LabelledBatches(sequences, labels, batch_size, seed=seed)
    for _ in range(2):
        seen = []
        sizes = []
        for ids, rows in batches:
            sizes.append(len(ids))
            assert ids.shape[1] == max(lengths[i] for i in rows)
            for row, label in zip(ids, rows.tolist(), strict=True):
                real = [i for i in row.tolist() if i != 0]
                assert real == sequences[label]
                assert row[: len(real)].tolist() == real  # padding is on the right
                seen.append(label)
        assert sorted(seen) == labels
        assert len(sizes) == len(batches)
        assert sorted(sizes)[1:] == [batch_size] * (len(sizes) - 1)


def test_no_seed_keeps_the_given_order():
    batches = LabelledBatches(examples([5, 1, 4, 2, 3]), [0, 1, 2, 3, 4], 2)
    assert order(batches) == order(batches) == [0, 1, 2, 3, 4]


def test_the_order_follows_the_seed_and_changes_each_epoch():
    sequences, labels = examples([3] * 20 + [5] * 20), list(range(40))
    first = LabelledBatches(sequences, labels, 4, seed=1)
    again = LabelledBatches(sequences, labels, 4, seed=1)
    other = LabelledBatches(sequences, labels, 4, seed=2)
    epochs = [order(first), order(first)]
    assert epochs == [order(again), order(again)]
    assert epochs[0] != epochs[1]
    assert order(other) != epochs[0]
    torch.manual_seed(5)  # the global generator plays no part
    assert order(LabelledBatches(sequences, labels, 4, seed=1)) == epochs[0]


def test_the_state_of_the_generator_is_all_that_an_epoch_depends_on():
    sequences, labels = examples([3] * 20 + [5] * 20), list(range(40))
    batches = LabelledBatches(sequences, labels, 4, seed=1)
    order(batches)
    state = batches.generator.get_state()
    expected = order(batches)
    fresh = LabelledBatches(sequences, labels, 4, seed=7)
    fresh.generator.set_state(state)
    assert order(fresh) == expected
    assert LabelledBatches(sequences, labels).generator is None


def test_which_examples_share_a_batch_changes_each_epoch():
    batches = LabelledBatches(examples([3] * 12), list(range(12)), 4, seed=0)
    groups = [{frozenset(labels.tolist()) for _, labels in batches} for _ in range(2)]
    assert groups[0] != groups[1]


def test_similar_lengths_share_a_batch():
    lengths = [1, 9] * 8
    batches = LabelledBatches(examples(lengths), [0] * 16, 4, seed=3)
    assert sorted(ids.shape[1] for ids, _ in batches) == [1, 1, 9, 9]


def test_short_batches_do_not_always_come_first():
    batches = LabelledBatches(examples(range(1, 21)), [0] * 20, 2, seed=0)
    epochs = [[ids.shape[1] for ids, _ in batches] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(2, 21, 2))
    assert epochs[0] != sorted(epochs[0])
    assert epochs[0] != epochs[1]


def test_long_sequences_are_cut():
    batches = LabelledBatches([[1, 2, 3, 4], [5]], [0, 1], max_len=3)
    ((ids, _),) = batches
    assert ids.tolist() == [[1, 2, 3], [5, 0, 0]]


def test_batches_refuse_an_empty_sequence():
    with pytest.raises(ValueError, match="sequence 1 of 2 has no token.*leave it out"):
        list(LabelledBatches([[3], []], [0, 1]))


def test_batches_refuse_unequal_numbers():
    with pytest.raises(ValueError, match="2 sequences but 3 labels: give one label"):
        LabelledBatches([[3], [4]], [0, 1, 1])


def test_batches_refuse_no_examples():
    with pytest.raises(ValueError, match=r"no examples \(0 sequences\): give"):
        LabelledBatches([], [])


@pytest.mark.parametrize("size", [0, -2])
def test_batches_refuse_a_batch_size(size):
    with pytest.raises(ValueError, match=f"batch_size is {size}: give at least 1"):
        LabelledBatches([[3]], [0], batch_size=size)


@pytest.mark.parametrize("max_len", [0, -1])
def test_a_length_below_1_is_refused(max_len):
    with pytest.raises(ValueError, match=f"max_len is {max_len}: give at least 1"):
        LabelledBatches([[1, 2, 3]], [0], max_len=max_len)

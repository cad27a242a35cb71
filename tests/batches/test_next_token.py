"""Windows of running text: each token is asked for exactly once."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.batches import IGNORE, NextTokenBatches

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
END, PAD = 1, 0
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)
SEEDS = st.one_of(st.none(), st.integers(0, 99))


def texts(lengths):
    """Text i is 100 (i + 1), 100 (i + 1) + 1, ...: no two tokens are alike."""
    return [[100 * (i + 1) + k for k in range(n)] for i, n in enumerate(lengths)]


def stream(sequences):
    return [token for ids in sequences for token in [*ids, END]]


def test_worked_example():
    batches = NextTokenBatches([[5, 6, 7], [8], [9, 4, 3]], 4, 2, end_id=END)
    (first, first_targets), (last, last_targets) = batches
    assert first.tolist() == [[END, 5, 6, 7], [END, 8, END, 9]]
    assert first_targets.tolist() == [[5, 6, 7, END], [8, END, 9, 4]]
    assert last.tolist() == [[4, 3, PAD, PAD]]
    assert last_targets.tolist() == [[3, END, IGNORE, IGNORE]]


@PROPERTY
@given(LENGTHS, st.integers(1, 12), st.integers(1, 5), SEEDS)
def test_each_token_is_the_target_once_an_epoch(lengths, length, batch_size, seed):
    sequences = texts(lengths)
    whole = stream(sequences)
    batches = NextTokenBatches(sequences, length, batch_size, END, seed)
    for _ in range(2):
        targets, sizes = [], []
        for ids, wanted in batches:
            assert ids.shape == wanted.shape
            assert ids.shape[1] == length
            assert ids.dtype == wanted.dtype == torch.long
            targets += wanted.flatten().tolist()
            sizes.append(len(ids))
        counted = [token for token in targets if token != IGNORE]
        assert Counter(counted) == Counter(whole)
        assert len(targets) - len(counted) < length  # only the last window is short
        assert len(sizes) == len(batches)
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        if seed is None:
            assert counted == whole


@PROPERTY
@given(LENGTHS, st.integers(1, 12), SEEDS)
def test_the_target_is_the_token_that_follows(lengths, length, seed):
    sequences = texts(lengths)
    whole = stream(sequences)
    follows = {(a, b) for a, b in zip(whole, whole[1:] + whole[:1], strict=True)}
    for ids, targets in NextTokenBatches(sequences, length, 3, END, seed):
        assert torch.equal((ids == PAD), (targets == IGNORE))
        for row, wanted in zip(ids, targets, strict=True):
            n = int((row != PAD).sum())
            row, wanted = row[:n].tolist(), wanted[:n].tolist()  # padding: on the right
            assert row[1:] == wanted[:-1]
            assert set(zip(row, wanted, strict=True)) <= follows
            assert PAD not in row


def epoch(batches):
    return [(ids.tolist(), targets.tolist()) for ids, targets in batches]


def test_no_seed_gives_the_same_epoch_again():
    batches = NextTokenBatches(texts([5, 7, 3]), 4, 2, END)
    assert batches.generator is None
    assert epoch(batches) == epoch(batches)


def test_cuts_and_order_follow_the_seed_and_change_each_epoch():
    sequences = texts([9] * 9)
    first = NextTokenBatches(sequences, 5, 2, END, seed=1)
    again = NextTokenBatches(sequences, 5, 2, END, seed=1)
    other = NextTokenBatches(sequences, 5, 2, END, seed=2)
    epochs = [epoch(first), epoch(first)]
    torch.manual_seed(5)  # the global generator plays no part
    assert epochs == [epoch(again), epoch(again)]
    windows = [{tuple(row) for ids, _ in one for row in ids} for one in epochs]
    assert epochs[0] != epochs[1] != epoch(other)
    assert not windows[0] & windows[1]  # cut at other places
    starts = [row[0] for ids, _ in epochs[0] for row in ids]
    assert starts != sorted(starts)


def test_the_state_of_the_generator_is_all_that_an_epoch_depends_on():
    batches = NextTokenBatches(texts([9] * 9), 5, 2, END, seed=1)
    epoch(batches)
    state = batches.generator.get_state()
    expected = epoch(batches)
    fresh = NextTokenBatches(texts([9] * 9), 5, 2, END, seed=7)
    fresh.generator.set_state(state)
    assert epoch(fresh) == expected


def test_refusals():
    with pytest.raises(ValueError, match=r"no examples \(0 sequences\): give"):
        NextTokenBatches([], 4, 2, END)
    with pytest.raises(ValueError, match="sequence 1 of 3 has no token.*leave it out"):
        NextTokenBatches([[3], [], [4]], 4, 2, END)
    with pytest.raises(ValueError, match="batch_size is 0: give at least 1"):
        NextTokenBatches([[3]], 4, 0, END)
    with pytest.raises(ValueError, match="length is 0: give at least 1 token"):
        NextTokenBatches([[3]], 0, 2, END)
    with pytest.raises(ValueError, match="end_id and pad_id are both 1.*two ids"):
        NextTokenBatches([[3]], 4, 2, END, pad_id=1)
    with pytest.raises(ValueError, match="a text holds the padding id 0"):
        NextTokenBatches([[3], [4, 0]], 4, 2, END)

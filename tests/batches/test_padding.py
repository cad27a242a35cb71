"""Padding and the shifted target."""

import pytest
import torch

from marketllm.batches import pad, shift_right


def test_pad_worked_example():
    ids = pad([[7, 8, 9], [5], [4, 6]], pad_id=2)
    assert ids.tolist() == [[7, 8, 9], [5, 2, 2], [4, 6, 2]]
    assert ids.dtype == torch.long
    assert pad([[7, 8, 9], [5]], max_len=2).tolist() == [[7, 8], [5, 0]]


def test_shift_right_worked_example():
    target = torch.tensor([[5, 6, 7], [8, 9, 0]])
    assert shift_right(target, start_id=3).tolist() == [[3, 5, 6], [3, 8, 9]]
    assert target.tolist() == [[5, 6, 7], [8, 9, 0]]  # left as it was


def test_pad_refuses_an_empty_batch():
    with pytest.raises(ValueError, match=r"the batch is empty \(0 sequences\): give"):
        pad([])


def test_pad_refuses_an_empty_sequence():
    with pytest.raises(ValueError, match="sequence 1 of 3 has no token.*leave it out"):
        pad([[3], [], [4, 5]])


@pytest.mark.parametrize("max_len", [0, -1])
def test_pad_refuses_a_length_below_1(max_len):
    with pytest.raises(ValueError, match=f"max_len is {max_len}: give at least 1"):
        pad([[1, 2, 3]], max_len=max_len)

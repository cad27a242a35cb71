"""BERT's exercise: 15% are chosen, 80/10/10, and only they are asked for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.batches import IGNORE, MaskedBatches, corrupt

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)
PAD, END, MASK, V = 0, 1, 2, 40
SPECIAL = (PAD, END, MASK)
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=9)


def draw(seed):
    return torch.Generator().manual_seed(seed)


def texts(lengths):
    generator = draw(0)
    return [torch.randint(3, V, (n,), generator=generator).tolist() for n in lengths]


def far(count, n, share):
    """How many standard deviations a count is from its binomial mean."""
    return abs(count - n * share) / math.sqrt(n * share * (1 - share))


@PROPERTY
@given(st.integers(0, 99), st.floats(0.01, 1.0))
def test_what_is_not_chosen_stays_and_is_not_asked_for(seed, share):
    ids = torch.randint(0, V, (6, 25), generator=draw(seed))
    ids[:, 0] = 7  # at least one ordinary token each
    before = ids.clone()
    corrupted, targets = corrupt(ids, MASK, V, SPECIAL, draw(seed), share)
    assert torch.equal(ids, before)
    chosen = targets != IGNORE
    assert torch.equal(targets[chosen], ids[chosen])
    assert torch.equal(corrupted[~chosen], ids[~chosen])
    special = ids <= MASK
    assert special.any()
    assert not (chosen & special).any()
    n_ordinary = (~special).sum(dim=1).tolist()
    expected = [max(1, round(share * n)) for n in n_ordinary]
    assert chosen.sum(dim=1).tolist() == expected


def test_shares_are_those_of_bert():
    ids = torch.randint(3, V, (300, 100), generator=draw(1))
    corrupted, targets = corrupt(ids, MASK, V, SPECIAL, draw(2))
    chosen = targets != IGNORE
    n = int(chosen.sum())
    assert n == 300 * 15
    masked = int((corrupted == MASK).sum())
    kept = int((chosen & (corrupted == ids)).sum())
    replaced = n - masked - kept
    by_chance = 0.1 / (V - 3)  # a random token may be the old one
    assert far(masked, n, 0.8) < 4
    assert far(kept, n, 0.1 + by_chance) < 4
    assert far(replaced, n, 0.1 - by_chance) < 4


def test_every_place_is_chosen_equally_often():
    ids = torch.randint(3, V, (2000, 20), generator=draw(1))
    _, targets = corrupt(ids, MASK, V, SPECIAL, draw(2))
    for count in (targets != IGNORE).sum(dim=0).tolist():
        assert far(count, 2000, 0.15) < 4


def test_a_random_replacement_is_any_ordinary_token_and_no_other():
    special = (PAD, 5, MASK, V - 1)  # not only the first ids
    ids = torch.full((2000, 20), 7)
    corrupted, targets = corrupt(ids, MASK, V, special, draw(2), share=1.0)
    assert (targets == 7).all()
    drawn = corrupted[(corrupted != MASK) & (corrupted != 7)]
    assert set(drawn.tolist()) == set(range(V)) - {*special, 7}
    counts = torch.bincount(drawn, minlength=V).tolist()
    for token in set(drawn.tolist()):
        assert far(counts[token], len(drawn), 1 / (V - 5)) < 4.5


@PROPERTY
@given(LENGTHS, st.integers(1, 4), st.integers(0, 99))
def test_an_epoch_covers_each_text_once(lengths, batch_size, seed):
    sequences = texts(lengths)
    batches = MaskedBatches(sequences, batch_size, MASK, V, seed)
    for _ in range(2):
        seen, sizes = [], []
        for ids, targets in batches:
            assert ids.shape == targets.shape
            assert (targets != IGNORE).any(dim=1).all()  # each text is asked something
            sizes.append(len(ids))
            true = ids.where(targets == IGNORE, targets)
            assert torch.equal(true == PAD, ids == PAD)
            seen += [[i for i in row if i != PAD] for row in true.tolist()]
        assert sorted(seen) == sorted(sequences)
        assert len(sizes) == len(batches)
        assert sorted(sizes)[1:] == [batch_size] * (len(sizes) - 1)


def epoch(batches):
    return [(ids.tolist(), targets.tolist()) for ids, targets in batches]


def test_what_is_hidden_follows_the_seed_and_changes_each_epoch():
    sequences = texts([12] * 10)
    first, again, other = (MaskedBatches(sequences, 4, MASK, V, s) for s in (1, 1, 2))
    epochs = [epoch(first), epoch(first)]
    torch.manual_seed(5)  # the global generator plays no part
    torch.set_default_dtype(torch.float64)  # nor does the default dtype
    try:
        assert epochs == [epoch(again), epoch(again)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert epochs[0] != epochs[1]
    assert epochs[0] != epoch(other)
    hidden = MaskedBatches([list(range(3, 33))], 1, MASK, V, seed=0)
    places = [{tuple(t[0]) for _, t in epoch(hidden)}.pop() for _ in range(2)]
    assert places[0] != places[1]


def test_the_state_of_the_generator_is_all_that_an_epoch_depends_on():
    batches = MaskedBatches(texts([12] * 10), 4, MASK, V, seed=1)
    epoch(batches)
    state = batches.generator.get_state()
    expected = epoch(batches)
    fresh = MaskedBatches(texts([12] * 10), 4, MASK, V, seed=7)
    fresh.generator.set_state(state)
    assert epoch(fresh) == expected


def test_texts_of_similar_length_share_a_batch_and_long_ones_are_cut():
    batches = MaskedBatches(texts([2, 9] * 8), 4, MASK, V, seed=3, max_len=6)
    assert sorted(ids.shape[1] for ids, _ in batches) == [2, 2, 6, 6]


def test_a_batch_with_labels_of_padding_has_none():
    ((_, targets),) = MaskedBatches(texts([3, 20]), 2, MASK, V, seed=0, share=1.0)
    assert (targets == IGNORE).sum().item() == 17


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match=f"share is {share}: give a share, 0 < share"):
        corrupt(torch.tensor([[3]]), MASK, V, SPECIAL, draw(0), share)


def test_refusals_of_corrupt():
    ids = torch.tensor([[3, 4], [END, PAD]])
    with pytest.raises(ValueError, match="sequence 1 of 2 has no ordinary token"):
        corrupt(ids, MASK, V, SPECIAL, draw(0))
    with pytest.raises(ValueError, match=r"mask_id=9 is not among.*\(0, 1, 2\): add"):
        corrupt(ids[:1], 9, V, SPECIAL, draw(0))
    with pytest.raises(ValueError, match=r"\(0, 1, 2\) leave no ordinary token"):
        corrupt(ids[:1], MASK, 3, SPECIAL, draw(0))


def test_refusals_of_the_batches():
    with pytest.raises(ValueError, match=r"no examples \(0 sequences\): give"):
        MaskedBatches([], 2, MASK, V, seed=0)
    with pytest.raises(ValueError, match="batch_size is 0: give at least 1"):
        MaskedBatches([[3]], 0, MASK, V, seed=0)
    with pytest.raises(ValueError, match=r"pad_id=0 is not among.*\(1, 2\): add it"):
        MaskedBatches([[3]], 1, MASK, V, seed=0, special_ids=(1, 2))
    with pytest.raises(ValueError, match="max_len is 0: give at least 1"):
        MaskedBatches([[3]], 1, MASK, V, seed=0, max_len=0)
    with pytest.raises(ValueError, match="sequence 1 of 2 has no token"):
        MaskedBatches([[3], []], 2, MASK, V, seed=0)

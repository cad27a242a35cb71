"""The probabilities of the next token: Hugging Face's, and those worked by hand."""

import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from writers import Counter, V, draw

from marketllm.generation import GREEDY, Sampling, generate, next_probabilities

B = 3
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


# Equal to Hugging Face's ----------------------------------------------------


def of_hugging_face(logits, sampling, ids):
    """Its processors, in the order in which its generate puts them."""
    peers = pytest.importorskip(
        "transformers.generation.logits_process", reason="transformers is not installed"
    )
    scores = logits.clone()
    if sampling.repetition_penalty != 1:
        penalty = float(sampling.repetition_penalty)
        process = peers.RepetitionPenaltyLogitsProcessor(penalty)
        scores = torch.cat(
            [
                process(torch.tensor([text]), row[None])
                for text, row in zip(ids, scores, strict=True)
            ]
        )
    scores = peers.TemperatureLogitsWarper(float(sampling.temperature))(None, scores)
    if sampling.top_k is not None:
        scores = peers.TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = peers.TopPLogitsWarper(sampling.top_p)(None, scores)
    return scores.softmax(dim=-1)


def random_logits(seed, n=11):
    logits = 3 * torch.randn(B, n, generator=draw(seed), dtype=torch.float64)
    logits[0, 4] = logits[0, 7]  # two that are level
    logits[1, 2] = -math.inf  # one that is forbidden
    return logits


IDS = [[3, 3, 9], [0], [10, 1, 2, 4, 5, 4]]


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 1.8, 40.0])
@pytest.mark.parametrize("penalty", [0.6, 1.0, 1.3, 30.0])
def test_probabilities_equal_hugging_face(temperature, penalty):
    logits, kept = random_logits(0), random_logits(0)
    for top_k in (None, 1, 2, 5, 11, 500):
        for top_p in (1e-9, 0.3, 0.6, 0.9, 0.999999, 1.0):
            sampling = Sampling(temperature, top_k, top_p, penalty)
            ours = next_probabilities(logits, sampling, IDS)
            theirs = of_hugging_face(logits, sampling, IDS)
            assert torch.equal(ours > 0, theirs > 0)
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)
    assert torch.equal(logits, kept)  # the model's own numbers are left alone


def test_single_precision_equals_hugging_face_on_a_large_vocabulary():
    logits = 4 * torch.randn(2, 49_152, generator=draw(1))
    sampling = Sampling(0.8, 300, 0.9, 1.2)
    ids = [[7, 49_151, 20], [3]]
    ours = next_probabilities(logits, sampling, ids)
    assert ours.dtype == torch.float32
    assert 5 < (ours[0] > 0).sum() < 300
    theirs = of_hugging_face(logits, sampling, ids)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


@PROPERTY
@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=8),
    temperature=st.floats(0.01, 100),
    top_k=st.none() | st.integers(1, 9),
    top_p=st.floats(0.001, 1),
)
def test_what_is_kept_is_the_top_and_keeps_its_shares(
    logits, temperature, top_k, top_p
):
    row = torch.tensor([logits], dtype=torch.float64)
    plain = next_probabilities(row, Sampling(temperature))[0]
    cut = next_probabilities(row, Sampling(temperature, top_k, top_p))[0]
    kept = cut > 0
    assert cut.sum() == pytest.approx(1)
    assert plain[kept].max() == plain.max()
    if not kept.all():
        assert plain[kept].min() >= plain[~kept].max()
    torch.testing.assert_close(cut[kept], plain[kept] / plain[kept].sum())


# By hand --------------------------------------------------------------------

SHARES = torch.tensor([[0.15, 0.5, 0.1, 0.25]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.15, 0.5, 0.1, 0.25]),
        (Sampling(top_k=2), [0, 2 / 3, 0, 1 / 3]),
        (Sampling(top_k=1), [0, 1, 0, 0]),
        (Sampling(top_p=0.4), [0, 1, 0, 0]),  # 0.5 reaches it alone
        (Sampling(top_p=0.51), [0, 2 / 3, 0, 1 / 3]),  # 0.5 does not
        (Sampling(top_p=0.74), [0, 2 / 3, 0, 1 / 3]),
        (Sampling(top_p=0.76), [1 / 6, 5 / 9, 0, 5 / 18]),
        (Sampling(0.5), [0.0225 / 0.345, 0.25 / 0.345, 0.01 / 0.345, 0.0625 / 0.345]),
        # The temperature comes first: squared, 0.5 becomes 0.72 and reaches 0.7 alone.
        (Sampling(0.5, top_p=0.7), [0, 1, 0, 0]),
        # Then the k best: of those, 0.5 has 2/3 and reaches 0.6 alone.
        (Sampling(top_k=2, top_p=0.6), [0, 1, 0, 0]),
        (GREEDY, [0, 1, 0, 0]),
        (Sampling(0.0, top_k=3, top_p=0.9), [0, 1, 0, 0]),
    ],
)
def test_worked_examples(sampling, expected):
    got = next_probabilities(SHARES.log(), sampling)[0].tolist()
    assert got == pytest.approx(expected, abs=1e-12)


def test_those_level_with_the_last_of_the_best_stay():
    logits = torch.tensor([[1.0, 2.0, 1.0, 0.0, 1.0]])
    kept = next_probabilities(logits, Sampling(top_k=2))[0] > 0
    assert kept.tolist() == [True, True, True, False, True]


def test_the_penalty_by_hand():
    logits = torch.tensor([[2.0, -1.0, 2.0, -1.0], [2.0, -1.0, 2.0, -1.0]])
    sampling = Sampling(repetition_penalty=2.0)
    got = next_probabilities(logits, sampling, [[0, 1, 1], [3]]).log()
    # Twice is punished as once; what is not there is left alone.
    expected = torch.tensor([[1.0, -2.0, 2.0, -1.0], [2.0, -1.0, 2.0, -2.0]])
    torch.testing.assert_close(got, expected.log_softmax(dim=-1))
    greedy = Sampling(0.0, repetition_penalty=2.0)
    best = next_probabilities(logits, greedy, [[0], [2]]).argmax(dim=-1)
    assert best.tolist() == [2, 0]


def test_greedy_takes_the_first_of_two_that_are_level():
    got = next_probabilities(torch.tensor([[1.0, 3.0, 3.0]]), GREEDY)
    assert got.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-310])
def test_a_tiny_temperature_is_greedy(dtype, temperature):
    logits = torch.tensor([[-4.0, 3.0, -math.inf, 2.0]], dtype=dtype)
    got = next_probabilities(logits, Sampling(temperature, 3, 0.9))
    assert got.tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("temperature", [1e9, 1e38, 1e300])
def test_a_huge_temperature_is_even_and_wakes_no_forbidden_token(temperature):
    logits = torch.tensor([[-4.0, 3.0, -math.inf, 2.0]])
    got = next_probabilities(logits, Sampling(temperature))[0].tolist()
    assert got == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=1e-6)


# Drawn as often as they say ---------------------------------------------------


def counts(sampling, n=4000, seed=0):
    written = generate(
        Counter((0.0, 0.0, 0.3, 0.6, 0.9, 1.2)),
        [[5, 1]] * n,
        1,
        sampling,
        generator=draw(seed),
    )
    return torch.bincount(torch.tensor(written)[:, 0], minlength=V)


def expected_shares(sampling):
    logits = torch.tensor([[-math.inf, 0.0, 2.3, 0.6, 0.9, 1.2]])
    return next_probabilities(logits, sampling, [[5, 1]])[0]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(0.5),
        Sampling(3.0),
        Sampling(top_k=3),
        Sampling(top_p=0.8),
        Sampling(1.5, 4, 0.9, 1.4),
    ],
)
def test_tokens_are_drawn_as_often_as_they_say(sampling):
    found, shares = counts(sampling), expected_shares(sampling)
    possible = shares > 0
    assert 1 < possible.sum() < V  # padding is never possible
    assert found[~possible].sum() == 0
    expected = 4000 * shares[possible].double()
    expected *= 4000 / expected.sum()
    assert chisquare(found[possible], expected).pvalue > 0.001


def test_the_count_would_notice_other_probabilities():
    found, shares = counts(Sampling(0.9)), expected_shares(Sampling())
    expected = 4000 * shares[1:].double()
    expected *= 4000 / expected.sum()
    assert chisquare(found[1:], expected).pvalue < 0.001


# Refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1: give 0"),
        ({"temperature": math.inf}, "temperature is inf: give 0"),
        ({"temperature": math.nan}, "temperature is nan: give 0"),
        ({"top_k": 0}, "top_k is 0: give a whole number of at least 1"),
        ({"top_k": -3}, "top_k is -3: give a whole number"),
        ({"top_p": 0.0}, "top_p is 0.0, but it is a probability"),
        ({"top_p": 1.01}, "top_p is 1.01, but"),
        ({"top_p": math.nan}, "top_p is nan, but"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0, and"),
        ({"repetition_penalty": math.inf}, "repetition_penalty is inf, and"),
        ({"repetition_penalty": math.nan}, "repetition_penalty is nan, and"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**setting)


@pytest.mark.parametrize("top_k", [2.5, True])
def test_a_top_k_that_is_no_count_is_refused(top_k, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=f"top_k is {top_k}: give a whole number"):
        Sampling(top_k=top_k)


@pytest.mark.parametrize(("ids", "said"), [(None, "no"), ([[1]], "1")])
def test_a_penalty_needs_the_texts(ids, said):
    with pytest.raises(ValueError, match=f"2 rows of logits and {said} lists of ids"):
        next_probabilities(torch.zeros(2, 3), Sampling(repetition_penalty=1.1), ids)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_of_a_broken_model_are_refused(bad):
    logits = torch.tensor([[1.0, 2.0, 0.0], [1.0, bad, 0.0]])
    with pytest.raises(ValueError, match=rf"logit of row 1 is {bad}.*diverged"):
        next_probabilities(logits, Sampling())
    with pytest.raises(ValueError, match="logit of row 0 is -inf"):
        next_probabilities(torch.full((1, 3), -math.inf), GREEDY)

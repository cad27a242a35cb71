"""N-gram models: probabilities, Kneser-Ney by hand and by nltk, and their limits."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.lm import KneserNeyInterpolated
from nltk.util import everygrams
from sklearn.exceptions import NotFittedError

from marketllm.baselines import NGramModel

A, B, C, D, E = range(5)
TEXTS = [[A, B, C, A, B], [B, C, A, B, D], [C, C, A, D]]


def test_worked_example_of_order_2():
    """Three texts, discount 0.5, every number by hand."""
    model = NGramModel(2, vocab_size=5, discount=0.5).fit(TEXTS)
    # Pairs: ab 3, bc 2, ca 3, bd 1, cc 1, ad 1. So a follows 1 token, b 1, c 2, d 2.
    first = np.array([1, 1, 2, 2, 0])
    lowest = (np.maximum(first - 0.5, 0) + 0.5 * 4 * (1 / 5)) / 6
    np.testing.assert_allclose(model.probabilities(), lowest, rtol=1e-12)
    # After a: b 3, d 1; two kinds.
    after_a = (np.array([0, 2.5, 0, 0.5, 0]) + 0.5 * 2 * lowest) / 4
    np.testing.assert_allclose(model.probabilities([A]), after_a, rtol=1e-12)
    # Nothing came after d: the lower order alone.
    np.testing.assert_allclose(model.probabilities([D]), lowest, rtol=1e-12)


def test_order_1_is_a_table_of_counts():
    model = NGramModel(1, vocab_size=5, discount=0.75).fit(TEXTS)
    counts = np.array([4, 4, 4, 2, 0])
    expected = (np.maximum(counts - 0.75, 0) + 0.75 * 4 / 5) / 14
    np.testing.assert_allclose(model.probabilities(), expected, rtol=1e-12)
    np.testing.assert_allclose(model.probabilities([A, B]), expected, rtol=1e-12)


def test_below_the_highest_order_kinds_of_predecessors_count():
    """'Francisco' (1) is frequent and follows only 'San' (0)."""
    text = [0, 1] * 10 + [2, 3, 4, 3, 5, 3]
    low = NGramModel(2, vocab_size=7, discount=0.5).fit([text]).probabilities([6])
    assert text.count(1) > 3 * text.count(3)
    assert low[1] < low[3]
    raw = NGramModel(1, vocab_size=7, discount=0.5).fit([text]).probabilities()
    assert raw[1] > raw[3]


def random_texts(seed, n_texts=8, n_words=7, length=12):
    generator = np.random.default_rng(seed)
    return [
        generator.integers(n_words, size=generator.integers(4, length)).tolist()
        for _ in range(n_texts)
    ]


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("discount", [0.1, 0.75])
def test_it_equals_nltk(order, discount, monkeypatch):
    """Up to two faults of nltk 3.9, shown here: the rest agrees in every number.

    Each text starts with ``order - 1`` marks, as nltk's padding does. Without them
    nltk divides by zero at a context that stands only at the beginning of a text.
    """
    mark = 7
    size = mark + 1
    texts = [[mark] * (order - 1) + text for text in random_texts(order)]
    ours = NGramModel(order, size, discount).fit(texts)
    theirs = KneserNeyInterpolated(order, discount=discount)
    grams = [everygrams(list(map(str, text)), max_len=order) for text in texts]
    theirs.fit([list(text) for text in grams], list(map(str, range(size))))

    # 1: its lowest order is neither discounted nor mixed with equal parts.
    lowest = np.array([theirs.unmasked_score(str(i)) for i in range(size)])
    total = round(1 / lowest[lowest > 0].min())
    while not np.allclose(lowest * total, np.round(lowest * total)):
        total += 1
    saved = discount * (lowest > 0).sum() / total
    expected = np.maximum(lowest - discount / total, 0) + saved / size
    np.testing.assert_allclose(ours.probabilities(), expected, rtol=1e-10)
    monkeypatch.setattr(
        theirs.estimator, "unigram_score", lambda word: expected[int(word)]
    )

    def both(context):
        words = tuple(map(str, context))
        reference = [theirs.unmasked_score(str(i), words) for i in range(size)]
        return ours.probabilities(context), np.array(reference)

    contexts = {
        tuple(text[i : i + order - 1])
        for text in texts
        for i in range(len(text) - order + 2)
    }
    checked = 0
    for context in sorted(contexts | {(3, 3, 3), (0, mark, 2)}):
        found, reference = both(context)
        assert found.std() > 0.01
        if order > 2 and context[-1] == mark:
            # 2: what it saves it counts in kinds of n-grams, also of those that
            # follow nothing; so after the marks its sum is not 1.
            assert reference.sum() > 1 + 1e-6
            continue
        np.testing.assert_allclose(found, reference, rtol=1e-10)
        checked += 1
    assert checked >= 8


def test_what_differs_from_nltk():
    texts = [["1", *"0102"], ["1", *"0120"]]
    theirs = KneserNeyInterpolated(2, discount=0.75)
    theirs.fit([list(everygrams(t, max_len=2)) for t in texts], list("01234"))
    ours = NGramModel(2, 5, 0.75).fit([[int(word) for word in t] for t in texts])
    assert theirs.unmasked_score("4", ("0",)) == 0
    assert ours.probabilities([0])[4] > 0


@given(
    texts=st.lists(st.lists(st.integers(0, 4), min_size=4), min_size=1, max_size=6),
    context=st.lists(st.integers(0, 5), max_size=5),
    order=st.integers(1, 4),
    discount=st.sampled_from([None, 0.1, 0.75, 0.99]),
)
def test_probabilities_are_positive_and_sum_to_1(texts, context, order, discount):
    found = NGramModel(order, 6, discount).fit(texts).probabilities(context)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found.min() > 0


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_surprise_is_that_of_each_token_after_those_before(order):
    texts = random_texts(5)
    model = NGramModel(order, 7).fit(texts)
    unseen = [3, 3, 0, 6, 2, 1, 1, 4]
    expected = [
        -math.log(model.probabilities(unseen[:i])[token])
        for i, token in enumerate(unseen)
    ]
    found = model.surprise(unseen)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.std() > 0.1
    if order > 1:  # only the last `order - 1` tokens count
        far = [*unseen[order - 1 :]]
        np.testing.assert_allclose(
            model.surprise(far)[order - 1 :], found[2 * (order - 1) :], rtol=1e-12
        )
    assert model.surprise([]).shape == (0,)


def test_no_n_gram_reaches_into_the_next_sequence():
    apart = NGramModel(2, 6).fit([[0, 1, 2], [3, 4, 5]]).probabilities([2])
    joined = NGramModel(2, 6).fit([[0, 1, 2, 3, 4, 5]]).probabilities([2])
    assert apart[3] < 0.25 < joined[3]


def test_discounts_are_estimated_from_what_occurred_once_and_twice():
    model = NGramModel(2, 5).fit(TEXTS)
    # Pairs: three occurred once, one twice. Tokens: a, b follow one, c, d two.
    assert model.discounts == pytest.approx((2 / (2 + 2 * 2), 3 / (3 + 2 * 1)))
    assert NGramModel(2, 5, 0.3).fit(TEXTS).discounts == (0.3, 0.3)
    assert NGramModel(1, 5).fit([[0, 1, 2]]).discounts == (0.75,)  # none twice


def test_it_learns_a_planted_rule():
    """Token i is followed by i + 1 nine times in ten: the entropy is known."""
    generator = np.random.default_rng(0)
    chain = [0]
    for _ in range(20_000):
        follows = generator.random() < 0.9
        chain.append((chain[-1] + 1) % 8 if follows else int(generator.integers(8)))
    top = 0.9 + 0.1 / 8
    entropy = -top * math.log(top) - 7 * (0.1 / 8) * math.log(0.1 / 8)
    for order in (2, 3):
        model = NGramModel(order, 8).fit([chain[:15_000]])
        assert model.surprise(chain[15_000:]).mean() == pytest.approx(entropy, abs=0.03)
    flat = NGramModel(1, 8).fit([chain[:15_000]])
    assert flat.surprise(chain[15_000:]).mean() == pytest.approx(math.log(8), abs=0.01)


def test_it_takes_time_in_proportion_to_the_text():
    """So that 450,000 tokens take seconds; a quadratic step would take 16 times."""
    text = np.random.default_rng(0).integers(500, size=40_000).tolist()

    def seconds(n_tokens):
        best = math.inf
        for _ in range(3):
            started = time.process_time()
            NGramModel(3, 500).fit([text[:n_tokens]]).surprise(text[:n_tokens])
            best = min(best, time.process_time() - started)
        return best

    assert seconds(40_000) < 10 * seconds(10_000)


@pytest.mark.parametrize(
    ("order", "size", "discount", "message"),
    [
        (0, 5, None, "order is 0 and vocab_size 5: give at least 1"),
        (2, 0, None, "order is 2 and vocab_size 0"),
        (2, 5, 0.0, "discount is 0.0: give a number between 0 and 1"),
        (2, 5, 1.0, "discount is 1.0"),
    ],
)
def test_impossible_settings_are_refused(order, size, discount, message):
    with pytest.raises(ValueError, match=message):
        NGramModel(order, size, discount)


@pytest.mark.parametrize("ids", [[0, 5, 1], [0, -1, 2]])
def test_ids_outside_the_vocabulary_are_refused(ids):
    wrong = next(i for i in ids if not 0 <= i < 5)
    model = NGramModel(2, 5)
    message = f"token id {wrong} is outside the vocabulary: ids run from 0 to 4"
    with pytest.raises(ValueError, match=message):
        model.fit([[0, 1], ids])
    model.fit(TEXTS)
    with pytest.raises(ValueError, match=message):
        model.surprise(ids)
    with pytest.raises(ValueError, match=message):
        model.probabilities(ids)


def test_too_little_text_and_no_text_are_refused():
    with pytest.raises(ValueError, match="2 sequences hold no 3 tokens in a row"):
        NGramModel(3, 5).fit([[0, 1], [2, 3]])
    with pytest.raises(NotFittedError, match="counted nothing .* call fit first"):
        NGramModel(3, 5).surprise([1])
    with pytest.raises(NotFittedError, match="call fit first"):
        _ = NGramModel(3, 5).discounts

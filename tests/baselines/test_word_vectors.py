"""Word vectors: the table by hand, the decomposition, and the average."""

import numpy as np
import pytest
from sklearn.base import clone

from marketllm.baselines import WordVectors, word_vector_classifier
from marketllm.baselines.word_vectors import _mutual_information

TEXTS = [
    "good tea good tea",
    "fine tea",
    "bad dog",
    "poor dog poor dog",
    "the tea arrived late",
]


def neighbours_by_hand(vectors, texts):
    size = len(vectors.tokenizer_)
    counts = np.zeros((size, size))
    for ids in map(vectors.tokenizer_.encode, texts):
        for i, word in enumerate(ids):
            for j, other in enumerate(ids):
                if i != j and abs(i - j) <= vectors.window:
                    counts[word, other] += 1
    return counts


def information_by_hand(counts):
    """The definition, entry by entry: log of p(word, other) / p(word) p(other)."""
    total = counts.sum()
    table = np.zeros_like(counts)
    for i, j in zip(*counts.nonzero(), strict=True):
        both = counts[i, j] / total
        chance = counts[i].sum() / total * counts[:, j].sum() / total
        table[i, j] = max(np.log(both / chance), 0)
    return table


@pytest.mark.parametrize("window", [1, 2, 9])
def test_neighbours_are_counted_both_ways_within_a_text(window):
    vectors = WordVectors(width=3, window=window).fit(TEXTS)
    found = vectors._neighbours(TEXTS).toarray()
    np.testing.assert_array_equal(found, neighbours_by_hand(vectors, TEXTS))
    assert found.sum() > 10


def test_vectors_are_the_best_of_their_width():
    vectors = WordVectors(width=3, window=2).fit(TEXTS)
    counts = vectors._neighbours(TEXTS)
    table = information_by_hand(counts.toarray())
    np.testing.assert_allclose(_mutual_information(counts).toarray(), table)
    assert (table == 0).any()
    assert table.max() > 1
    left, values, _ = np.linalg.svd(table)
    expected = (left[:, :3] * values[:3]) @ left[:, :3].T  # free of signs
    np.testing.assert_allclose(
        vectors.vectors_ @ vectors.vectors_.T, expected, atol=1e-8
    )


def test_a_text_is_the_mean_of_its_words():
    vectors = WordVectors(width=3, window=2).fit(TEXTS)
    ids = vectors.tokenizer_.encode("good tea dog")
    rows = vectors.transform(["good tea dog", "...", "Dog, tea, good!"])
    np.testing.assert_allclose(rows[0], vectors.vectors_[ids].mean(axis=0))
    assert np.abs(rows[0]).max() > 0.1
    np.testing.assert_array_equal(rows[1], 0)
    np.testing.assert_allclose(rows[2], rows[0])  # order is lost


def test_words_in_the_same_company_are_near():
    texts = [f"{kind} {thing} sold" for kind in ("good", "fine") for thing in "xyz"]
    texts += [f"{kind} {thing} back" for kind in ("bad", "poor") for thing in "uvw"]
    vectors = WordVectors(width=4, window=2).fit(texts)
    assert vectors.nearest("good", 1) == ["fine"]
    assert vectors.nearest("bad", 1) == ["poor"]
    found = vectors.nearest("good", 5)
    assert len(found) == len(set(found)) == 5
    assert "good" not in found
    lengths = np.linalg.norm(vectors.vectors_, axis=1)
    cosines = vectors.vectors_ @ vectors.vectors_.T / np.outer(lengths, lengths)
    [good], names = vectors.tokenizer_.encode("good"), vectors.tokenizer_.words
    assert cosines[good, names.index(found[0])] == max(
        cosine for i, cosine in enumerate(cosines[good]) if i not in (0, 1, good)
    )


def test_a_seed_repeats_and_labels_do_not_matter():
    texts = TEXTS * 3
    first = WordVectors(width=3, seed=1).fit(texts).vectors_
    again = WordVectors(width=3, seed=1).fit(texts, [1] * 15).vectors_
    np.testing.assert_array_equal(first, again)


def test_the_classifier_learns_from_raw_texts():
    ends = {"good": "love it", "fine": "love it", "bad": "throw away"}
    ends["poor"] = "throw away"
    texts = [f"{word} tea, {end}" for word, end in ends.items()] * 5
    labels = [1, 1, 0, 0] * 5
    model = word_vector_classifier(width=4).fit(texts, labels)
    assert model.predict(["tea: fine, love!", "tea: poor, throw!"]).tolist() == [1, 0]
    assert clone(model).get_params()["vectors__width"] == 4
    assert model["classify"].C == word_vector_classifier()["classify"].C


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="width is 11 with 11 words: give at least 1"):
        WordVectors(width=11).fit(TEXTS)
    with pytest.raises(ValueError, match="width is 0"):
        WordVectors(width=0).fit(TEXTS)
    with pytest.raises(ValueError, match="window is 0: give at least 1 word"):
        WordVectors(width=2, window=0).fit(TEXTS)
    vectors = WordVectors(width=2).fit(TEXTS)
    for word in ("coffee", "good tea", ""):
        with pytest.raises(ValueError, match="not one of the 11 words"):
            vectors.nearest(word)

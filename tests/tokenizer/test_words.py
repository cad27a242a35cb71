"""Text to ids and back."""

import jaxtyping
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.tokenizer import PAD, UNKNOWN, WordTokenizer, split_words

PROPERTY = settings(max_examples=50, deadline=None, derandomize=True)
TEXTS = ["The tea is good, the tea is late.", "Is it good? It's good TEA!"]


def test_worked_example():
    tokenizer = WordTokenizer.train(TEXTS, vocab_size=7)
    # is 3, good 3, tea 3, the 2, it 1, it's 1, late 1; ties by the alphabet
    assert tokenizer.words == (PAD, UNKNOWN, "good", "is", "tea", "the", "it")
    assert tokenizer.encode("The TEA: is it late?") == [5, 4, 3, 6, 1]
    assert tokenizer.decode([5, 4, 3, 6, 1, 0, 0]) == f"the tea is it {UNKNOWN}"
    assert len(tokenizer) == 7
    assert (tokenizer.pad_id, tokenizer.unknown_id) == (0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop", ["don't", "stop"]),
        ("'quoted' it's", ["quoted", "it's"]),
        ("snake_case 24oz", ["snake", "case", "24oz"]),
        ("Crème brûlée 好茶", ["crème", "brûlée", "好茶"]),
        ("... !?", []),
        ("", []),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == words


@PROPERTY
@given(st.text())
def test_splitting_is_stable(text):
    words = split_words(text)
    assert split_words(" ".join(words)) == words


@PROPERTY
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8))
def test_round_trip(texts):
    words = [word for text in texts for word in split_words(text)]
    if not words:
        return
    tokenizer = WordTokenizer.train(texts, vocab_size=2 + len(words))
    for text in texts:
        ids = tokenizer.encode(text)
        assert tokenizer.unknown_id not in ids
        assert tokenizer.pad_id not in ids
        assert tokenizer.decode(ids) == " ".join(split_words(text))


@PROPERTY
@given(st.lists(st.integers(2, 5), max_size=9))
def test_round_trip_from_ids(ids):
    tokenizer = WordTokenizer(["tea", "coffee", "late", "good"])
    assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_a_word_outside_the_vocabulary_is_unknown():
    tokenizer = WordTokenizer(["tea"])
    assert tokenizer.encode("green tea") == [1, 2]


def test_text_cannot_write_a_special_token():
    tokenizer = WordTokenizer(["tea"])
    assert tokenizer.pad_id not in tokenizer.encode("<pad> tea <unk>")


@pytest.mark.parametrize("bad", [3, -1])
def test_decode_refuses_an_id_outside(bad):
    tokenizer = WordTokenizer(["tea"])
    with pytest.raises(ValueError, match=f"token id {bad} is outside.*from 0 to 2"):
        tokenizer.decode([2, bad])


def test_train_refuses_no_room():
    with pytest.raises(ValueError, match="vocab_size is 2, .*give at least 3"):
        WordTokenizer.train(TEXTS, vocab_size=2)


@pytest.mark.parametrize("texts", [[], ["", "?!"]])
def test_train_refuses_no_words(texts):
    with pytest.raises(ValueError, match="the texts hold no word"):
        WordTokenizer.train(texts, vocab_size=5)


def test_train_refuses_one_string():
    with pytest.raises(ValueError, match="texts is one string: give a list of texts"):
        WordTokenizer.train("the tea", vocab_size=5)


@pytest.mark.parametrize("words", [["tea", "tea"], ["tea", PAD], [UNKNOWN]])
def test_words_must_be_distinct(words):
    n = len(words) + 2
    with pytest.raises(ValueError, match=f"{n} words, of which {n - 1} are distinct"):
        WordTokenizer(words)


def test_a_missing_text_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="a text is nan, of type float: give texts"):
        split_words(float("nan"))

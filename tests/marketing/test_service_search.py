"""Search: equal to the library and to the encoder, and the fusion by hand."""

import numpy as np
import pytest
from jaxtyping import config
from sklearn.exceptions import NotFittedError

from marketllm.marketing.service import (
    Passage,
    PassageSearch,
    larkmoor_terms,
    reciprocal_rank_fusion,
)

bm25s = pytest.importorskip("bm25s")
QUESTIONS = ["When is an invoice due?", "my parcel never came", "gluten"]


@pytest.fixture
def untyped():
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_words_equal_the_library():
    terms = larkmoor_terms()
    index = bm25s.BM25(k1=1.2, b=0.6)
    cut = bm25s.tokenize([t.text for t in terms], show_progress=False)
    index.index(cut, show_progress=False)
    search = PassageSearch("words", k1=1.2, b=0.6).fit(terms)
    for question in QUESTIONS:
        asked = bm25s.tokenize(question, show_progress=False, return_ids=False)
        [found], [scores] = index.retrieve(asked, k=4, show_progress=False)
        ours = search.scores(question)
        np.testing.assert_allclose(np.sort(ours)[::-1][:4], scores, rtol=1e-6)
        n = int((scores > 0).sum())
        assert n > 0
        ids = [passage.id for passage in search.search(question, 4)]
        assert ids[:1] == [terms[found[0]].id]
        assert len(ids) == n


def test_words_by_hand():
    texts = ["green tea", "green tea green", "coffee beans roast"]
    passages = [Passage(str(i), text) for i, text in enumerate(texts)]
    found = PassageSearch("words", k1=1.5, b=0.75).fit(passages).scores("green")
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    lengths = np.array([2, 3, 3])
    counts = np.array([1, 2, 0])
    weight = 1.5 * (1 - 0.75 + 0.75 * lengths / lengths.mean())
    np.testing.assert_allclose(found, idf * counts / (counts + weight), rtol=1e-6)


def test_meaning_equals_the_encoder(minilm):
    terms = larkmoor_terms()[:9]
    search = PassageSearch("meaning", minilm).fit(terms)
    vectors = minilm.encode([t.text for t in terms]).numpy()
    for question in QUESTIONS:
        expected = vectors @ minilm.encode([question]).numpy()[0]
        np.testing.assert_allclose(search.scores(question), expected, atol=1e-5)
        best, level = search.search_with_confidence(question, 1)
        assert best == [terms[int(expected.argmax())]]
        assert level == pytest.approx(expected.max(), abs=1e-5)
    assert np.ptp(expected) > 0.05


def test_fusion_by_hand():
    found = reciprocal_rank_fusion([[2, 0, 1], [0, 2]], 4)
    expected = [1 / 62 + 1 / 61, 1 / 63, 1 / 61 + 1 / 62, 0]
    np.testing.assert_allclose(found, expected)
    one = reciprocal_rank_fusion([[1, 0]], 2, constant=1.0)
    np.testing.assert_allclose(one, [1 / 3, 1 / 2])


def test_both_is_the_fusion_of_the_two(minilm):
    terms = larkmoor_terms()[:12]
    ways = {w: PassageSearch(w, minilm).fit(terms) for w in ("words", "meaning")}
    both = PassageSearch("both", minilm).fit(terms)
    question = "Can I return goods from the sale corner?"
    words, meaning = (ways[w].scores(question) for w in ways)
    ranked = [i for i in np.argsort(-words, kind="stable").tolist() if words[i] > 0]
    order = np.argsort(-meaning, kind="stable").tolist()
    assert 0 < len(ranked) < 12
    expected = reciprocal_rank_fusion([ranked, order], 12)
    np.testing.assert_allclose(both.scores(question), expected)
    assert both.search(question)[0].id == "returns-sale"


def test_a_question_without_a_known_word_finds_nothing():
    search = PassageSearch("words").fit(larkmoor_terms())
    assert search.search_with_confidence("qwertz", 3) == ([], 0)
    assert not search.scores("!").any()


@pytest.mark.parametrize(
    ("passages", "words"),
    [
        ([], "0 passages"),
        ([Passage("a", "tea"), Passage("a", "cup")], "2 passages have 1 ids"),
        ([Passage("a", " ")], "'a' is empty"),
        (["tea"], "passage 0 is of type str"),
        ([Passage("a", "\ud800")], "lone surrogate"),
    ],
)
@pytest.mark.usefixtures("untyped")
def test_bad_passages_are_refused(passages, words):
    with pytest.raises(ValueError, match=words):
        PassageSearch("words").fit(passages)


@pytest.mark.usefixtures("untyped")
def test_bad_settings_and_questions_are_refused():
    terms = larkmoor_terms()
    with pytest.raises(ValueError, match="way is 'sound'"):
        PassageSearch("sound").fit(terms)
    with pytest.raises(ValueError, match="encoder=load_minilm"):
        PassageSearch("both").fit(terms)
    with pytest.raises(NotFittedError):
        PassageSearch("words").search("tea")
    search = PassageSearch("words").fit(terms)
    with pytest.raises(ValueError, match="n is 0"):
        search.search("tea", 0)
    with pytest.raises(ValueError, match="type bytes"):
        search.search(b"tea")
    with pytest.raises(ValueError, match="ranking 0 names a thing twice"):
        reciprocal_rank_fusion([[1, 1]], 2)
    with pytest.raises(ValueError, match="from 0 to 2, but there are 2"):
        reciprocal_rank_fusion([[0, 2]], 2)

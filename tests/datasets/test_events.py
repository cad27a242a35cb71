"""Logs of events and who buys again: nothing later than the cutoff gets in."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.datasets import DataCard, EventLog, buys_again, fingerprint, load_cdnow

CARD = DataCard(
    name="Ana's shop",
    source="invented",
    licence="ours",
    size="a few",
    fields={"customer": "who", "date": "when"},
    known_faults=("too few rows",),
)


def log_of(rows):
    customers, days = zip(*rows, strict=True)
    dates = pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D")
    return EventLog(CARD, pd.DataFrame({"customer": customers, "date": dates}))


def shop(n_each=10):
    """So many who buy on days 0 and 9, so many who buy on day 0 only."""
    rows = [(f"again {i}", day) for i in range(n_each) for day in (0, 9)]
    return log_of(rows + [(f"once {i}", 0) for i in range(n_each)])


def both(data):
    return pd.concat([data.train, data.test], ignore_index=True)


def test_a_log_counts_its_events_and_customers():
    assert repr(shop()) == 'EventLog("Ana\'s shop", 30 events of 20 customers)'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": ["customer", "day"]}, r"'day'\], expected \['customer', 'date'\]"),
        ({"index": range(1, 31)}, "numbered 1 to 30, expected 0 to 29"),
    ],
)
def test_a_log_that_does_not_keep_the_interface_is_refused(change, message):
    events = shop().events.copy()
    events.columns = change.get("columns", events.columns)
    events.index = change.get("index", events.index)
    with pytest.raises(ValueError, match=message):
        EventLog(CARD, events)


def test_the_day_of_the_cutoff_is_seen_and_the_next_is_not():
    rows = [(f"a{i}", day) for i in range(5) for day in (0, 4)]
    rows += [(f"b{i}", day) for i in range(5) for day in (0, 5)]
    data = buys_again(log_of(rows), "2026-01-05")
    labels = both(data).set_index("customer")["label"]
    assert [labels[f"a{i}"] for i in range(5)] == [0] * 5
    assert [labels[f"b{i}"] for i in range(5)] == [1] * 5
    assert data.events["date"].max() == pd.Timestamp("2026-01-05")
    assert len(data.events) == 15


def test_an_evening_of_the_last_day_is_still_seen():
    events = shop().events
    events["date"] += pd.Timedelta(hours=23)
    data = buys_again(EventLog(CARD, events), "2026-01-01")
    assert len(data.events) == 20
    assert data.train["label"].mean() == data.test["label"].mean() == 0.5


def test_who_comes_later_is_left_out_and_told():
    rows = [*shop().events.itertuples(index=False, name=None)]
    rows = [(name, (day - pd.Timestamp("2026-01-01")).days) for name, day in rows]
    data = buys_again(log_of([*rows, ("new", 9), ("newer", 20)]), "2026-01-05")
    assert not {"new", "newer"} & set(both(data)["customer"])
    assert data.card.known_faults[:2] == (
        "50.0% of the customers have label 1.",
        "2 customers whose first event is later are left out.",
    )
    assert "the 16 days after 2026-01-05" in data.card.fields["label"]
    assert data.card.known_faults[-1] == "Of the whole log: too few rows"


def test_rows_and_events_keep_the_order_of_the_log():
    rows = [(f"c{i * 7 % 20}", day) for i in range(20) for day in (3, 1, 8 * (i % 2))]
    log = log_of(rows)
    data = buys_again(log, "2026-01-05", test_fraction=0.5)
    place = {name: i for i, name in enumerate(log.events["customer"].unique())}
    for part in (data.train, data.test):
        places = [place[name] for name in part["customer"]]
        assert places == sorted(places)
    kept = log.events[log.events["date"] <= "2026-01-05"]
    assert data.events.to_numpy().tolist() == kept.to_numpy().tolist()


def test_classes_are_spread_evenly_and_the_seed_draws():
    data = buys_again(shop(100), "2026-01-05", test_fraction=0.25)
    assert len(data.test) == 50
    assert data.test["label"].sum() == 25
    first, again, other = (
        set(buys_again(shop(100), "2026-01-05", seed=seed).test["customer"])
        for seed in (3, 3, 4)
    )
    assert first == again != other


events = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=60
)


@settings(deadline=None, max_examples=60)
@given(events, st.integers(0, 8), st.integers(0, 3))
def test_labels_by_hand_and_nothing_of_the_future(more, last_day, seed):
    rows = [(f"again {i}", day) for i in range(4) for day in (0, 9)]
    rows += [(f"once {i}", 0) for i in range(4)]
    rows += [(f"c{customer}", day) for customer, day in more]
    cutoff = f"2026-01-{last_day + 1:02d}"
    data = buys_again(log_of(rows), cutoff, test_fraction=0.25, seed=seed)
    known = {name for name, day in rows if day <= last_day}
    later = {name for name, day in rows if day > last_day}
    table = both(data)
    assert sorted(table["customer"]) == sorted(known)
    for name, label in table.itertuples(index=False):
        assert label == (name in later)
    # The future may change in every way but the labels, and no event changes.
    future = [(name, 9 if day > last_day else day) for name, day in rows]
    same = buys_again(log_of(future), cutoff, test_fraction=0.25, seed=seed)
    for part in ("train", "test", "events"):
        assert fingerprint(getattr(same, part)) == fingerprint(getattr(data, part))


@pytest.mark.parametrize(
    ("cutoff", "message"),
    [
        ("2025-12-31", "cutoff is 2025-12-31, and the log runs from 2026-01-01 to 20"),
        ("2026-01-10", "runs from 2026-01-01 to 2026-01-10. Choose a day within"),
        ("30/09/1997", "cutoff is '30/09/1997', expected a day such as '1997-09-30'"),
        ("2026-02-30", "cutoff is '2026-02-30', expected a day"),
        ("", "cutoff is '', expected a day"),
    ],
)
def test_a_cutoff_that_is_no_day_within_the_log(cutoff, message):
    with pytest.raises(ValueError, match=message):
        buys_again(shop(), cutoff)


def test_too_few_customers_of_a_class_and_a_share_out_of_range():
    message = r"label 0 has 2 and label 1 has 2 separate groups \(customers\), expected"
    with pytest.raises(ValueError, match=message):
        buys_again(shop(2), "2026-01-05")
    with pytest.raises(ValueError, match=r"test_fraction is 1\.5, expected 0\.05 to"):
        buys_again(shop(), "2026-01-05", test_fraction=1.5)


def test_cdnow_buys_again_in_three_of_ten():
    pytest.importorskip("lifetimes")
    data = buys_again(load_cdnow(), "1997-09-30")
    assert (len(data.train), len(data.test), len(data.events)) == (18856, 4714, 49086)
    assert both(data)["label"].mean() == pytest.approx(0.2994, abs=5e-5)
    assert data.card.known_faults[0] == "29.9% of the customers have label 1."
    assert (fingerprint(data.train), fingerprint(data.test)) == (
        "4c1d87cf2dcb961e63f867f34219c8b45d0e647be224da732cc7a04b2d04ea9c",
        "9bc2d5b19d29ee77f2f7e2a941e8cb2760bc3b5e96b36fd96de0829c8a73626f",
    )

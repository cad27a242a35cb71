"""A customer as tokens: what is read, in what order, and from which rows."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from marketllm.marketing import HistoryTokenizer

CUSTOMERS = pd.DataFrame(
    {
        "customer": ["ana", "bo", "cy", "di"],
        "age": [31.0, 40.0, np.nan, 58.0],
        "region": ["north", None, "south", "north"],
        "treated": [True, False, True, False],
        "text": ["The tea arrived late.", None, "...", "Late tea, late cake"],
        "label": [1, 0, 1, 0],
    }
)
EVENTS = pd.DataFrame(
    [
        ("ana", "1997-03-01", "visit", 12.5),
        ("cy", "1997-02-01", "offer", 1.0),
        ("ana", "1997-01-05", "offer", np.nan),
        ("ana", "1997-03-01", "buy", 30.0),
        ("di", "1997-02-03", "visit", 2.0),
    ],
    columns=["customer", "date", "kind", "amount"],
).assign(date=lambda frame: pd.to_datetime(frame["date"]))


def tokens(tokenizer, customers, events=None, until=None):
    return [tokenizer.words(i) for i in tokenizer.transform(customers, events, until)]


def random_customers(seed, n=40):
    rng = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {
            "customer": [f"c{i:03}" for i in range(n)],
            "age": rng.integers(18, 80, n).astype(float),
            "region": rng.choice(["north", "south", "east"], n),
            "text": [" ".join(rng.choice(list("abcdefg"), 4)) for _ in range(n)],
            "label": rng.integers(0, 2, n),
        }
    )
    customers.loc[rng.random(n) < 0.2, "age"] = np.nan
    who = rng.integers(0, n // 2, 5 * n)  # half of them have no event
    events = pd.DataFrame(
        {
            "customer": customers["customer"].to_numpy()[who],
            "date": pd.Timestamp("1997-01-01")
            + pd.to_timedelta(rng.permutation(5 * n), unit="h") * 13,
            "kind": rng.choice(["visit", "offer"], 5 * n),
            "amount": rng.gamma(2, 10, 5 * n),
        }
    )
    return customers, events


def test_a_customer_reads_like_a_story():
    tokenizer = HistoryTokenizer().fit(CUSTOMERS, EVENTS)
    ana, bo, cy, di = tokens(tokenizer, CUSTOMERS, EVENTS, "1997-09-30")
    assert ana == [
        *("age=31", "region=north", "treated=True"),
        *("offer", "amount=missing"),
        *("+7 weeks", "visit", "amount=12.5"),
        *("+0 days", "buy", "amount=30"),
        "quiet 7 months",
        *("the", "tea", "arrived", "late"),
    ]
    assert bo == [
        *("age=40", "region=missing", "treated=False"),
        *("no events", "no text"),
    ]
    assert cy[:3] == ["age=missing", "region=south", "treated=True"]
    assert cy[3:] == ["offer", "amount=1", "quiet 7 months", "no text"]
    assert di[-4:] == ["late", "tea", "late", "cake"]
    assert tokenizer.names_[0] == "<pad>"
    assert len(tokenizer) == len(tokenizer.names_)


def test_gaps_are_told_as_people_tell_them():
    steps = {
        **{0: "0 days", 1: "1 day", 6: "6 days", 7: "1 week", 13: "1 week"},
        **{14: "2 weeks", 60: "8 weeks", 61: "2 months", 364: "11 months"},
        **{365: "1 year", 729: "1 year", 730: "2 years", 4000: "3 years"},
    }
    for days, name in steps.items():
        first = pd.Timestamp("1990-05-01 23:59")
        dates = [first, (first + pd.Timedelta(days=days)).normalize()]
        events = pd.DataFrame({"customer": "ana", "date": dates, "kind": "visit"})
        if days == 0:
            events["date"] = first.normalize()
        tokenizer = HistoryTokenizer().fit(CUSTOMERS[["customer"]], events)
        [found] = tokens(tokenizer, CUSTOMERS[["customer"]][:1], events)
        assert found == ["visit", f"+{name}", "visit"]  # midnights count, not hours
        last = (events["date"].max() + pd.Timedelta(days=days)).date()
        [found] = tokens(tokenizer, CUSTOMERS[["customer"]][:1], events, last)
        assert found[3:] == [f"quiet {name}"]


def test_until_may_be_text_a_day_or_a_moment():
    tokenizer = HistoryTokenizer().fit(CUSTOMERS, EVENTS)
    days = ("1997-09-30", datetime.date(1997, 9, 30), pd.Timestamp("1997-09-30 12:00"))
    first, *others = [tokenizer.transform(CUSTOMERS, EVENTS, day) for day in days]
    assert all(other == first for other in others)
    late = EVENTS.assign(date=EVENTS["date"] + pd.Timedelta(hours=23))
    assert tokenizer.transform(CUSTOMERS, late, "1997-03-01")  # the day itself counts


def test_settings_leave_things_out():
    short = HistoryTokenizer(gaps=False, event_columns=["kind"], text_columns=[])
    with pytest.raises(ValueError, match="have no column 'note'"):
        HistoryTokenizer(text_columns=["note"]).fit(CUSTOMERS)
    plain = CUSTOMERS.drop(columns="text")
    found = tokens(short.fit(plain, EVENTS), plain, EVENTS)
    who = ["age=31", "region=north", "treated=True"]
    assert found[0] == [*who, "offer", "visit", "buy"]
    assert short.max_len_ == 3 + 64 + 1
    words = HistoryTokenizer(max_words=2, max_words_per_text=3).fit(CUSTOMERS)
    found = tokens(words, CUSTOMERS)
    assert found[0][-3:] == ["unknown word", "tea", "unknown word"]
    assert found[3][-3:] == ["late", "tea", "late"]
    assert clone(words).max_words == 2


def test_numbers_are_cut_at_training_quantiles():
    values = np.array([0] * 60 + list(range(1, 41)), dtype=float)
    frame = pd.DataFrame({"spent": values})
    tokenizer = HistoryTokenizer(n_bins=4).fit(frame)
    found = [words[0] for words in tokens(tokenizer, frame)]
    # 0 fills two quarters alone; the others follow the quantiles
    assert sorted(set(found)) == ["spent=0", "spent=1-15", "spent=16-40"]
    assert found.count("spent=0") == 60
    new = pd.DataFrame({"spent": [-5.0, 15.4, 1e9, np.nan]})
    assert [w[0] for w in tokens(tokenizer, new)] == [
        *("spent=0", "spent=1-15", "spent=16-40", "spent=missing")
    ]
    even = pd.DataFrame({"age": np.arange(800)})
    counts = pd.Series(w[0] for w in tokens(HistoryTokenizer().fit(even), even))
    assert counts.value_counts().tolist() == [100] * 8


def test_missing_is_not_zero():
    frame = pd.DataFrame({"age": [0.0, 1.0, np.nan], "region": ["a", "missing?", None]})
    found = HistoryTokenizer().fit(frame).transform(frame)
    assert len({ids[0] for ids in found}) == 3
    assert len({ids[1] for ids in found}) == 3
    empty = pd.DataFrame({"age": [np.nan, np.nan], "region": [None, None]})
    tokenizer = HistoryTokenizer().fit(empty)
    assert tokens(tokenizer, empty)[0] == ["age=missing", "region=missing"]
    assert tokens(tokenizer, frame[:0:-1])[1] == ["age=missing", "region=other"]


def test_the_newest_events_are_kept():
    dates = pd.date_range("1997-01-01", periods=10, freq="7D")
    events = pd.DataFrame(
        {"customer": "ana", "date": dates, "kind": list("abcdefghij")}
    )
    tokenizer = HistoryTokenizer(max_events=3).fit(CUSTOMERS[["customer"]], events)
    [found] = tokens(tokenizer, CUSTOMERS[["customer"]][:1], events)
    # The gap before the oldest that is kept stays: it says that there was more.
    assert found == ["+1 week", "h", "+1 week", "i", "+1 week", "j"]
    assert tokenizer.max_len_ == 7
    [found] = tokens(tokenizer, CUSTOMERS[["customer"]][:1], events[:3])
    assert found == ["a", "+1 week", "b", "+1 week", "c"]


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_a_customer_does_not_depend_on_the_others(seed, data):
    customers, events = random_customers(seed)
    tokenizer = HistoryTokenizer(max_events=4).fit(customers, events)
    whole = tokenizer.transform(customers, events, "1997-09-30")
    assert all(whole)
    assert max(map(len, whole)) <= tokenizer.max_len_
    assert max(map(max, whole)) < len(tokenizer)
    assert min(map(min, whole)) > 0
    rows = data.draw(st.lists(st.integers(0, 39), min_size=1, unique=True))
    part = tokenizer.transform(customers.iloc[rows], events, "1997-09-30")
    assert part == [whole[row] for row in rows]
    own = events[events["customer"] == customers["customer"][rows[0]]]
    alone = tokenizer.transform(customers.iloc[rows[:1]], own, "1997-09-30")
    assert alone == [whole[rows[0]]]  # also where he has no event at all


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_counts_only_at_equal_times(seed):
    customers, events = random_customers(seed)
    tokenizer = HistoryTokenizer().fit(customers, events)
    expected = tokenizer.transform(customers, events)
    mixed = events.sample(frac=1, random_state=seed)
    assert tokenizer.transform(customers, mixed) == expected
    again = HistoryTokenizer().fit(customers.sample(frac=1, random_state=seed), mixed)
    assert again.names_ == tokenizer.names_
    same = pd.DataFrame(
        {"customer": "c000", "date": events["date"][0], "kind": ["visit", "offer"]}
    )
    twins = HistoryTokenizer().fit(customers[["customer"]], same)
    [forward, *_] = tokens(twins, customers[["customer"]], same)
    [backward, *_] = tokens(twins, customers[["customer"]], same[::-1])
    assert (forward, backward) == (
        ["visit", "+0 days", "offer"],
        ["offer", "+0 days", "visit"],
    )


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_only_training_rows_are_learned_from(seed):
    customers, events = random_customers(seed)
    train = customers[:12]
    known = HistoryTokenizer().fit(train, events)
    others = events["customer"].isin(customers["customer"][12:])
    assert others.sum() > 10
    changed = events.copy()
    changed.loc[others, "amount"] *= 1000
    changed.loc[others, "kind"] = "new"
    again = HistoryTokenizer().fit(train, changed)
    assert again.names_ == known.names_
    assert again.transform(train, changed) == known.transform(train, events)
    # The test has teeth: fitted to all rows there are other bins.
    assert HistoryTokenizer().fit(customers[:5], events).names_ != known.names_


def test_label_and_number_are_never_read():
    tokenizer = HistoryTokenizer().fit(CUSTOMERS, EVENTS)
    expected = tokenizer.transform(CUSTOMERS, EVENTS)
    names = {name: f"x{i}" for i, name in enumerate(CUSTOMERS["customer"][::-1])}
    other = CUSTOMERS.assign(
        customer=CUSTOMERS["customer"].map(names), label=1 - CUSTOMERS["label"]
    )
    moved = EVENTS.assign(customer=EVENTS["customer"].map(names), label=[0, 1, 0, 1, 1])
    again = HistoryTokenizer().fit(other, moved)
    assert again.names_ == tokenizer.names_
    assert again.transform(other, moved) == expected
    assert tokenizer.transform(CUSTOMERS.drop(columns="label"), EVENTS) == expected


def test_new_names_and_types():
    tokenizer = HistoryTokenizer().fit(CUSTOMERS, EVENTS)
    new = CUSTOMERS.assign(region="west", text="tea? coffee!")
    assert tokens(tokenizer, new, EVENTS)[1][1] == "region=other"
    assert tokens(tokenizer, new, EVENTS)[1][-2:] == ["tea", "unknown word"]
    coded = CUSTOMERS.assign(region=pd.Categorical([7, 8, 7, None]))
    found = tokens(HistoryTokenizer().fit(coded), coded)
    assert [words[1] for words in found[:2]] == ["region=7", "region=8"]
    both = EVENTS.assign(shop="visit")
    found = tokens(HistoryTokenizer().fit(CUSTOMERS, both), CUSTOMERS, both)
    assert "kind=visit" in found[0]  # which of the two is meant
    assert "shop=visit" in found[0]


@pytest.fixture
def _no_types():
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_no_types")
def test_impossible_settings_are_refused():
    for name in ("n_bins", "max_words", "max_events", "max_words_per_text"):
        with pytest.raises(ValueError, match=f"{name} is 0: give a whole number"):
            HistoryTokenizer(**{name: 0}).fit(CUSTOMERS)
    with pytest.raises(ValueError, match="text_columns is one str, 'text'"):
        HistoryTokenizer(text_columns="text").fit(CUSTOMERS)
    for name in ("label", "customer", "date"):
        with pytest.raises(ValueError, match="leave customer, label and date"):
            HistoryTokenizer(event_columns=["kind", name]).fit(CUSTOMERS, EVENTS)
    with pytest.raises(NotFittedError):
        HistoryTokenizer().transform(CUSTOMERS)
    with pytest.raises(NotFittedError):
        len(HistoryTokenizer())
    with pytest.raises(ValueError, match=r"token id 99 is outside .* from 0 to"):
        HistoryTokenizer().fit(CUSTOMERS).words([1, 99])


def refuses(message, customers=CUSTOMERS, events=EVENTS, until=None):
    tokenizer = HistoryTokenizer().fit(CUSTOMERS, EVENTS)
    with pytest.raises(ValueError, match=message):
        tokenizer.transform(customers, events, until)


def test_frames_that_cannot_be_read_are_refused():
    twice = pd.concat([CUSTOMERS, CUSTOMERS["age"]], axis=1)
    refuses("customers have 2 columns 'age'", twice)
    refuses("customers have no column 'age', only", CUSTOMERS.drop(columns="age"))
    refuses("customers have 0 rows: give at least 1", CUSTOMERS[:0])
    refuses("customers have a column 0", CUSTOMERS.rename(columns={"label": 0}))
    refuses("training had some", events=None)
    refuses("no column 'kind'", events=EVENTS.drop(columns="kind"))
    refuses(
        "customer 'bo' stands in the rows 1 and 4",
        pd.concat([CUSTOMERS, CUSTOMERS[1:2]]),
    )
    refuses("type int64 in customers", CUSTOMERS.assign(customer=range(4)))
    refuses("date has the type .*to_datetime", events=EVENTS.assign(date="1997-01-01"))
    zoned = EVENTS.assign(date=EVENTS["date"].dt.tz_localize("UTC"))
    refuses("without a time zone", events=zoned)
    undated = EVENTS.assign(date=EVENTS["date"].where(EVENTS["kind"] != "buy"))
    refuses("1 events have no date, first one of customer 'ana'", events=undated)
    refuses("age' has the type .* held numbers", CUSTOMERS.assign(age="old"))
    refuses("age' is inf in row 0: give finite", CUSTOMERS.assign(age=np.inf))
    refuses("region' has the type .* held names", CUSTOMERS.assign(region=1))
    refuses("text' is 5 in row 0, of type int", CUSTOMERS.assign(text=5))
    with pytest.raises(ValueError, match="holds dates: turn it into a number"):
        HistoryTokenizer().fit(CUSTOMERS.assign(since=pd.Timestamp("1997-01-01")))


def test_fitting_on_nothing_is_refused():
    with pytest.raises(ValueError, match="4 customers have none of the 5 events"):
        HistoryTokenizer().fit(CUSTOMERS.assign(customer=list("wxyz")), EVENTS)
    with pytest.raises(ValueError, match="leave nothing to read"):
        HistoryTokenizer().fit(CUSTOMERS[["customer", "label"]])
    with pytest.raises(ValueError, match="says what happened"):
        HistoryTokenizer().fit(CUSTOMERS, EVENTS[["customer", "date"]])
    with pytest.raises(ValueError, match="customers have 0 rows"):
        HistoryTokenizer().fit(CUSTOMERS[:0])
    tokenizer = HistoryTokenizer().fit(CUSTOMERS)
    with pytest.raises(ValueError, match="training had none"):
        tokenizer.transform(CUSTOMERS, EVENTS)


def test_no_event_after_the_day_is_accepted():
    refuses(
        "2 events are later than until=1997-02-28, first one of customer 'ana' on "
        "1997-03-01",
        until="1997-02-28",
    )
    # Events of customers who are not asked for are not looked at.
    tokenizer = HistoryTokenizer().fit(CUSTOMERS, EVENTS)
    [bo] = tokens(tokenizer, CUSTOMERS[1:2], EVENTS, "1997-01-01")
    assert bo[-2:] == ["no events", "no text"]
    [bo] = tokens(tokenizer, CUSTOMERS[1:2], EVENTS[:0], "1997-01-01")
    assert bo[-2:] == ["no events", "no text"]

"""The card and the data set: what they show and what they refuse."""

import datetime
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.datasets import (
    DataCard,
    Dataset,
    fingerprint,
    load_fine_food_reviews,
    reviews,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"


def card(**changes):
    values = {
        "name": "Tea <shop>",
        "source": "invented",
        "licence": "ours",
        "size": "2 rows",
        "fields": {"text": "what Ana wrote", "label": "0 or 1", "product": "or empty"},
        "known_faults": ("invented & short", "English only"),
    }
    return DataCard(**(values | changes))


def frame(labels=(1, 0)):
    return pd.DataFrame(
        {"text": ["good té", "late"], "label": list(labels), "product": ["p", ""]}
    )


def test_plain_text_has_every_entry():
    assert str(card()) == (
        "Tea <shop>\nSource: invented\nLicence: ours\nSize: 2 rows\n"
        "Fields:\n- text: what Ana wrote\n- label: 0 or 1\n- product: or empty\n"
        "Known faults:\n- invented & short\n- English only"
    )


def test_the_table_has_every_entry_and_is_escaped():
    html = card()._repr_html_()
    assert ">Tea &lt;shop&gt;</th>" in html
    assert "<li>invented &amp; short</li><li>English only</li>" in html
    for heading in ("Source", "Licence", "Size", "Fields", "Known faults"):
        assert html.count(f">{heading}</th>") == 1
    assert html.count("<tr>") == html.count("</tr>") == 6


def test_a_card_without_faults_says_so():
    assert "Known faults: none recorded" in str(card(known_faults=()))


def test_repr_counts_and_does_not_spill_the_frames():
    data = Dataset(card(), frame(), frame())
    assert repr(data) == "Dataset('Tea <shop>', train=2 rows, test=2 rows)"


def test_fingerprint_is_sha256_of_lines_of_json():
    lines = b'["good t\\u00e9", 1, "p"]\n["late", 0, ""]\n'
    assert fingerprint(frame()) == hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_fingerprint_does_not_depend_on_types_or_index(kind):
    other = frame().astype({"text": kind, "product": kind, "label": "int8"})
    other.index = [7, 3]
    assert fingerprint(other) == fingerprint(frame())


@pytest.mark.parametrize("column", ["text", "label", "product"])
def test_fingerprint_sees_every_column(column):
    other = frame()
    other.loc[1, column] = 1 if column == "label" else "x"
    assert fingerprint(other) != fingerprint(frame())


def test_fingerprint_sees_the_order_of_rows():
    assert fingerprint(frame().iloc[::-1]) != fingerprint(frame())


def test_the_fingerprints_of_the_reviews_are_those_in_the_results():
    """A file of results would be refused, and made again, if they changed."""
    data = load_fine_food_reviews()
    found = {"train": fingerprint(data.train), "test": fingerprint(data.test)}
    assert [*found.values()] == [part[2] for part in reviews._FINE_FOOD_PARTS]
    book = json.loads((RESULTS / "first_result.json").read_text())
    assert book["data"] == found


def test_fingerprint_of_every_kind_of_cell():
    table = pd.DataFrame(
        {
            "day": pd.to_datetime(["1997-01-31", None]),
            "second": pd.to_datetime(["1997-01-31 10:00:01", "1997-02-01 00:00:00"]),
            "n": [1, 2],
            "amount": [11.77, np.nan],
            "kind": ["tea", None],
        }
    )
    lines = (
        b'["1997-01-31T00:00:00", "1997-01-31T10:00:01", 1, 11.77, "tea"]\n'
        b'[null, "1997-02-01T00:00:00", 2, null, null]\n'
    )
    assert fingerprint(table) == hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_fingerprint_does_not_depend_on_the_unit_of_dates(unit):
    dates = pd.DataFrame({"date": pd.to_datetime(["1997-01-31 10:00:01"])})
    other = dates.astype({"date": f"datetime64[{unit}]"})
    assert fingerprint(other) == fingerprint(dates)


def test_fingerprint_of_plain_days_and_of_what_it_cannot_write():
    days = pd.DataFrame({"date": [datetime.date(1997, 1, 31)]})
    assert fingerprint(days) == hashlib.sha256(b'["1997-01-31"]\n').hexdigest()
    lists = pd.DataFrame({"kinds": [["tea"]]})
    with pytest.raises(ValueError, match="'kinds' holds a list, expected text"):
        fingerprint(lists)


cells = st.one_of(st.integers(-9, 9), st.text(max_size=3), st.none())
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(tables, tables)
def test_two_tables_have_one_fingerprint_only_if_they_are_equal(first, second):
    one, two = (
        fingerprint(pd.DataFrame(rows, columns=["a", "b"], dtype=object))
        for rows in (first, second)
    )
    assert (one == two) == (first == second)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (frame().rename(columns={"text": "review"}), r"'review'.*expected \['text'"),
        (frame().iloc[:0], "0 rows, expected 1 or more"),
        (frame((1, 2)), r"labels \[1, 2\] \(int64\), expected only 0 and 1"),
        (frame((1.0, 0.0)), r"labels \[0\.0, 1\.0\] \(float64\), expected .* as int"),
        (frame((True, False)), r"labels \[False, True\] \(bool\), expected"),
        (frame().iloc[::-1], "rows numbered 1 to 0, expected 0 to 1 in order"),
        (frame().set_axis([1, 2]), r"numbered 1 to 2.*reset_index\(drop=True\)"),
    ],
)
def test_a_part_that_breaks_the_interface_is_refused(bad, message):
    for parts in ((bad, frame()), (frame(), bad)):
        with pytest.raises(ValueError, match=message):
            Dataset(card(), *parts)


def test_a_set_without_labels_needs_none():
    rated = card(fields={"text": "a sentence", "rating": "-4 to 4"})
    rows = pd.DataFrame({"text": ["late"], "rating": [-1.5]})
    assert len(Dataset(rated, rows, rows).train) == 1


# Events -----------------------------------------------------------------------


def customers(*names):
    return pd.DataFrame({"customer": names, "label": [0] * len(names)})


def orders(*names):
    days = pd.date_range("2026-01-01", periods=len(names))
    return pd.DataFrame({"customer": names, "date": days})


EVENT_CARD = card(
    fields={"customer": "who", "label": "0 or 1"},
    event_fields={"customer": "who", "date": "when"},
)


def test_events_are_counted_and_described():
    data = Dataset(EVENT_CARD, customers("a"), customers("b"), orders("b", "a", "b"))
    assert repr(data).endswith("train=1 rows, test=1 rows, 3 events)")
    assert "Fields of the events:\n- customer: who\n- date: when\n" in str(data.card)
    assert "<li>date: when</li>" in data.card._repr_html_()


def test_a_customer_may_have_no_event():
    data = Dataset(EVENT_CARD, customers("a", "b"), customers("c"), orders("a"))
    assert len(data.events) == 1


@pytest.mark.parametrize(
    ("train", "events", "message"),
    [
        (customers("a"), orders("b", "x", "a"), "1 events are of .* first 'x', exp"),
        (customers("a", "b"), orders("a"), "'b' has 2 rows in train and test, exp"),
        (customers("a", "a"), orders("a"), "'a' has 2 rows in train and test, exp"),
        (customers("a"), orders("a").iloc[:0], "events has 0 rows"),
        (customers("a"), orders("a").set_axis([3]), "events has rows numbered 3 to 3"),
        (
            customers("a"),
            orders("a").astype({"date": str}),
            r"0 missing dates of type \w+, expected 0 of type datetime64",
        ),
        (
            customers("a"),
            orders("a", "b").assign(date=pd.to_datetime(["2026-01-01", None])),
            "1 missing dates of type datetime64",
        ),
        (customers("a"), orders("a")[["date", "customer"]], r"expected \['customer'"),
    ],
)
def test_events_that_do_not_belong_to_the_customers(train, events, message):
    with pytest.raises(ValueError, match=message):
        Dataset(EVENT_CARD, train, customers("b"), events)


def test_events_need_customers_and_a_description():
    with pytest.raises(
        ValueError, match=r"\['text', 'label', 'product'\], expected 'c"
    ):
        Dataset(
            card(event_fields=EVENT_CARD.event_fields), frame(), frame(), orders("a")
        )
    undescribed = card(fields=EVENT_CARD.fields)
    with pytest.raises(ValueError, match=r"\['customer', 'date'\], expected \[\]"):
        Dataset(undescribed, customers("a"), customers("b"), orders("a"))


@pytest.mark.parametrize("name", ["customer", "date"])
def test_an_event_has_a_customer_and_a_date(name):
    fields = {key: "x" for key in ("customer", "date", "kind") if key != name}
    events = orders("a").assign(kind="visit")[list(fields)]
    with pytest.raises(ValueError, match=f"expected '{name}' among them"):
        Dataset(
            card(fields=EVENT_CARD.fields, event_fields=fields),
            customers("a"),
            customers("b"),
            events,
        )

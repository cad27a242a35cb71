"""The card and the data set: what they show and what they refuse."""

import hashlib

import pandas as pd
import pytest

from marketllm.datasets import DataCard, Dataset, fingerprint


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


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (frame().rename(columns={"text": "review"}), r"'review'.*expected \['text'"),
        (frame().iloc[:0], "0 rows, expected 1 or more"),
        (frame((1, 2)), r"labels \[1, 2\] \(int64\), expected only 0 and 1"),
    ],
)
def test_a_part_that_breaks_the_interface_is_refused(bad, message):
    for parts in ((bad, frame()), (frame(), bad)):
        with pytest.raises(ValueError, match=message):
            Dataset(card(), *parts)

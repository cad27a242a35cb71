"""The counts on the pages are those of their entries, and nothing is left out."""

import re
from collections import Counter
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[1] / "book"
PAGES = sorted(BOOK.glob("*.md"))


def page(name):
    return (BOOK / f"{name}.md").read_text("utf8")


def count_table(text):
    """Return the first table of a page as {name: count}."""
    rows = re.findall(r"^\| ([A-Za-z ]+?) \| (\d+) \|$", text, re.M)
    return {name: int(count) for name, count in rows}


def test_claims_are_counted_by_verdict():
    text = page("claims")
    verdicts = re.findall(r"^\*\*Verdict:\*\* ([a-z ]+)\.$", text, re.M)
    counted = {name: n for name, n in count_table(text).items() if n}
    assert counted == dict(Counter(verdicts))
    assert set(count_table(text)) == {
        "confirmed",
        "refuted",
        "only if",
        "corrected",
        "open",
    }


def test_every_claim_has_its_target_and_fields():
    text = page("claims")
    for n in range(1, 26):
        entry = re.search(
            rf"^\(claims-k{n}\)=\n### K{n}\. (.*?)(?=^\(claims-k|\Z)", text, re.M | re.S
        )
        assert entry, f"K{n} has no entry"
        for name in ("Where", "The article", "Verdict", "Evidence so far", "Tested in"):
            assert entry[1].count(f"\n**{name}:** ") == 1, f"K{n}: {name}"


def test_crosswalk_is_counted_by_status():
    text = page("crosswalk")
    statuses = re.findall(
        r"^: (Shown|Partly shown|On a page|Planned)\. ", text, flags=re.M
    )
    assert count_table(text) == dict(Counter(statuses))
    assert len(statuses) == 82  # 80 sections, the title and the author block


def test_crosswalk_has_every_section_once_and_in_order():
    numbers = re.findall(r"^\*\*(\d+(?:\.\d+)*) ", page("crosswalk"), re.M)
    keys = [tuple(map(int, number.split("."))) for number in numbers]
    assert len(keys) == 80
    assert keys == sorted(set(keys))
    assert {key[0] for key in keys} == set(range(1, 11))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_begin_with_their_target(path):
    assert re.match(rf"\(page-{path.stem}\)=\n# \S", path.read_text("utf8"))


def test_readme_counts_the_entries():
    readme = (BOOK.parent / "README.md").read_text("utf8")
    errata = count_table(page("errata"))
    claims = sum(count_table(page("claims")).values())
    assert f"{errata['All']} errors have a proof that runs" in readme
    assert f"Each of {claims} claims" in readme

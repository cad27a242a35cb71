"""The errata ledger, ``book/errata.md``, and its proofs belong together."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROOFS = {
    f"tests/errata/{path.name}::{name}"
    for path in Path(__file__).parent.glob("test_errata_*.py")
    for name in re.findall(r"^def (test_[mc]\d+_\w+)", path.read_text("utf-8"), re.M)
}
LOUD = ("Loud", "Silent", "Loud or silent, by size")
FIELDS = ("The article", "Right", "Loud or silent", "Shown in", "Held by")
SHOWN = {
    "ch-tokens": "M5",
    "ch-attention": "M1 M15 M16 M27",
    "ch-multi-head": "M2 M7 M17 M27",
    "ch-encoder": "M3 M5 M6 M14 M18 M19 M21 M28",
    "ch-decoder": "M4 M20 M28 C1 C2 C3 C4 C5 C6 C7 C8 C14 C15 C16 C18 C19 C20",
    "ch-first-result": "C18",
    "ch-losses": "M8 M9 M24 C12",
    "ch-adam": "M11 M12 M13 M25 M26 M28",
    "ch-pretraining": "M10 M22 M23",
    "ch-fine-tuning": "M23 C9 C10 C21",
    "ch-vectors": "M5",
    "ch-customer-data": "C9 C11 C22",
    "ch-intent": "C12",
    "ch-verdict": "C23",
    "page-howto": "C13 C17",
}
FILES = {
    "ch-tokens": "notebooks/02_tokens.ipynb",
    "ch-attention": "notebooks/03_attention.ipynb",
    "ch-multi-head": "notebooks/04_multi_head_attention.ipynb",
    "ch-encoder": "notebooks/05_encoder.ipynb",
    "ch-decoder": "notebooks/06_decoder.ipynb",
    "ch-first-result": "notebooks/07_first_result.ipynb",
    "ch-losses": "notebooks/08_losses.ipynb",
    "ch-adam": "notebooks/09_adam.ipynb",
    "ch-pretraining": "notebooks/10_pretraining.ipynb",
    "ch-fine-tuning": "notebooks/11_fine_tuning.ipynb",
    "ch-vectors": "notebooks/16_vectors.ipynb",
    "ch-customer-data": "notebooks/17_customer_data.ipynb",
    "ch-intent": "notebooks/18_purchase_intent.ipynb",
    "ch-verdict": "notebooks/19_does_the_llm_win.ipynb",
    "page-howto": "book/howto.md",
}


def page() -> str:
    """Read the ledger."""
    return (ROOT / "book" / "errata.md").read_text("utf-8")


def entries() -> dict[str, dict[str, str]]:
    """Read the ledger's entries: id to fields, in the order of the page."""
    heading = r"^\(errata-(\w+)\)=\n### (\w+)\. [^\n]+\n(.*?)(?=^\(errata-|^## |\Z)"
    found = {}
    for target, name, text in re.findall(heading, page(), flags=re.M | re.S):
        assert target == name.lower()
        assert name not in found
        found[name] = dict(re.findall(r"^\*\*(.+?):\*\* (.+)$", text, flags=re.M))
    return found


def test_ledger_lists_every_proof():
    """Each entry names exactly the tests that start with its id, and none is left."""
    held = {
        name: set(re.findall(r"`(tests/errata/\w+\.py::\w+)`", fields["Held by"]))
        for name, fields in entries().items()
    }
    for name, tests in held.items():
        assert tests == {t for t in PROOFS if f"::test_{name.lower()}_" in t}, name
        assert tests, name
    assert set().union(*held.values()) == PROOFS
    assert page().count("\n### ") == len(held)  # no heading escaped the pattern


def test_ledger_is_complete_and_in_order():
    """All 51 entries are there."""
    expected = [f"M{i}" for i in range(1, 29)] + [f"C{i}" for i in range(1, 24)]
    assert list(entries()) == expected


def test_ledger_fields():
    """Each entry has its fields in order, a source, and its chapters."""
    for name, fields in entries().items():
        code = name.startswith("C")
        wanted = [f for f in FIELDS if code or f != "Loud or silent"]
        assert list(fields) == wanted, name
        assert re.match(r"Sections? \d", fields["The article"]), name
        assert "{cite:" in fields["Right"] or "](https://" in fields["Right"], name
        assert code or "{cite:" in fields["Right"], name
        shown = re.findall(r"\{ref\}`[^`<]+ <([\w-]+)>`", fields["Shown in"])
        assert shown == [c for c, names in SHOWN.items() if name in names.split()], name
        if code:
            assert fields["Loud or silent"].split(". ")[0].rstrip(".") in LOUD, name


@pytest.mark.parametrize("place", SHOWN)
def test_chapters_lead_back_to_their_entries(place):
    """A chapter that is said to show an entry refers to it."""
    text = (ROOT / FILES[place]).read_text("utf-8")
    missing = [e for e in SHOWN[place].split() if f"<errata-{e.lower()}>" not in text]
    assert missing == []


def test_ledger_counts():
    """The table at the top counts the entries below it."""
    kinds = [
        "Mathematics" if name.startswith("M") else fields["Loud or silent"]
        for name, fields in entries().items()
    ]
    kinds = [kind.split(". ")[0].rstrip(".") for kind in kinds]
    rows = dict(re.findall(r"^\| ([\w ,]+?) \| (\d+) \|$", page(), flags=re.M))
    wanted = {
        "Mathematics": kinds.count("Mathematics"),
        "Code, loud": kinds.count("Loud"),
        "Code, silent": kinds.count("Silent"),
        "Code, loud or silent by size": kinds.count("Loud or silent, by size"),
        "All": len(kinds),
    }
    assert {kind: int(count) for kind, count in rows.items()} == wanted

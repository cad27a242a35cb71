"""A CSV file of your own: what is read, how it is split, what is refused."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.datasets import copy_key, load_reviews_csv
from marketllm.datasets.split import _tied


def write(folder, rows, header=("text", "label"), name="shop.csv", encoding="utf-8"):
    path = folder / name
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([header, *rows])
    return path


def plain(n_rows=20):
    return [(f"review number {i}", i % 2) for i in range(n_rows)]


def test_rows_texts_and_labels_arrive_unchanged(tmp_path):
    rows = [*plain(18), (' a "quoted", two-\nline text ', 1), ("null", 0)]
    data = load_reviews_csv(write(tmp_path, rows))
    both = {
        (text, label, product)
        for frame in (data.train, data.test)
        for text, label, product in frame.itertuples(index=False)
    }
    assert both == {(text, label, "") for text, label in rows}
    assert len(data.train) == 16
    assert len(data.test) == 4


def test_both_sides_keep_the_order_of_the_file(tmp_path):
    data = load_reviews_csv(write(tmp_path, plain(100)))
    for frame in (data.train, data.test):
        numbers = [int(text.split()[-1]) for text in frame["text"]]
        assert numbers == sorted(numbers)
        assert list(frame.index) == list(range(len(frame)))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.3, 0.5])
def test_the_split_is_stratified_and_of_the_size_asked(tmp_path, fraction):
    rows = [(f"review {i}", int(i % 5 == 0)) for i in range(200)]  # 20% ones
    data = load_reviews_csv(write(tmp_path, rows), test_fraction=fraction)
    assert len(data.test) == pytest.approx(200 * fraction, abs=2)
    assert data.test["label"].sum() == pytest.approx(40 * fraction, abs=1)


def test_the_seed_fixes_the_split(tmp_path):
    path = write(tmp_path, plain(60))
    first, again, other = (load_reviews_csv(path, seed=seed) for seed in (3, 3, 4))
    assert first.test["text"].tolist() == again.test["text"].tolist()
    assert first.test["text"].tolist() != other.test["text"].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_a_text_stay_on_one_side(tmp_path, seed):
    rows = [(f"text {i % 15}", i % 15 % 2) for i in range(60)]
    rows += [("Text  3", 1), ("TEXT 4", 0)]
    data = load_reviews_csv(write(tmp_path, rows), seed=seed)
    train, test = (
        {" ".join(text.lower().split()) for text in frame["text"]}
        for frame in (data.train, data.test)
    )
    assert not train & test
    assert len(train | test) == 15


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_a_product_stay_on_one_side(tmp_path, seed):
    rows = [(f"text {i}", i % 2, f"p{i // 4}") for i in range(80)]
    path = write(tmp_path, rows, ("text", "label", "item"))
    data = load_reviews_csv(path, product="item", seed=seed)
    assert not set(data.train["product"]) & set(data.test["product"])
    assert len(data.train) + len(data.test) == 80
    # Without the column the same rows are split across products.
    loose = load_reviews_csv(path, seed=seed)
    products = {text: product for text, _, product in rows}
    train, test = (
        {products[text] for text in frame["text"]}
        for frame in (loose.train, loose.test)
    )
    assert train & test


def test_a_text_ties_two_products_together():
    texts = [copy_key(text) for text in ("tea", "milk", "TEA ", "rye", "oats")]
    groups = _tied(texts, ["a", "a", "b", "b", "c"])
    assert len(set(groups[:4])) == 1
    assert groups[4] not in groups[:4]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1))
def test_groups_are_the_finest_that_keep_texts_and_products(pairs):
    texts = [f"t{text}" for text, _ in pairs]
    products = [f"p{product}" for _, product in pairs]
    label = list(range(len(pairs)))  # by hand: spread the smaller number until still
    for _ in pairs:
        for i in range(len(pairs)):
            for j in range(len(pairs)):
                if texts[i] == texts[j] or products[i] == products[j]:
                    label[i] = label[j] = min(label[i], label[j])
    groups = _tied(texts, products)
    expected = np.equal.outer(label, label)
    assert (np.equal.outer(groups, groups) == expected).all()


def test_a_byte_order_mark_is_removed(tmp_path):
    path = write(tmp_path, plain(), encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert len(load_reviews_csv(path).train) == 16


def test_other_column_names_and_another_encoding(tmp_path):
    rows = [(1 - i % 2, f"café {i}") for i in range(20)]
    path = write(tmp_path, rows, ("stars", "opinion"), encoding="cp1252")
    data = load_reviews_csv(path, text="opinion", label="stars", encoding="cp1252")
    assert data.train["text"].str.startswith("café ").all()


def test_the_file_is_left_alone(tmp_path):
    path = write(tmp_path, plain())
    before = path.read_bytes(), path.stat().st_mtime_ns
    load_reviews_csv(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_card_tells_what_was_found(tmp_path):
    rows = [*plain(19), ("review number 3", 1)]
    data = load_reviews_csv(write(tmp_path, rows))
    assert (
        data.card.size == f"{len(data.train)} rows to train, {len(data.test)} to test"
    )
    assert data.card.known_faults[:2] == (
        "1 of 20 rows repeat an earlier text.",
        "50.0% of the rows have label 1.",
    )
    assert "3 to 3 words" in data.card.fields["text"]
    assert str(tmp_path) not in str(data.card)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.csv\. Check"):
        load_reviews_csv(tmp_path / "gone.csv")


def test_a_wrong_encoding_names_the_byte_and_the_remedy(tmp_path):
    path = tmp_path / "shop.csv"
    path.write_bytes(b"text,label\ncaf\xe9,1\n")
    message = r"byte 14 is 0xe9\. Save it as 'CSV UTF-8'.*encoding='cp1252'"
    with pytest.raises(ValueError, match=message):
        load_reviews_csv(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(ValueError, match="byte 17 is 0xe9"):
        load_reviews_csv(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "review,label\nfine,1\n",
            r"\['review', 'label'\], expected \['text', 'label'",
        ),
        ("text;label\nfine;1\n", r"\['text;label'\].*Separate columns by commas"),
        ("text,label,text\na,1,b\n", r"'text'\], expected .* once each"),
        ("", "has no rows"),
        ("text,label\n", "has no rows"),
        ("text,label\n\n\n", "has no rows"),
        ("text,label\nfine,1\n,0\n", r"row 3: column 'text' is empty"),
        ("text,label\nfine,1\n\n  ,0\n", r"row 4: column 'text' is empty"),
        ("text,label\nfine,\n", r"row 2: column 'label' is empty"),
        ("text,label\nfine,1\nbad,2\n", r"row 3: the label is '2', expected 0 or 1"),
        ("text,label\nfine,great\n", r"row 2: the label is 'great', expected 0 or 1"),
        ("text,label\ntea, good,1\n", r"row 2: 3 cells, expected 2.*double quotes"),
        ("text,label\nfine\n", r"row 2: 1 cells, expected 2"),
        ('text,label\n"fine,1\n', r"not a readable CSV file .*close each"),
        ("text,label\na,1\nb,1\n", r"all 2 labels are 1, expected both 0 and 1"),
        ("text,label\na,0\nb,0\nc,0\n", r"all 3 labels are 0, expected both"),
        (
            "text,label\na,1\nb,1\nc,0\n",
            r"too few rows to split: label 0 has 1 and label 1 has 2 .* at least 5 of",
        ),
    ],
)
def test_a_file_that_is_not_as_described(tmp_path, content, message):
    path = tmp_path / "shop.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_reviews_csv(path)


def test_copies_do_not_count_as_rows_to_split(tmp_path):
    rows = [("bad", 0)] * 30 + plain(40)[1::2]
    with pytest.raises(ValueError, match="label 0 has 1 and label 1 has 20 separate"):
        load_reviews_csv(write(tmp_path, rows))


def test_an_empty_product_and_a_missing_product_column(tmp_path):
    path = write(tmp_path, [("a", 1, "p"), ("b", 0, "")], ("text", "label", "item"))
    with pytest.raises(ValueError, match="row 3: column 'item' is empty"):
        load_reviews_csv(path, product="item")
    with pytest.raises(ValueError, match=r"'item'\], expected .*'sku'\]"):
        load_reviews_csv(path, product="sku")


@pytest.mark.parametrize("fraction", [-0.2, 0.01, 0.99, 1.0, float("nan")])
def test_a_fraction_out_of_range(tmp_path, fraction):
    with pytest.raises(ValueError, match=r"expected 0\.05 to 0\.95"):
        load_reviews_csv(write(tmp_path, plain()), test_fraction=fraction)

"""A CSV file of your own customers: what is read, how it is split, what is refused."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketllm.datasets import load_customers_csv, row_groups

HEADER = ("age", "region", "label")


def write(folder, rows, header=HEADER, name="shop.csv", encoding="utf-8"):
    path = folder / name
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([header, *rows])
    return path


def plain(n_rows=20):
    """Customers of different age, every other one with label 1."""
    return [(20 + i, ("north", "south")[i // 2 % 2], i % 2) for i in range(n_rows)]


def both(data):
    return pd.concat([data.train, data.test], ignore_index=True)


def test_rows_arrive_with_their_types_and_in_their_order(tmp_path):
    data = load_customers_csv(write(tmp_path, plain()))
    assert sorted(both(data).itertuples(index=False, name=None)) == plain()
    assert (len(data.train), len(data.test)) == (16, 4)
    for frame in (data.train, data.test):
        assert tuple(frame) == HEADER
        assert frame["age"].tolist() == sorted(frame["age"])
        assert [frame[name].dtype.kind for name in ("age", "label")] == ["i", "i"]


def test_what_is_empty_stays_missing(tmp_path):
    rows = [*plain(18), ("", "north", 1), (99, " ", 0)]
    table = both(load_customers_csv(write(tmp_path, rows)))
    assert table.isna().sum().tolist() == [1, 1, 0]
    assert table["age"].dtype.kind == "f"
    assert table.loc[table["age"] == 99, "region"].isna().all()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", " 2 ", "-3"], "i"),
        (["1", "2.5", "3."], "f"),
        (["1e3", "0", "+4"], "f"),
        (["01234", "04567", "08900"], "text"),  # postcodes
        (["1", "nan", "inf"], "text"),
        (["1_000", "2_000", "3"], "text"),
        (["1234567890123456", "1", "2"], "f"),  # whole, but too long to be exact
        (["\u0661", "\u0662", "\u0663"], "text"),  # digits of another script
    ],
    ids=["whole", "point", "power", "zeros", "words", "bars", "long", "script"],
)
def test_what_is_a_number(tmp_path, cells, kind):
    rows = [(i, cells[i % 3], i % 2) for i in range(21)]
    column = both(load_customers_csv(write(tmp_path, rows)))["region"]
    if kind == "text":
        assert set(column) == set(cells)
    else:
        assert column.dtype.kind == kind
        assert set(column) == {float(cell) for cell in cells}


def test_numbers_may_be_read_as_names(tmp_path):
    path = write(tmp_path, plain())
    table = both(load_customers_csv(path, categories=["age"]))
    assert set(table["age"]) == {str(20 + i) for i in range(20)}


@pytest.mark.parametrize("seed", range(4))
def test_all_rows_of_a_customer_are_on_one_side(tmp_path, seed):
    rows = [(f"c{i // 4} ", i, i // 2 % 2) for i in range(80)]
    path = write(tmp_path, rows, ("who", "visits", "bought"))
    data = load_customers_csv(path, customer="who", label="bought", seed=seed)
    train, test = (set(frame["customer"]) for frame in (data.train, data.test))
    assert not train & test
    assert train | test == {f"c{i}" for i in range(20)}
    assert tuple(data.train) == ("customer", "visits", "label")
    assert "60 rows are of a customer who has an earlier row." in data.card.known_faults
    # Without the column the same rows are drawn one by one.
    rows = [(visits, bought) for _, visits, bought in rows]
    path = write(tmp_path, rows, ("visits", "bought"))
    loose = load_customers_csv(path, label="bought", seed=seed)
    train, test = ({v // 4 for v in f["visits"]} for f in (loose.train, loose.test))
    assert train & test


def test_equal_rows_are_on_one_side_unless_the_customers_are_named(tmp_path):
    rows = [(i % 15, "north", i % 2) for i in range(90)]
    data = load_customers_csv(write(tmp_path, rows))
    names = [set(row_groups(f.drop(columns="label"))) for f in (data.train, data.test)]
    assert not names[0] & names[1]
    rows = [(*row, f"c{i}") for i, row in enumerate(rows)]
    path = write(tmp_path, rows, (*HEADER, "who"))
    named = load_customers_csv(path, customer="who")
    assert set(named.train["age"]) & set(named.test["age"])


def test_the_split_is_stratified_and_the_seed_draws_it(tmp_path):
    rows = [(i, "north", int(i % 5 == 0)) for i in range(200)]
    path = write(tmp_path, rows)
    first, again, other = (
        load_customers_csv(path, test_fraction=0.25, seed=seed) for seed in (3, 3, 4)
    )
    assert len(first.test) == pytest.approx(50, abs=1)
    assert first.test["label"].sum() == 10
    assert first.test["age"].tolist() == again.test["age"].tolist()
    assert first.test["age"].tolist() != other.test["age"].tolist()


# By time ----------------------------------------------------------------------

DATED = ("who", "when", "visits", "label")


def dated(n_days=10, n_each=4):
    """So many customers a day, each of a day of his own."""
    return [
        (f"c{day}-{i}", f"2026-01-{day + 1:02d}", i, i % 2)
        for day in range(n_days)
        for i in range(n_each)
    ]


def test_the_latest_days_are_tested(tmp_path):
    rows = [*dated()][::-1]
    data = load_customers_csv(
        write(tmp_path, rows, DATED), customer="who", date="when", test_fraction=0.3
    )
    assert data.train["date"].max() == pd.Timestamp("2026-01-07")
    assert data.test["date"].min() == pd.Timestamp("2026-01-08")
    assert (len(data.train), len(data.test)) == (28, 12)
    assert tuple(data.train) == ("customer", "date", "visits", "label")
    assert data.card.size == ("28 rows to train, 12 to test, those from 2026-01-08 on")
    assert data.test["customer"].iloc[0] == "c9-3"  # the order of the file


def test_earlier_rows_of_the_tested_are_left_out_and_told(tmp_path):
    rows = [*dated(), ("c9-0", "2026-01-01", 5, 0), ("c0-0", "2026-01-02", 5, 0)]
    data = load_customers_csv(write(tmp_path, rows, DATED), customer="who", date="when")
    assert not set(data.train["customer"]) & set(data.test["customer"])
    assert (data.train["customer"] == "c0-0").sum() == 2
    assert len(both(data)) == 41
    assert data.card.known_faults[-1] == (
        "1 earlier rows of customers who are tested are left out."
    )


def test_times_of_day_are_read(tmp_path):
    rows = [(who, f"{day} 1{i}:30", i, y) for who, day, i, y in dated()]
    path = write(tmp_path, rows, DATED)
    data = load_customers_csv(path, customer="who", date="when")
    assert data.train["date"][1] == pd.Timestamp("2026-01-01 11:30:00")
    assert (len(data.train), len(data.test)) == (32, 8)


@pytest.mark.parametrize(
    "day",
    ["31.01.2026", "1/2/2026", "2026-02-30", "20260131", "2026-1-3", "", "tomorrow"],
)
def test_what_is_no_date(tmp_path, day):
    rows = [*dated(), ("x", day, 1, 1)]
    message = r"shop\.csv, row 42: column 'when' (is empty|has the date .*2026-03-31 o)"
    with pytest.raises(ValueError, match=message):
        load_customers_csv(write(tmp_path, rows, DATED), customer="who", date="when")


def test_a_side_with_one_class_is_refused(tmp_path):
    rows = [(who, day, i, int(day > "2026-01-08")) for who, day, i, _ in dated()]
    message = r"by date: train has 32 rows and not both labels\. Choose another"
    with pytest.raises(ValueError, match=message):
        load_customers_csv(write(tmp_path, rows, DATED), customer="who", date="when")
    with pytest.raises(ValueError, match="all dates are 2026-01-01, expected 2"):
        load_customers_csv(
            write(tmp_path, dated(1, 20), DATED), customer="who", date="when"
        )


# The card ---------------------------------------------------------------------


def test_the_card_tells_what_was_found(tmp_path):
    rows = [(i if i else "", "ab"[i % 2], "eu", f"note {i}", i % 2) for i in range(19)]
    rows.append((rows[1][0], *rows[1][1:4], 0))
    path = write(tmp_path, rows, ("visits", "group", "zone", "note", "label"))
    card = load_customers_csv(path).card
    assert card.fields == {
        "visits": "column 'visits', 1 to 18, 1 missing",
        "group": "column 'group', text, 2 different, 0 missing",
        "zone": "column 'zone', text, 1 different, 0 missing",
        "note": "column 'note', text, 19 different, 0 missing",
        "label": "column 'label', 2 different",
    }
    assert card.known_faults == (
        "45.0% of the rows have label 1.",
        "1 of 20 rows repeat all attributes of an earlier row.",
        "1 of 80 cells of attributes are missing.",
        "Column 'zone' has one value only: it tells nothing.",
        "Column 'note' has 19 different texts in 20 rows: it may name the customers, "
        "which a model can learn by heart.",
        "No customer column was named: a customer may be on both sides.",
    )
    assert str(tmp_path) not in str(card)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["", "north", "5"])), min_size=8
    ),
    st.integers(0, 3),
)
def test_no_row_is_lost_and_no_customer_on_both_sides(tmp_path_factory, rows, seed):
    rows = [(f"c{who}", i, zone, i % 2) for i, (who, zone) in enumerate(rows)]
    rows += [(f"d{i}", i, "south", i % 2) for i in range(12)]
    header = ("customer", "visits", "zone", "label")
    path = write(tmp_path_factory.mktemp("shop"), rows, header)
    data = load_customers_csv(
        path, customer="customer", categories=["zone"], test_fraction=0.5, seed=seed
    )
    table = both(data).sort_values(["customer", "visits"]).fillna("")
    assert table.to_numpy().tolist() == sorted(map(list, rows))
    assert not set(data.train["customer"]) & set(data.test["customer"])


# Refusals ---------------------------------------------------------------------

LINES = "".join(f"{20 + i},north,{i % 2}\n" for i in range(10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows, expected customers below"),
        ("\n \n", "has no rows, expected customers below"),
        ("age,region,label\n", "has no rows, expected customers below"),
        ("age,region\n20,north\n", r"\['age', 'region'\], expected \['label'\] once"),
        ("age;label\n20;1\n", r"\['age;label'\].*Separate columns by commas"),
        ("age,age,label\n1,2,0\n", "has 2 columns 'age', expected 1"),
        ("age,label,label\n1,1,0\n", "has 2 columns 'label', expected 1"),
        ("age,,label\n1,2,0\n", "column 2 has no name"),
        ("label\n1\n0\n", r"has 0 attributes beside \['label'\], expected 1 or more"),
        ("age,customer,label\n1,a,0\n", r"named as customer=\. Pass customer='cust"),
        ("age,date,label\n1,a,0\n", r"named as date=\. Pass date='date', or rename"),
        (f"age,region,label\n{LINES}20,north,2\n", r"row 12: the label is '2', exp"),
        (f"age,region,label\n{LINES}20,north,\n", r"row 12: column 'label' is empty"),
        (f"age,region,label\n{LINES}20,1\n", r"row 12: 2 cells, expected 3 as in"),
        (f"age,region,label\n{LINES}\n20\n", r"row 13: 1 cells, expected 3 as in"),
        (
            f"age,region,label\n{LINES}forty,north,1\n",
            r"row 12: column 'age' holds numbers, and here 'forty'.*categories=\['age",
        ),
        (f'age,region,label\n{LINES}"4,000",b,1\n', r"row 12: column 'age' .*'4,000'"),
        ("age,region,label\n1,,0\n2, ,1\n", r"row 2 and all below: column 'region'"),
        ("age,region,label\n1,a,0\n2,b,0\n", "all 2 labels are 0, expected both 0 an"),
        (
            "age,region,label\n1,a,0\n2,b,1\n3,b,1\n",
            r"label 0 has 1 and label 1 has 2 separate groups \(rows that differ: pass",
        ),
        ('age,label\n"1,0\n', r"not a readable CSV file .*close each"),
    ],
)
def test_a_file_that_is_not_as_described(tmp_path, content, message):
    path = tmp_path / "shop.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"shop\.csv.*{message}"):
        load_customers_csv(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.csv\. Check"):
        load_customers_csv(tmp_path / "gone.csv")
    with pytest.raises(FileNotFoundError, match=r"is a folder, expected a CSV file"):
        load_customers_csv(tmp_path)


def test_another_encoding_and_a_wrong_one(tmp_path):
    rows = [(i, "Orl\u00e9ans", i % 2) for i in range(20)]
    path = write(tmp_path, rows, encoding="cp1252")
    data = load_customers_csv(path, encoding="cp1252")
    assert set(data.train["region"]) == {"Orl\u00e9ans"}
    with pytest.raises(
        ValueError, match=r"line 2, is not utf-8: byte 23 is 0xe9\. Save it"
    ):
        load_customers_csv(path)
    data = load_customers_csv(write(tmp_path, rows, encoding="utf-8-sig"))
    assert tuple(data.train) == HEADER


def test_an_empty_customer_and_names_that_are_not_there(tmp_path):
    rows = [("a", 1, 0), ("", 2, 1)]
    path = write(tmp_path, rows, ("who", "visits", "label"))
    with pytest.raises(ValueError, match="row 3: column 'who' is empty"):
        load_customers_csv(path, customer="who")
    with pytest.raises(ValueError, match=r"expected \['name', 'label'\] once each"):
        load_customers_csv(path, customer="name")
    with pytest.raises(ValueError, match=r"categories has 'zip', expected some of \['"):
        load_customers_csv(path, categories=["zip"])


@pytest.mark.parametrize("fraction", [-0.2, 0.01, 0.99, float("nan")])
def test_a_fraction_out_of_range(tmp_path, fraction):
    with pytest.raises(ValueError, match=r"expected 0\.05 to 0\.95"):
        load_customers_csv(write(tmp_path, plain()), test_fraction=fraction)


def test_the_file_is_left_alone(tmp_path):
    path = write(tmp_path, plain())
    before = path.read_bytes(), path.stat().st_mtime_ns
    load_customers_csv(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_random_number_outside_is_drawn(tmp_path):
    np.random.seed(0)
    load_customers_csv(write(tmp_path, plain()))
    after = np.random.random()
    np.random.seed(0)
    assert after == np.random.random()

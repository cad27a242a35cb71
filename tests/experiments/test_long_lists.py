"""Long lists leave the JSON file, and come back as they were."""

import json
import os

import numpy as np
import pytest

from marketllm.experiments import Experiment, Run, carry_out, load
from marketllm.experiments import runs as runner
from marketllm.experiments.long_lists import LONG

N = LONG + 1
RNG = np.random.default_rng(3)
DIGITS = RNG.random(N).round(4).tolist()
SINGLE = RNG.random(N).astype(np.float32).round(4).astype(float).tolist()
DOUBLE = RNG.random(N).tolist()


def experiment(stop_at=None):
    def plan(finished):
        lists = {"digits": DIGITS, "single": SINGLE, "double": DOUBLE}
        others = {"short": DIGITS[:LONG], "whole": list(range(N)), "words": ["a"] * N}
        for seed in range(2):
            trials = [{"scores": DIGITS}, {"scores": SINGLE}]
            result = {"scores": lists | others, "trials": trials, "auc": 0.5}

            def work(seed=seed, result=result):
                if seed == stop_at:
                    raise RuntimeError("the power went")
                return result

            yield Run(f"toy/{seed}", {"seed": seed}, work)

    return Experiment("toy", "long lists", lambda: {"train": "d"}, plan)


@pytest.fixture
def path(tmp_path):
    return carry_out(experiment(), tmp_path)


def test_lists_come_back_to_the_last_bit(path):
    scores = load("toy", path.parent)["runs"]["toy/1"]["result"]["scores"]
    expected = (("digits", DIGITS), ("single", SINGLE), ("double", DOUBLE))
    for name, values in expected:
        assert scores[name] == values, name
    assert scores["whole"] == list(range(N))
    assert scores["short"] == DIGITS[:LONG]


def test_only_what_four_bytes_hold_leaves_the_file(path):
    kept = json.loads(path.read_text("utf8"))["runs"]["toy/0"]["result"]["scores"]
    gone = {name for name, value in kept.items() if isinstance(value, dict)}
    assert gone == {"digits", "single"}
    assert kept["digits"]["length"] == N


def test_lists_of_tries_leave_the_file_too(path):
    kept = json.loads(path.read_text("utf8"))["runs"]["toy/0"]["result"]["trials"]
    places = [trial["scores"]["entry"] for trial in kept]
    assert places == [f"toy/0/result/trials/{i}/scores" for i in (0, 1)]
    found = load("toy", path.parent)["runs"]["toy/0"]["result"]["trials"]
    assert found == [{"scores": DIGITS}, {"scores": SINGLE}]


def test_one_file_of_lists_lies_beside(path):
    assert sorted(os.listdir(path.parent)) == ["toy.json", "toy.npz"]


def test_going_on_changes_no_byte(path):
    before = [path.read_bytes(), path.with_suffix(".npz").read_bytes()]
    carry_out(experiment(), path.parent)
    assert [path.read_bytes(), path.with_suffix(".npz").read_bytes()] == before


def test_a_stop_between_the_two_files_loses_nothing(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError):
        carry_out(experiment(stop_at=1), tmp_path)
    replace = os.replace

    def stop_at_json(source, target):
        if str(target).endswith(".json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop_at_json)
    with pytest.raises(KeyboardInterrupt):
        carry_out(experiment(), tmp_path)
    monkeypatch.undo()
    runs = load("toy", tmp_path)["runs"]
    assert list(runs) == ["toy/0"]
    assert runs["toy/0"]["result"]["scores"]["digits"] == DIGITS


def test_a_missing_torn_or_changed_file_is_told(path):
    beside = path.with_suffix(".npz")
    whole = beside.read_bytes()
    beside.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"toy\.npz is torn .*fetch them again"):
        load("toy", path.parent)
    beside.unlink()
    with pytest.raises(ValueError, match=r"'toy/0/result/scores/digits' .*is missing"):
        load("toy", path.parent)
    beside.write_bytes(whole)
    with np.load(beside) as file:
        lists = dict(file)
    lists["toy/1/result/scores/single"][7] += 1
    with beside.open("wb") as file:
        np.savez_compressed(file, **lists)
    with pytest.raises(ValueError, match=r"'toy/1/.*single' .*has been changed"):
        load("toy", path.parent)


def test_the_results_of_the_book_are_in_one_form(tmp_path):
    """Whoever resumes an experiment of the book changes no line but his own."""
    folder = next(place for place in runner.BOOK_RESULTS if place.is_dir())
    for name in sorted(path.stem for path in folder.glob("*.json")):
        runner._write(tmp_path / f"{name}.json", load(name))
        ours = (folder / f"{name}.json").read_bytes()
        assert (tmp_path / f"{name}.json").read_bytes() == ours, name


def test_the_results_of_the_book_are_short_enough_to_read():
    """A file of several thousand lines is read by nobody; one of megabytes less."""
    folder = next(place for place in runner.BOOK_RESULTS if place.is_dir())
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.json")}
    assert len(sizes) >= 13
    assert {name: size for name, size in sizes.items() if size > 600_000} == {}

"""The runner: nothing is lost, nothing is repeated, nothing foreign is mixed in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marketllm.experiments import Experiment, Run, __main__, carry_out, load
from marketllm.experiments import runs as runner


def counting(done, settings=("a", "b"), data="d1", fail_at=None):
    """Two small runs; the second adds 1 to what the first found."""

    def work(name, result):
        def go():
            if name == fail_at:
                raise RuntimeError("the power went")
            done.append(name)
            return result

        return go

    def plan(finished):
        yield Run("first", {"setting": settings[0]}, work("first", {"value": [1, 2]}))
        result = {"value": finished["first"]["value"][1] + 1}
        yield Run("second", {"setting": settings[1]}, work("second", result))

    return Experiment("toy", "two small runs", lambda: {"train": data}, plan)


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_all_runs_are_in_the_file_with_their_provenance(tmp_path):
    path = carry_out(counting([]), tmp_path / "new" / "folder")
    book = read(path)
    assert path.name == "toy.json"
    assert (book["experiment"], book["about"]) == ("toy", "two small runs")
    assert book["data"] == {"train": "d1"}
    assert list(book["runs"]) == ["first", "second"]
    assert book["runs"]["second"]["result"] == {"value": 3}
    for run in book["runs"].values():
        assert run["cpu_seconds"] >= 0
        assert run["provenance"]["threads"] == 1
        assert run["provenance"]["packages"]["torch"]
        assert run["provenance"]["processor"]
    assert load("toy", path.parent) == book
    assert os.listdir(path.parent) == ["toy.json"]


def test_a_stopped_experiment_goes_on_and_repeats_nothing(tmp_path):
    done = []
    with pytest.raises(RuntimeError, match="the power went"):
        carry_out(counting(done, fail_at="second"), tmp_path)
    kept = read(tmp_path / "toy.json")["runs"]["first"]
    assert list(read(tmp_path / "toy.json")["runs"]) == ["first"]
    carry_out(counting(done), tmp_path)
    assert done == ["first", "second"]
    assert read(tmp_path / "toy.json")["runs"]["first"] == kept
    before = (tmp_path / "toy.json").read_bytes()
    carry_out(counting(done), tmp_path)
    assert done == ["first", "second"]
    assert (tmp_path / "toy.json").read_bytes() == before


def test_a_killed_process_loses_no_finished_run(tmp_path):
    program = """
import os, signal, sys
from marketllm.experiments import Experiment, Run, carry_out
def plan(finished):
    yield Run("first", {}, lambda: {"value": 1})
    yield Run("second", {}, lambda: os.kill(os.getpid(), signal.SIGKILL))
carry_out(Experiment("toy", "", dict, plan), sys.argv[1])
"""
    call = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(call, check=False).returncode == -9
    assert list(read(tmp_path / "toy.json")["runs"]) == ["first"]


@pytest.mark.parametrize("moment", ["writing", "replacing"])
def test_a_stop_while_writing_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = carry_out(counting([]), tmp_path)
    book = read(path)
    book["runs"].pop("second")
    runner._write(path, book)
    before = path.read_bytes()

    def half(self, text, **rest):
        self.write_bytes(text[: len(text) // 2].encode())
        raise KeyboardInterrupt

    def stop(*names):
        raise KeyboardInterrupt

    if moment == "writing":
        monkeypatch.setattr(Path, "write_text", half)
    else:
        monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        carry_out(counting([]), tmp_path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    carry_out(counting([]), tmp_path)
    assert list(read(path)["runs"]) == ["first", "second"]


def test_other_settings_are_refused_and_the_file_is_left_alone(tmp_path):
    path = carry_out(counting([]), tmp_path)
    before = path.read_bytes()
    done = []
    with pytest.raises(
        ValueError,
        match=r"toy\.json: the run 'second' was made with {'setting': 'b'}, but the "
        r"experiment now says {'setting': 'c'}; .*--folder",
    ):
        carry_out(counting(done, settings=("a", "c")), tmp_path)
    assert not done
    assert path.read_bytes() == before


def test_other_data_are_refused_and_the_file_is_left_alone(tmp_path):
    path = carry_out(counting([]), tmp_path)
    before = path.read_bytes()
    done = []
    with pytest.raises(
        ValueError, match=r"toy\.json was made with other data: .*'d1'.*'d2'"
    ):
        carry_out(counting(done, data="d2"), tmp_path)
    assert not done
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        '{"experiment": "toy", "runs": {"first": {"resu',
        "",
        "[1, 2]",
        '{"experiment": "other", "data": {}, "runs": {}}',
        '{"experiment": "toy", "runs": {}}',
        '{"experiment": "toy", "data": {}, "runs": []}',
        b"\xff\xfe\x00",
    ],
)
def test_a_torn_or_foreign_file_is_named_and_left_alone(tmp_path, content):
    path = tmp_path / "toy.json"
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"toy\.json does not hold results of 'toy'"):
        carry_out(counting([]), tmp_path)
    with pytest.raises(ValueError, match=r"toy\.json .*torn or foreign"):
        load("toy", tmp_path)
    assert path.read_bytes() == raw


def test_settings_are_compared_as_json_keeps_them(tmp_path):
    done = []
    carry_out(counting(done, settings=((1, 2), "b")), tmp_path)
    carry_out(counting(done, settings=([1, 2], "b")), tmp_path)
    assert done == ["first", "second"]


def test_rows_of_numbers_stand_on_one_line(tmp_path):
    path = carry_out(counting([]), tmp_path)
    assert '"value": [ 1, 2 ]' in path.read_text(encoding="utf-8")


def test_load_says_how_to_make_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no toy\.json .*experiments toy"):
        load("toy", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no toy\.json in the results of the"):
        load("toy")


def test_load_takes_the_installed_copy_where_there_is_no_repository(
    tmp_path, monkeypatch
):
    carry_out(counting([]), tmp_path / "installed")
    places = [tmp_path / "none", tmp_path / "installed"]
    monkeypatch.setattr(runner, "BOOK_RESULTS", places)
    assert list(load("toy")["runs"]) == ["first", "second"]


def test_the_command_runs_an_experiment_and_names_the_file(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(__main__, "EXPERIMENTS", {"toy": counting([])})
    monkeypatch.setattr(sys, "argv", ["x", "toy", "--folder", str(tmp_path)])
    with caplog.at_level("INFO"):
        __main__.main()
    assert list(read(tmp_path / "toy.json")["runs"]) == ["first", "second"]
    assert "first: done" in caplog.text
    assert "toy.json" in caplog.text


def test_the_command_tells_a_refusal_without_a_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(__main__, "EXPERIMENTS", {"toy": counting([])})
    monkeypatch.setattr(sys, "argv", ["x", "toy", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        __main__.main()
    assert stopped.value.code == 1
    assert "torn or foreign" in capsys.readouterr().err


def test_the_command_lists_the_experiments(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])
    __main__.main()
    assert "first_result" in capsys.readouterr().out


def test_the_command_refuses_an_unknown_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "secnd_result"])
    with pytest.raises(SystemExit) as stopped:
        __main__.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "no experiment 'secnd_result'; choose from: first_result" in said

"""Provenance: enough to judge a number by, nothing about a person or a folder."""

import json
import shutil
import subprocess

import pytest

from marketllm.experiments import origin


def test_every_question_is_answered():
    found = origin.provenance()
    assert found["date"].endswith("+00:00")
    assert set(found["packages"]) == set(origin.PACKAGES)
    assert found["threads"] == 1
    assert found["dtype"] == "float32"
    assert len(found["processor"]) > 2
    text = json.dumps(found)
    assert "/root" not in text
    assert "/home" not in text


def test_the_commit_is_the_one_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(origin, "REPOSITORY", tmp_path)
    assert origin._commit() is None  # no repository
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*words):
        who = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org"]
        call = ["git", "-C", str(tmp_path), *who, *words]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    assert origin._commit() is None  # a repository without a commit
    git("commit", "-q", "--allow-empty", "-m", "one")
    assert origin._commit() == git("rev-parse", "HEAD")
    assert len(origin._commit()) == 40
    (tmp_path / "marketllm").mkdir()
    (tmp_path / "marketllm" / "new.py").write_text("x = 1\n", encoding="utf-8")
    assert origin._commit() == git("rev-parse", "HEAD") + "+"  # not committed yet

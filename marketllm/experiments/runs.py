"""Run an experiment one run at a time, and keep each finished run in a file.

The file is written anew after every run, in one step. So an experiment that was
stopped goes on where it was: finished runs are read back, not repeated.

Lists of more than a thousand scores stand in a compressed file of the same name
beside it (`long_lists`); who reads the results does not notice.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketllm.experiments.long_lists import put_back, take_out
from marketllm.experiments.origin import provenance

# The repository's folder, or the copy that is installed with the package.
BOOK_RESULTS = [Path(__file__).resolve().parents[n] / "results" for n in (2, 1)]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run of an experiment; settings and result hold what JSON can hold.

    Parameters
    ----------
    name : str
        Names the run in the file.
    config : mapping
        All its settings. A finished run is kept only if they are still the same.
    work : callable
        Does the run and returns its result.
    """

    name: str
    config: Mapping[str, Any]
    work: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """Runs that share one file.

    Parameters
    ----------
    name, about : str
        Names the file, and says in a sentence what it holds.
    fingerprints : callable
        Returns the fingerprints of the data.
    runs : callable
        Returns the runs in order. It is given the results so far by name, so that
        a run may depend on earlier ones.
    """

    name: str
    about: str
    fingerprints: Callable[[], dict[str, str]]
    runs: Callable[[Mapping[str, dict[str, Any]]], Iterator[Run]]


def carry_out(experiment: Experiment, folder: str | Path = "results") -> Path:
    """Do the runs that the file does not hold yet.

    Parameters
    ----------
    experiment : Experiment
        What to do.
    folder : str or Path
        Where the file ``<name>.json`` is or will be.

    Returns
    -------
    Path
        The file: one entry a run, with its settings, result, time and provenance.

    Raises
    ------
    ValueError
        If the file is torn or foreign, or was made with other data or settings.
    """
    path = Path(folder) / f"{experiment.name}.json"
    data = experiment.fingerprints()
    head = {"experiment": experiment.name, "about": experiment.about, "data": data}
    new: dict[str, Any] = head | {"runs": {}}
    book = _read(path, experiment.name) if path.exists() else new
    remedy = "move that file away, or name another place with --folder."
    if book["data"] != data:
        raise ValueError(
            f"{path} was made with other data: fingerprints {book['data']}, "
            f"but now {data}; {remedy}"
        )
    finished = {name: entry["result"] for name, entry in book["runs"].items()}
    for run in experiment.runs(finished):
        config = json.loads(json.dumps(run.config))
        if run.name in book["runs"]:
            kept = book["runs"][run.name]["config"]
            if kept != config:
                raise ValueError(
                    f"{path}: the run {run.name!r} was made with {kept}, but the "
                    f"experiment now says {config}; {remedy}"
                )
            log.info("%s: kept", run.name)
            continue
        started = time.process_time()
        result = json.loads(json.dumps(run.work()))
        seconds = round(time.process_time() - started, 2)
        entry = {"config": config, "result": result, "cpu_seconds": seconds}
        book["runs"][run.name] = entry | {"provenance": provenance()}
        _write(path, book)
        finished[run.name] = result
        log.info("%s: done in %.0f CPU seconds", run.name, seconds)
    return path


def load(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """Read the results of an experiment.

    Parameters
    ----------
    name : str
        The experiment.
    folder : str or Path, optional
        Where the file is. Default: the book's results.

    Returns
    -------
    dict
        ``experiment``, ``about``, ``data`` and ``runs``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is torn or is not of this experiment.
    """
    places = [Path(folder)] if folder is not None else BOOK_RESULTS
    for place in places:
        if (place / f"{name}.json").is_file():
            return _read(place / f"{name}.json", name)
    raise FileNotFoundError(
        f"There is no {name}.json in {folder or 'the results of the book'}. Make it "
        f"where the repository lies: python -m marketllm.experiments {name}"
    )


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        found = book["experiment"]
        complete = isinstance(book["runs"], dict) and "data" in book
    except (ValueError, KeyError, TypeError) as error:
        found, complete = repr(error), False
    if not complete or found != name:
        raise ValueError(
            f"{path} does not hold results of {name!r} (found: {found}): it is torn or "
            "foreign. Move it away, or fetch it again from the repository."
        )
    return dict(book) | {"runs": put_back(path, book["runs"])}


def _write(path: Path, book: dict[str, Any]) -> None:
    """Replace the file in one step: a reader sees the old one or the new one.

    The long lists are written before: until then nothing refers to the new ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(book | {"runs": take_out(path, book["runs"])}, indent=1)
    # Rows of numbers on one line each.
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda row: " ".join(row[0].split()), text)
    part = path.with_suffix(".part")
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)

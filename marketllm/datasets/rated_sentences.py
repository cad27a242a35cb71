"""Sentences of product reviews that twenty people rated, fetched once."""

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from marketllm.datasets.card import DataCard, Dataset
from marketllm.datasets.split import _parts

_SDIST = "vaderSentiment-3.3.2.tar.gz"
_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
_TEXTS = "amazonReviewSnippets_GroundTruth.txt"
_RATINGS = "amazonReviewSnippets_anonDataRatings.txt"
_SHA256 = {
    _SDIST: "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    _TEXTS: "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    _RATINGS: "d7d909adab91e0b4d5084251fc825f15baff66277c52eaa705b40fc464fa274b",
}
_HOW = "Fetch them once: python -m marketllm.datasets"
_N_TEST_REVIEWS = 60

_CARD = DataCard(
    name="Rated sentences of product reviews",
    source=(
        "Hutto and Gilbert (2014), VADER, ICWSM, from the source distribution of the "
        "Python package vaderSentiment 3.3.2; the reviews are those of Hu and Liu "
        "(2004), Mining and summarizing customer reviews, KDD"
    ),
    licence=(
        "The package vaderSentiment states MIT. It does not say whether that covers "
        "the texts, which Amazon's customers wrote: the licence of the texts is not "
        "known"
    ),
    size=(
        "2,989 sentences of 240 reviews to train, 719 sentences of 60 reviews to "
        "test; the split is ours"
    ),
    fields={
        "text": "a sentence in English, in lower case, 1 to 146 words",
        "rating": (
            "mean of the 20 people's ratings, each a whole number from -4 (extremely "
            "negative) to 4 (extremely positive), 0 = neutral"
        ),
        "deviation": (
            "standard deviation of the 20 ratings (divided by 20, not 19): how far "
            "people disagree"
        ),
        "review": "number of the review that the sentence is from",
    },
    known_faults=(
        "The raters are not the customers. The file that comes with the data calls "
        "them independent, pre-screened, trained and checked, and tells nothing else "
        "of them.",
        "That file speaks of 309 reviews of 5 products. The numbers run to 309, but "
        "only 300 of them have a sentence, and no product is named.",
        "A program cut the reviews into sentences: 3 sentences in the whole are a "
        "lone exclamation mark.",
        "Each sentence was rated alone, without the review around it.",
        "11 of the 3,708 sentences repeat an earlier text and have a rating of their "
        "own; 1 text of the test part also stands in the training part.",
        "Capital letters are gone, and with them what they stressed.",
        "The reviews are of 2004 or before, of players, cameras and telephones.",
    ),
)


def load_rated_sentences(path: str | Path | None = None) -> Dataset:
    """Load 3,708 sentences of product reviews with the ratings of twenty people.

    Nothing is downloaded here. ``python -m marketllm.datasets`` fetches the data
    once, as a part of a package, and puts them into the environment.

    Parameters
    ----------
    path : str or pathlib.Path, optional
        Where to read instead: the source distribution of vaderSentiment 3.3.2, the
        archive of the data in it, or a folder with the two files.

    Returns
    -------
    Dataset
        2,989 sentences to train and 719 to test. All sentences of a review are on
        one side.

    Raises
    ------
    FileNotFoundError
        If the data were not fetched, or there is nothing at ``path``.
    ValueError
        If they are not the ones this book was written with.

    Notes
    -----
    Source: Hutto and Gilbert (2014), "VADER: a parsimonious rule-based model for
    sentiment analysis of social media text", ICWSM. The 60 reviews of the test part
    are those whose number has the smallest SHA-256.
    """
    files = _read(_home() if path is None else Path(path))
    deviation = {}
    for line in files[_RATINGS].decode("utf-8-sig").split("\r\n"):
        name, _, spread, _ = line.split("\t")
        deviation[name] = float(spread)
    rows = []
    for line in files[_TEXTS].decode("utf-8").split("\r\n"):
        name, rating, text = line.split("\t")
        review = int(name.partition("_")[0])
        rows.append((text, float(rating), deviation[name], review))
    frame = pd.DataFrame(rows, columns=pd.Index(_CARD.fields))
    reviews = sorted(
        set(frame["review"].tolist()),
        key=lambda number: hashlib.sha256(str(number).encode()).digest(),
    )
    tested = frame["review"].isin(reviews[:_N_TEST_REVIEWS])
    return Dataset(_CARD, *_parts(frame, tested.to_numpy()))


def _home() -> Path:
    """Give the folder of the environment that keeps the two files."""
    return Path(sys.prefix, "share", "marketllm", "rated_sentences")


def _read(path: Path) -> dict[str, bytes]:
    """Read the two files from a folder or an archive and check their content."""
    if not path.exists():
        raise FileNotFoundError(f"The rated sentences are not in {path}. {_HOW}")
    found: dict[str, bytes] = {}
    if path.is_dir():
        for name in (_TEXTS, _RATINGS):
            if (path / name).is_file():
                found[name] = (path / name).read_bytes()
    else:
        try:
            found = dict(_unpack(path.read_bytes()))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(
                f"{path} is no archive that can be read ({error}). {_HOW}"
            ) from error
    for name in (_TEXTS, _RATINGS):
        if name not in found:
            raise ValueError(f"{path} has no file {name}. {_HOW}")
        _check(name, found[name], path)
    return found


def _unpack(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Give the two files of an archive, or of the archive in it."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            name = Path(member.name).name
            content = files.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            if name == _ARCHIVE:
                yield from _unpack(content.read())
            elif name in (_TEXTS, _RATINGS):
                yield name, content.read()


def _check(name: str, content: bytes, path: Path) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256[name]:
        raise ValueError(
            f"{name} in {path} has the SHA-256 {digest}, expected {_SHA256[name]}. "
            f"{_HOW}"
        )


def _keep(sdist: Path, home: Path) -> None:
    """Check a source distribution and put its two files into a folder, or none."""
    _check(_SDIST, sdist.read_bytes(), sdist.parent)
    files = _read(sdist)
    home.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # Written beside its place and then moved: never seen in part.
        part = home / f"{name}.{os.getpid()}"
        part.write_bytes(content)
        os.replace(part, home / name)

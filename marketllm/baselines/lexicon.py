"""A list of words with their feeling: VADER, from its authors' library."""

from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float


def vader_scores(texts: Collection[str]) -> Float[np.ndarray, " N"]:
    r"""Give VADER's compound score of English texts; nothing is learned.

    Each word of a list has a valence, the mean of ten people's ratings. A word that
    negates turns and weakens it, others make it stronger or weaker. The sum s of a
    text becomes

    .. math:: s / \sqrt{s^2 + 15}

    Parameters
    ----------
    texts : collection of str
        Texts.

    Returns
    -------
    ndarray of shape (N,)
        From -1 (blame) to 1 (praise); 0 where no word is on the list. Its authors
        call a text neutral within 0.05 of 0.

    Raises
    ------
    ModuleNotFoundError
        If ``vaderSentiment`` is not installed.

    References
    ----------
    Hutto and Gilbert (2014), VADER: a parsimonious rule-based model for sentiment
    analysis of social media text, ICWSM.
    """
    analyser = _analyser()
    return np.array([analyser.polarity_scores(text)["compound"] for text in texts])


@cache
def _analyser() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "VADER comes in the package vaderSentiment, which is not installed. "
            'Install it: pip install "marketllm[applications]".',
            name="vaderSentiment",
        ) from error
    return SentimentIntensityAnalyzer()

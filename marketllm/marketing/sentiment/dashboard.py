"""What the customers of a product say of each aspect, and how many say it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from marketllm.marketing.sentiment.aspects import ASPECTS, Aspect, split_clauses
from marketllm.marketing.sentiment.texts import _check_texts

_COLUMNS = ("review", "aspect", "clause", "score")


def aspect_opinions(
    texts: Collection[str],
    score: Callable[[list[str]], Any],
    aspects: Mapping[str, Aspect] = ASPECTS,
) -> pd.DataFrame:
    """Cut reviews into clauses, and score each clause that names an aspect.

    Parameters
    ----------
    texts : collection of str
        Reviews of one product.
    score : callable
        Maps a list of clauses to a number each: above 0 is praise, below 0 blame.
        `SentimentGrader.predict` is one.
    aspects : mapping of str to Aspect
        What is looked for.

    Returns
    -------
    pandas.DataFrame
        One row a clause and aspect: ``review`` (its number in ``texts``), ``aspect``,
        ``clause`` and ``score``. A clause that names two aspects has two rows.

    Raises
    ------
    ValueError
        If a text cannot be read, or ``score`` does not give a number for each clause.
    """
    rows = [
        (number, name, clause)
        for number, text in enumerate(_check_texts(texts))
        for clause in split_clauses(text, aspects)
        for name, aspect in aspects.items()
        if aspect.found_in(clause)
    ]
    found = pd.DataFrame(rows, columns=pd.Index(_COLUMNS[:3]))
    clauses = found["clause"].drop_duplicates().tolist()
    scores = np.asarray(score(clauses), dtype=float) if clauses else np.empty(0)
    if scores.shape != (len(clauses),) or not np.isfinite(scores).all():
        raise ValueError(
            f"score gave an array of shape {scores.shape} for {len(clauses)} clauses: "
            "it has to give one finite number for each."
        )
    by_clause = dict(zip(clauses, scores.tolist(), strict=True))
    found["score"] = found["clause"].map(by_clause).astype(float)
    return found


def product_dashboard(
    opinions: pd.DataFrame,
    neutral: float = 0.5,
    min_reviews: int = 5,
    confidence: float = 0.95,
    aspects: Sequence[str] = tuple(ASPECTS),
) -> pd.DataFrame:
    r"""Count for each aspect how many reviews praise it and how many blame it.

    A review has one voice for an aspect: the mean score of its clauses. Within
    ``neutral`` of 0 it is no opinion. The interval is Wilson's, for k of n reviews:

    .. math:: \frac{k + z^2/2}{n + z^2} \pm
        \frac{z}{n + z^2} \sqrt{\frac{k (n - k)}{n} + \frac{z^2}{4}}

    It covers which customers happened to write, nothing else: not the mistakes of the
    model, and not the customers who never write.

    Parameters
    ----------
    opinions : pandas.DataFrame
        From `aspect_opinions`.
    neutral : float
        Half the width of the band of no opinion, on the scale of the scores.
    min_reviews : int
        With fewer opinions no share is given.
    confidence : float
        Above 0 and below 1.
    aspects : sequence of str
        The rows.

    Returns
    -------
    pandas.DataFrame
        By aspect: ``reviews`` that name it, ``positive`` and ``negative`` ones, and
        of these two the ``share`` positive with ``low`` and ``high``; the last three
        are missing where there are too few.

    Raises
    ------
    ValueError
        If columns are missing, a score is not finite, or a setting is out of range.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22.
    """
    _check_settings(opinions, neutral, min_reviews, confidence)
    voices = opinions.groupby(["aspect", "review"])["score"].mean()
    rows = {}
    for name in aspects:
        here = voices[voices.index.get_level_values("aspect") == name].to_numpy()
        n_good, n_bad = int((here > neutral).sum()), int((here < -neutral).sum())
        share, low, high = np.nan, np.nan, np.nan
        if n_good + n_bad >= min_reviews:
            test = stats.binomtest(n_good, n_good + n_bad)
            ends = test.proportion_ci(confidence, method="wilson")
            share, low, high = test.statistic, ends.low, ends.high
        rows[name] = (len(here), n_good, n_bad, share, low, high)
    columns = pd.Index(["reviews", "positive", "negative", "share", "low", "high"])
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _check_settings(
    opinions: pd.DataFrame, neutral: float, min_reviews: int, confidence: float
) -> None:
    missing = [name for name in _COLUMNS if name not in opinions]
    if missing:
        raise ValueError(
            f"opinions has the columns {list(opinions)}, but {missing} are missing: "
            "make it with aspect_opinions."
        )
    if not np.isfinite(opinions["score"].to_numpy(dtype=float)).all():
        raise ValueError("opinions has scores that are NaN or infinite, expected none.")
    if not neutral >= 0:
        raise ValueError(f"neutral is {neutral}: give 0 or a number above it.")
    if min_reviews < 1:
        raise ValueError(f"min_reviews is {min_reviews}: give at least 1.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected above 0 and below 1.")

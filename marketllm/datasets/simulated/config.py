"""The dials of the simulated customers."""

import math
from dataclasses import dataclass

_COUNTS = {"n_train": 2, "n_test": 2, "n_events": 1, "gap": 1, "n_distractors": 0}
_STRENGTHS = ("attribute_signal", "event_signal", "text_signal", "treatment_effect")
_SHARES = ("missing", "duplicates")
_PLACES = 4  # starting places that each pair needs, where pairs are few


@dataclass(frozen=True)
class SimulationConfig:
    """Say which customers are simulated.

    Parameters
    ----------
    n_train, n_test : int
        Customers in each part, at least 2.
    n_events : int
        Events of each customer, one a day, T.
    gap : int
        How many events after its offer the visit of the pair that counts stands, g.
    n_distractors : int
        Pairs of an offer and a visit that stand at other distances, beside.
    base_rate : float
        Mean chance of label 1 before labels are turned, above 0 and below 1.
    attribute_signal, event_signal, text_signal, treatment_effect : float
        Strength of each part on the log-odds; 0 switches it off.
    label_noise : float
        Share of the labels that are turned round, from 0 to 0.5.
    missing : float
        Share of the attribute cells that are empty, from 0 up to 1.
    duplicates : float
        Share of the rows that are copies of another row, from 0 up to 1.

    Raises
    ------
    ValueError
        If a dial stands where nothing can be simulated.
    """

    n_train: int = 4000
    n_test: int = 4000
    n_events: int = 48
    gap: int = 8
    n_distractors: int = 1
    base_rate: float = 0.3
    attribute_signal: float = 1.0
    event_signal: float = 3.0
    text_signal: float = 1.0
    treatment_effect: float = 0.5
    label_noise: float = 0.0
    missing: float = 0.0
    duplicates: float = 0.0

    def __post_init__(self) -> None:
        for name, least in _COUNTS.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: give at least {least}."
                )
        n_starts, n_pairs = self.n_events - self.gap, 1 + self.n_distractors
        # Each offer may clash with each visit: the room needed grows as the square.
        n_needed = n_pairs * max(_PLACES, n_pairs)
        if n_starts < n_needed:
            raise ValueError(
                f"{self.n_events} events with a gap of {self.gap} leave "
                f"{max(n_starts, 0)} starting places for {n_pairs} pairs, but "
                f"{n_needed} are needed: take n_events={self.gap + n_needed}, a "
                "shorter gap or fewer distractors."
            )
        if not 0 < self.base_rate < 1:
            raise ValueError(
                f"base_rate is {self.base_rate}: give a share above 0 and below 1."
            )
        for name in _STRENGTHS:
            strength = getattr(self, name)
            if not (math.isfinite(strength) and strength >= 0):
                raise ValueError(
                    f"{name} is {strength}: give a strength of 0 (off) or above."
                )
        if not 0 <= self.label_noise <= 0.5:
            raise ValueError(
                f"label_noise is {self.label_noise}: give 0 to 0.5, where 0.5 makes "
                "every label a coin; beyond that labels would mean their opposite."
            )
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: give a share from 0 up to "
                    "(not with) 1."
                )


def distance_dial(
    gap: int, n_train: int = 4000, n_test: int = 4000, n_distractors: int = 1
) -> SimulationConfig:
    """Set the dials so that the label hangs on one distance and nothing else.

    Half of the customers have the pair. With it the chance of label 1 is 0.9, and
    without it 0.1, so the best possible accuracy is 0.9.

    Parameters
    ----------
    gap : int
        The distance from the offer to the visit, in events out of 48.
    n_train, n_test : int
        Customers in each part.
    n_distractors : int
        Pairs at other distances.

    Returns
    -------
    SimulationConfig

    Raises
    ------
    ValueError
        As for `SimulationConfig`.
    """
    return SimulationConfig(
        n_train=n_train,
        n_test=n_test,
        gap=gap,
        n_distractors=n_distractors,
        base_rate=0.5,
        attribute_signal=0.0,
        event_signal=2 * math.log(9),
        text_signal=0.0,
        treatment_effect=0.0,
    )

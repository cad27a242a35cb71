"""Draw customers, and keep what a real data set never tells: the chances."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from marketllm.datasets.card import Dataset
from marketllm.datasets.simulated.ceiling import Ceiling, _ceiling
from marketllm.datasets.simulated.config import SimulationConfig
from marketllm.datasets.simulated.description import _card
from marketllm.datasets.simulated.events import _draw_events, _event_frame, _has_pair
from marketllm.datasets.simulated.messages import _draw_messages
from marketllm.datasets.simulated.people import (
    _attribute_part,
    _draw_people,
    _effect_part,
    _lose_cells,
)

Numbers = NDArray[np.float64]
_PARTS = ("train", "test")


@dataclass(frozen=True, eq=False)
class SimulatedCustomers:
    """Hold simulated customers and the truth about them.

    Attributes
    ----------
    data : Dataset
        What a company would see: attributes, campaign, text, label, and events.
    config : SimulationConfig
        The dials.
    probabilities : Mapping of str to ndarray of shape (N,)
        For "train" and "test": the chance of label 1, given all of the customer, and
        with the turned labels in it.
    effects : Mapping of str to ndarray of shape (N,)
        That chance if treated minus that chance if not.
    originals : Mapping of str to ndarray of shape (N,)
        The number of the customer whose row this is: the own one, but for copies.
    """

    data: Dataset
    config: SimulationConfig
    probabilities: Mapping[str, Numbers]
    effects: Mapping[str, Numbers]
    originals: Mapping[str, NDArray[Any]]

    def ceiling(self, part: str = "test") -> Ceiling:
        """Give the best possible scores on one part.

        They bind a model that has not seen these customers. Where rows of the part
        are copies of rows that it learned from (see ``originals``), it can do
        better by remembering them. With missing cells they are an upper limit that
        cannot be reached, for the chances are those of the whole truth.

        Parameters
        ----------
        part : {"train", "test"}
            Which part.

        Returns
        -------
        Ceiling
            Expected scores, and those on the labels drawn.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        frame = self._frame(part)
        return _ceiling(self.probabilities[part], frame["label"].to_numpy())

    def rule(self, part: str = "test") -> Numbers:
        """Score customers by the distance alone, as one would who knows the rule.

        Parameters
        ----------
        part : {"train", "test"}
            Which part.

        Returns
        -------
        ndarray of shape (N,)
            1.0 where a visit stands exactly ``gap`` events after an offer, else 0.0.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        events, names = self.data.events, self._frame(part)["customer"]
        if events is None:
            raise ValueError(f"{self.data!r} has lost its events: keep them.")
        kinds = events.loc[events["customer"].isin(names), "kind"].to_numpy(dtype=str)
        return _has_pair(
            kinds.reshape(len(names), self.config.n_events), self.config.gap
        ).astype(float)

    def _frame(self, part: str) -> pd.DataFrame:
        if part not in _PARTS:
            raise ValueError(f"part is {part!r}; choose 'train' or 'test'.")
        return self.data.train if part == "train" else self.data.test


def simulate_customers(
    config: SimulationConfig | None = None, seed: int = 0
) -> SimulatedCustomers:
    r"""Draw customers whose chance of label 1 is known.

    The label says whether the customer buys. With the strengths a, e, t and c of the
    dials,

    .. math::

        \operatorname{logit} p = b + a\, u + e\, [z = 1] + t\, v + c\, w\, \tau

    and labels are turned round with the chance :math:`\eta` of ``label_noise``:

    .. math:: p' = p (1 - \eta) + (1 - p)\, \eta

    b is solved so that the mean of p over all customers is ``base_rate``.

    - **Attributes.** :math:`u = 0.5 (\ln \text{income} - 10.3) / 0.4
      + 0.5 (\ln(1 + \text{tenure}) - 3) + r - 0.8 [\text{age} \ge 60]
      + 0.8 [\text{age} < 35 \text{ and phone}]`, where r is 0.5 in the north, -0.5
      in the east and else 0. Age is normal (42, 14) within 18 to 80, income
      :math:`\exp(10.2 + 0.2 \sin(\pi (\text{age} - 18) / 62) + 0.4 \epsilon)` a
      year, tenure exponential with a mean of 30 months, at most 120. Regions: 30%
      north, 30% south, 25% east, 15% west. Below 35 years 75% use a phone, below 60
      50%, else 30%; of the others 70% a desktop and 30% a tablet.
    - **Events.** One a day, T in all, of 12 kinds. Each customer has as many offers
      and as many visits, 1 + ``n_distractors``. In a random half of each part z = 1:
      one visit stands exactly g = ``gap`` events after an offer. In the other half
      none does, and no pair of any two does by accident in either. The place a of
      an offer is even on 0 to T - g - 1 and that of a visit on g to T - 1, in all
      pairs of both halves (but for a slight shift by redrawing the histories with a
      clash), so counts and places tell nothing. The other places hold other kinds,
      each as likely.
    - **Text.** Two sentences, each for buying (+1), neutral (0) or a complaint (-1)
      with chance 1/3; v is their sum times :math:`\sqrt{3} / 2`, so its spread is 1.
      The words of the three sides differ.
    - **Campaign.** w = ``treated`` is a coin. :math:`\tau` is 2 below 12 months of
      tenure, 0.5 below 60 and -1 beyond, and 0.5 more on a phone.

    Each part draws from its own stream of random numbers: turning one dial leaves
    the rest of the customers as they were. Missing cells are emptied at random after
    the label is drawn. Copies take over all of another row, which may stand in the
    other part: events, text and label too, but have a customer number of their own.

    Parameters
    ----------
    config : SimulationConfig, optional
        The dials. Default: all parts on.
    seed : int
        Fixes everything.

    Returns
    -------
    SimulatedCustomers
        The data and the truth.

    Raises
    ------
    ValueError
        If the pairs find no room in the events.
    """
    config = SimulationConfig() if config is None else config
    sizes = {"train": config.n_train, "test": config.n_test}
    n = sum(sizes.values())
    streams = iter(map(np.random.default_rng, np.random.SeedSequence(seed).spawn(9)))
    people = _draw_people(n, next(streams))
    halves = next(streams)
    counts = np.hstack([halves.permutation(np.arange(m) % 2) for m in sizes.values()])
    kinds = _draw_events(counts == 1, config, next(streams))
    texts, message = _draw_messages(n, next(streams))
    treated = next(streams).integers(2, size=n)
    campaign = config.treatment_effect * _effect_part(people)
    others = (
        config.attribute_signal * _attribute_part(people)
        + config.event_signal * counts
        + config.text_signal * message
    )
    others = others + _intercept(others + campaign * treated, config.base_rate)
    noise = config.label_noise
    without, reached = (
        (1 - 2 * noise) * expit(logits) + noise
        for logits in (others, others + campaign)
    )
    clean = next(streams).random(n) < expit(others + campaign * treated)
    labels = (clean ^ (next(streams).random(n) < noise)).astype(int)
    table = _lose_cells(people, config.missing, next(streams))
    table = table.assign(treated=treated, text=texts, label=labels)
    rows = _copies(list(sizes.values()), config.duplicates, next(streams))
    names = np.array([f"S{number:06d}" for number in range(1, n + 1)])
    table = table.iloc[rows].reset_index(drop=True)
    table.insert(0, "customer", names)
    parts = {"train": slice(config.n_train), "test": slice(config.n_train, None)}
    chances = np.where(treated == 1, reached, without)[rows]
    effects = (reached - without)[rows]
    return SimulatedCustomers(
        data=Dataset(
            _card(config, table, names[rows]),
            table[parts["train"]].reset_index(drop=True),
            table[parts["test"]].reset_index(drop=True),
            _event_frame(names, kinds[rows]),
        ),
        config=config,
        probabilities={name: chances[part] for name, part in parts.items()},
        effects={name: effects[part] for name, part in parts.items()},
        originals={name: names[rows][part] for name, part in parts.items()},
    )


def _intercept(logits: Numbers, base_rate: float) -> float:
    """Solve for the number that makes the mean chance the base rate."""
    reach = float(np.abs(logits).max()) + 40

    def excess(intercept: float) -> float:
        return float(expit(logits + intercept).mean()) - base_rate

    return float(brentq(excess, -reach, reach, xtol=1e-13))


def _copies(
    sizes: list[int], share: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Give for each row the row whose content it takes; copies have one original."""
    rows = np.arange(sum(sizes))
    starts = np.cumsum([0, *sizes])
    copied = np.hstack(
        [
            rng.choice(np.arange(start, end), int(share * (end - start)), replace=False)
            for start, end in pairwise(starts)
        ]
    ).astype(int)
    rows[copied] = rng.choice(np.setdiff1d(rows, copied), len(copied))
    return rows

"""Run the campaign on simulated customers again, with a lot of your own."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketllm.datasets.simulated.customers import SimulatedCustomers


def campaign_chances(
    shop: SimulatedCustomers, part: str = "test"
) -> NDArray[np.float64]:
    """Give each customer's chance to buy without the campaign and with it.

    Parameters
    ----------
    shop : SimulatedCustomers
        The customers and the truth about them.
    part : {"train", "test"}
        Which of them.

    Returns
    -------
    ndarray of shape (N, 2)
        Columns: without, with. Their difference is ``shop.effects``.

    Raises
    ------
    ValueError
        If there is no such part.
    """
    treated = shop._frame(part)["treated"].to_numpy()
    without = shop.probabilities[part] - treated * shop.effects[part]
    return np.stack([without, without + shop.effects[part]], axis=1)


def run_campaign(
    shop: SimulatedCustomers,
    propensities: Collection[Any] | float,
    part: str = "train",
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Treat customers by a lot of your own, and let them buy or not.

    `simulate_customers` throws a fair coin. A firm treats whom it likes: then the
    chance to be treated differs from customer to customer. Customers stay who they
    are; only treatment and label are drawn anew.

    Parameters
    ----------
    shop : SimulatedCustomers
        The customers and the truth about them.
    propensities : float or array-like of shape (N,)
        Chance with which each is treated, 0 to 1.
    part : {"train", "test"}
        Which of them.
    seed : int
        Fixes the lots and the labels.

    Returns
    -------
    tuple of ndarray of shape (N,)
        Who was treated, and who bought: 1 or 0.

    Raises
    ------
    ValueError
        If there is no such part, or the propensities do not fit.
    """
    chances = campaign_chances(shop, part)
    known = np.asarray(propensities, dtype=float)
    if known.shape not in ((), (len(chances),)):
        raise ValueError(
            f"propensities have shape {known.shape}, expected one number or "
            f"({len(chances)},): one for each customer of {part!r}."
        )
    if not np.all((known >= 0) & (known <= 1)):
        raise ValueError(
            f"propensities reach from {known.min():g} to {known.max():g}: give chances "
            "from 0 to 1."
        )
    rng = np.random.default_rng(seed)
    treated = (rng.random(len(chances)) < known).astype(int)
    draws = rng.random(len(chances))
    labels = (draws < chances[np.arange(len(chances)), treated]).astype(int)
    return treated, labels

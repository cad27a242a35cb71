"""Attributes of simulated customers, and what they do to the label."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_ATTRIBUTES = ("age", "income", "region", "tenure", "device")
_REGIONS = {"north": 0.3, "south": 0.3, "east": 0.25, "west": 0.15}
_REGION_PART = {"north": 0.5, "south": 0.0, "east": -0.5, "west": 0.0}
_DEVICES = ("phone", "desktop", "tablet")


def _draw_people(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the attributes of n customers.

    age: normal, mean 42, standard deviation 14, rounded, cut to 18 to 80.
    income: exp(10.2 + 0.2 sin(pi (age - 18) / 62) + 0.4 normal), to the next 100.
    region: north 30%, south 30%, east 25%, west 15%.
    tenure: months since the first order, exponential with mean 30, at most 120.
    device: phone with chance 0.75 below 35 years, 0.5 below 60, else 0.3; of the
    others 70% a desktop, 30% a tablet.
    """
    age = np.clip(np.round(rng.normal(42, 14, n)), 18, 80).astype(int)
    hill = np.sin(np.pi * (age - 18) / 62)
    income = np.exp(10.2 + 0.2 * hill + 0.4 * rng.normal(size=n))
    phone = rng.random(n) < np.select([age < 35, age < 60], [0.75, 0.5], 0.3)
    desktop = rng.random(n) < 0.7
    return pd.DataFrame(
        {
            "age": age,
            "income": (100 * np.round(income / 100)).astype(int),
            "region": rng.choice(list(_REGIONS), size=n, p=list(_REGIONS.values())),
            "tenure": np.minimum(rng.exponential(30, n), 120).astype(int),
            "device": np.where(phone, "phone", np.where(desktop, *_DEVICES[1:])),
        }
    )


def _attribute_part(people: pd.DataFrame) -> Numbers:
    """Give what the attributes add to the log-odds at strength 1; spread about 1."""
    income = (np.log(people["income"].to_numpy()) - 10.3) / 0.4
    tenure = np.log1p(people["tenure"].to_numpy()) - 3
    age, device = people["age"].to_numpy(), people["device"].to_numpy()
    region = people["region"].map(_REGION_PART).to_numpy(dtype=float)
    young_phone = (age < 35) & (device == "phone")
    part = 0.5 * income + 0.5 * tenure + region - 0.8 * (age >= 60) + 0.8 * young_phone
    return np.asarray(part, dtype=float)


def _effect_part(people: pd.DataFrame) -> Numbers:
    """Give what the campaign adds to the log-odds at strength 1.

    It works on the new (+2 below 12 months), little on others (+0.5), and does harm
    to those of 60 months or more (-1); a phone adds 0.5.
    """
    tenure = people["tenure"].to_numpy()
    part = np.select([tenure < 12, tenure < 60], [2.0, 0.5], -1.0)
    return np.asarray(part + 0.5 * (people["device"].to_numpy() == "phone"))


def _lose_cells(
    people: pd.DataFrame, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Empty a share of the cells, each with the same chance."""
    return people.mask(rng.random(people.shape) < share) if share else people

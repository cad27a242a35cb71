"""The campaign run again: known chances, own lots."""

import numpy as np
import pytest

from marketllm.datasets import (
    SimulationConfig,
    campaign_chances,
    run_campaign,
    simulate_customers,
)


@pytest.fixture(scope="module")
def shop():
    config = SimulationConfig(
        n_train=4000, n_test=2000, n_events=16, gap=4, treatment_effect=1.0
    )
    return simulate_customers(config, seed=5)


@pytest.mark.parametrize("part", ["train", "test"])
def test_chances_are_those_of_the_shop(shop, part):
    chances = campaign_chances(shop, part)
    np.testing.assert_allclose(chances[:, 1] - chances[:, 0], shop.effects[part])
    frame = shop.data.train if part == "train" else shop.data.test
    own = chances[np.arange(len(frame)), frame["treated"]]
    np.testing.assert_allclose(own, shop.probabilities[part])
    assert chances.min() >= 0
    assert chances.max() <= 1
    assert chances.std() > 0.1


def test_lots_and_labels_follow_their_chances(shop):
    chances = campaign_chances(shop, "train")
    known = np.clip(chances[:, 0], 0.1, 0.9)
    treated, labels = run_campaign(shop, known, "train", seed=1)
    for chance, drawn in (
        (known, treated),
        (chances[np.arange(4000), treated], labels),
    ):
        for low in (0.0, 0.2, 0.4, 0.6):
            rows = (chance >= low) & (chance < low + 0.2)
            spread = 0.5 / rows.sum() ** 0.5
            assert abs(drawn[rows].mean() - chance[rows].mean()) < 4 * spread
    assert set(treated) == set(labels) == {0, 1}
    # Given the chance, the label does not know the lot's draw.
    surprise = labels - chances[np.arange(4000), treated]
    assert abs(np.corrcoef(surprise, treated - known)[0, 1]) < 0.06


def test_one_number_is_for_everybody_and_the_seed_fixes_all(shop):
    treated, labels = run_campaign(shop, 0.25, "test", seed=3)
    assert 0.2 < treated.mean() < 0.3
    again = run_campaign(shop, np.full(2000, 0.25), "test", seed=3)
    np.testing.assert_array_equal(again, (treated, labels))
    other = run_campaign(shop, 0.25, "test", seed=4)
    assert (other[0] != treated).mean() > 0.2
    assert run_campaign(shop, 0.0, "test")[0].sum() == 0
    assert run_campaign(shop, 1.0, "test")[0].sum() == 2000


@pytest.mark.parametrize(
    ("propensities", "part", "message"),
    [
        (0.5, "validation", "choose 'train' or 'test'"),
        ([0.5, 0.5], "test", r"shape \(2,\), expected one number or \(2000,\)"),
        (1.5, "test", "from 1.5 to 1.5: give chances from 0 to 1"),
        (np.full(2000, np.nan), "test", "give chances from 0 to 1"),
    ],
    ids=range(4),
)
def test_refusals(shop, propensities, part, message):
    with pytest.raises(ValueError, match=message):
        run_campaign(shop, propensities, part)

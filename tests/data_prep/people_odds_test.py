import numpy as np
import pytest

from data_prep.package_files import people_odds
from seqface_jax.reconstruction import people_assignment


def _made_up(rng, count=4000):
    """Returns features whose true log odds are 3 likeness - 2 distance + 0.5, and who is alike."""
    features = rng.normal(0, 1, (count, 2))
    chance = 1 / (1 + np.exp(-(features @ [3.0, -2.0] + 0.5)))
    return features, rng.random(count) < chance


def test_the_weights_of_made_up_odds_are_found():
    features, same = _made_up(np.random.default_rng(0), 40_000)
    weights = people_odds.fit(features, same)
    assert weights[:2] == pytest.approx([3.0, -2.0], rel=0.1)
    # Both classes count alike: the offset is that of a folder where half are the person's.
    share = same.mean()
    assert weights[2] == pytest.approx(0.5 - np.log(share / (1 - share)), abs=0.15)


def test_the_thresholds_hold_the_rates_that_they_are_set_for():
    features, same = _made_up(np.random.default_rng(1))
    odds = people_assignment.log_odds(features, np.array([3.0, -2.0, 0.5]))
    known, new = people_odds.thresholds(odds, same)
    found = people_odds.rates(odds, same, known, new)
    assert new < known
    assert found['mixed'] <= people_odds.MAX_MIXED + 1e-3
    assert found['split'] == pytest.approx(people_odds.MAX_SPLIT, abs=2e-3)
    assert found['unsure'] == pytest.approx(
        1 - found['split'] - (odds[same] >= known).mean(), abs=1e-6
    )


def test_where_people_differ_clearly_there_is_no_doubt():
    odds = np.concatenate([np.linspace(3, 5, 100), np.linspace(-5, -3, 100)])
    same = np.arange(200) < 100
    known, new = people_odds.thresholds(odds, same)
    assert known == new and -2.9 < known < 2.9
    assert people_odds.rates(odds, same, known, new) == {'mixed': 0, 'unsure': 0, 'split': 0}

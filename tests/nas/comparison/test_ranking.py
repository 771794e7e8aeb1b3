"""Kendall's tau, and what noise makes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas.comparison.ranking import agreement, kendall_tau, seed_std, spread

SCORES = st.lists(st.integers(0, 5), min_size=3, max_size=20)


@given(st.data())
def test_kendall_tau_is_scipys_with_ties(data):
    first = np.array(data.draw(SCORES), dtype=float)
    second = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(first), max_size=len(first))), dtype=float)
    expected = kendalltau(first, second).statistic
    assert kendall_tau(first, second) == pytest.approx(expected, nan_ok=True)


def noisy(truth: np.ndarray, noise: float, seeds: int, rng: np.random.Generator) -> np.ndarray:
    return truth[:, None] + rng.normal(0, noise, (len(truth), seeds))


def test_noise_and_spread_are_told_apart():
    rng = np.random.default_rng(0)
    scores = noisy(rng.normal(40, 5, 400), 2.0, 3, rng)
    assert seed_std(scores) == pytest.approx(2.0, rel=0.1)
    assert spread(scores) == pytest.approx(5.0, rel=0.1)
    assert spread(noisy(np.full(400, 40.0), 2.0, 3, rng)) < 0.8
    assert math.isnan(seed_std(scores[:, :1]))


def test_a_faultless_proxy_reaches_its_ceiling():
    rng = np.random.default_rng(1)
    truth = np.linspace(20, 60, 17)
    found = agreement(noisy(truth, 0.01, 2, rng), noisy(truth, 0.01, 2, rng))
    assert found.tau == 1
    assert min(found.own_ceiling, found.ceiling, found.low) > 0.99


def test_noise_alone_keeps_a_proxy_at_its_ceiling():
    """Over many draws of noise, tau is what the own_ceiling foretells, though the truth is not known to it."""
    rng = np.random.default_rng(2)
    truth = rng.normal(40, 5, 17)
    found = [agreement(noisy(2 * truth, 6.0, 3, rng), noisy(truth, 1.0, 2, rng), seed) for seed in range(30)]
    gap = np.mean([one.tau - one.own_ceiling for one in found])
    assert abs(gap) < 0.05
    assert np.mean([one.ceiling for one in found]) > np.mean([one.own_ceiling for one in found]) + 0.05


def test_a_proxy_of_nothing_ranks_nothing():
    rng = np.random.default_rng(3)
    found = agreement(rng.normal(40, 1, (17, 3)), noisy(rng.normal(40, 5, 17), 0.5, 2, rng))
    assert abs(found.tau) < 0.35
    assert found.low < found.tau < found.high


def test_a_proxy_that_ranks_otherwise_stays_below_its_ceiling():
    rng = np.random.default_rng(4)
    truth = np.linspace(20, 60, 17)
    found = agreement(noisy(truth[::-1], 0.1, 2, rng), noisy(truth, 0.1, 2, rng))
    assert found.tau == -1
    assert found.own_ceiling > 0.95


@pytest.mark.parametrize(("proxy", "reference"), [((17, 1), (17, 2)), ((17, 2), (17, 1)), ((2, 2), (2, 2))])
def test_what_cannot_be_told_is_refused(proxy, reference):
    with pytest.raises(ValueError, match="two or more seeds"):
        agreement(np.zeros(proxy), np.zeros(reference))


def test_equal_scores_everywhere_are_no_error():
    found = agreement(np.zeros((5, 2)), np.arange(10.0).reshape(5, 2))
    assert math.isnan(found.tau)
    assert found.own_ceiling == 0

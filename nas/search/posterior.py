"""Posterior of the true rewards of necks, each trained a few times with different seeds.

Shapes: D draws, C contenders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 2000
GRID = 40
"""Values of the deviation between necks that are tried."""

SMALLEST = 1e-9
"""Smallest sum of squares, so that equal rewards make no division by zero."""


@dataclass(frozen=True)
class Rewards:
    """Rewards of contenders, one sequence per contender, from seeds that chose none of them."""

    by_contender: Sequence[Sequence[float]]

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.array([len(rewards) for rewards in self.by_contender], dtype=np.int64)

    @property
    def means(self) -> Array:
        return np.array([np.mean(rewards) for rewards in self.by_contender])

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the deviation from seed to seed, pooled over the contenders."""
        return int((self.counts - 1).sum())

    @property
    def squares(self) -> float:
        """Sum of squared deviations from each contender's mean."""
        return float(sum(np.var(rewards) * len(rewards) for rewards in self.by_contender))


def noise_draws(groups: Sequence[Rewards], rng: np.random.Generator) -> Array:
    """(D,) draws of the variance from seed to seed, one for all contenders, under Jeffreys' prior.

    Raises:
        ValueError: if no contender was trained twice.
    """
    freedom = sum(group.freedom for group in groups)
    if freedom < 1:
        raise ValueError("the noise is unknown: no contender was trained twice")
    squares = max(sum(group.squares for group in groups), SMALLEST)
    return np.asarray(squares / rng.chisquare(freedom, DRAWS))


def independent_draws(rewards: Rewards, noise: Array, rng: np.random.Generator) -> Array:
    """(D, C) draws of true rewards under flat priors: each contender speaks for itself."""
    spread = np.sqrt(noise[:, None] / rewards.counts)
    return rewards.means + spread * rng.standard_normal(spread.shape)


def related_draws(rewards: Rewards, noise: Array, rng: np.random.Generator) -> Array:
    """(D, C) draws of true rewards of contenders that come from one population.

    The normal hierarchical model with flat priors on the population's mean and deviation (Gelman et al., Bayesian Data
    Analysis, 3rd edition, section 5.4). What is best of several by luck is drawn towards their mean, so that the best
    may be named without a correction for having been chosen.
    """
    means = rewards.means
    if len(means) == 1:
        return independent_draws(rewards, noise, rng)
    variances = noise[:, None] / rewards.counts
    between = _draw_between(means, variances, rng)
    precisions = 1 / (variances + between[:, None] ** 2)
    centre = (precisions * means).sum(axis=1) / precisions.sum(axis=1)
    centre += rng.standard_normal(len(noise)) / np.sqrt(precisions.sum(axis=1))
    weight = between[:, None] ** 2 * precisions
    scale = np.sqrt(weight * variances)
    return np.asarray(centre[:, None] + weight * (means - centre[:, None]) + scale * rng.standard_normal(scale.shape))


def _draw_between(means: Array, variances: Array, rng: np.random.Generator) -> Array:
    """(D,) draws of the deviation between contenders, from a grid (equation 5.21 there)."""
    grid = np.linspace(0, 2 * float(np.ptp(means)) + np.sqrt(variances.mean()), GRID)
    total = variances[:, None, :] + grid[None, :, None] ** 2
    precision = (1 / total).sum(axis=2)
    centre = (means / total).sum(axis=2) / precision
    log_density = -0.5 * (np.log(total) + (means - centre[..., None]) ** 2 / total).sum(axis=2)
    log_density -= 0.5 * np.log(precision)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True)).cumsum(axis=1)
    chosen = (density < rng.random(len(variances))[:, None] * density[:, -1:]).sum(axis=1)
    return np.asarray(grid[chosen])

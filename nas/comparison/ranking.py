"""Do two ways of training rank necks alike, and how alike could they at most, given their noise from seed to seed?

Shapes: M necks, S seeds of the proxy, R seeds of the reference, which is trained longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

DRAWS = 1000
TAIL = 0.05


@dataclass(frozen=True)
class Agreement:
    """How well one training with the proxy ranks necks.

    Args:
        tau: Kendall's tau-b between one seed of the proxy and the reference's means; the mean over the proxy's seeds.
        low, high: 90 % interval of `tau`, from drawing necks anew.
        ceiling: the noise ceiling: what one more training of the reference, with one seed, would reach on average.
        ceiling_low: what 19 of 20 such trainings would reach at least; a proxy above it ranks as the reference does.
        own_ceiling: what `tau` would be on average if the proxy were wrong by nothing but its own noise.
    """

    tau: float
    low: float
    high: float
    ceiling: float
    ceiling_low: float
    own_ceiling: float


def kendall_tau(first: Scores, second: Scores) -> float:
    """Kendall's tau-b of two lists of scores, in -1..1; NaN if one of them has no two different values."""
    a, b = (np.sign(scores[:, None] - scores[None, :]) for scores in (first, second))
    pairs = np.sqrt(float((a != 0).sum()) * float((b != 0).sum()))
    return float((a * b).sum() / pairs) if pairs else float("nan")


def seed_std(scores: Scores) -> float:
    """Standard deviation from seed to seed, (M, S) pooled over the necks; NaN with a single seed."""
    if scores.shape[1] < 2:
        return float("nan")
    return float(np.sqrt(scores.var(axis=1, ddof=1).mean()))


def spread(scores: Scores) -> float:
    """Standard deviation between necks, (M, S), without what seeds add to it."""
    noise = seed_std(scores) ** 2 / scores.shape[1] if scores.shape[1] > 1 else 0.0
    return float(np.sqrt(max(0.0, scores.mean(axis=1).var(ddof=1) - noise)))


def agreement(proxy: Scores, reference: Scores, seed: int = 0) -> Agreement:
    """
    Args:
        proxy: (M, S).
        reference: (M, R).
        seed: of the draws.

    Raises:
        ValueError: for fewer than two seeds of either, from which noise cannot be told, or fewer than three necks.
    """
    if min(proxy.shape[1], reference.shape[1]) < 2 or len(proxy) < 3 or len(proxy) != len(reference):
        raise ValueError(
            f"three or more necks with two or more seeds each are needed, got {proxy.shape} and {reference.shape}"
        )
    rng = np.random.default_rng(seed)
    means = reference.mean(axis=1)
    drawn = _drawn(lambda: _mean_tau(proxy, means, rng.integers(len(means), size=len(means))))
    truth = _true_means(reference)
    noise = seed_std(reference)
    scale = spread(reference)
    own = seed_std(proxy) / spread(proxy) * scale if spread(proxy) else float("inf")

    def repeated(own_noise: float) -> float:
        other = truth + rng.normal(0, noise / np.sqrt(reference.shape[1]), len(truth))
        return kendall_tau(truth + rng.normal(0, 1, len(truth)) * own_noise, other)

    again = _drawn(lambda: repeated(noise))
    return Agreement(
        tau=_mean_tau(proxy, means),
        low=float(np.quantile(drawn, TAIL)),
        high=float(np.quantile(drawn, 1 - TAIL)),
        own_ceiling=float(_drawn(lambda: repeated(own)).mean()) if np.isfinite(own) else 0.0,
        ceiling=float(again.mean()),
        ceiling_low=float(np.quantile(again, TAIL)),
    )


def _mean_tau(proxy: Scores, means: Scores, chosen: NDArray[np.int64] | None = None) -> float:
    rows = np.arange(len(means)) if chosen is None else chosen
    return float(np.mean([kendall_tau(column[rows], means[rows]) for column in proxy.T]))


def _true_means(scores: Scores) -> Scores:
    """Means per neck, drawn together so that they spread as the necks do without the noise of seeds."""
    means = scores.mean(axis=1)
    width = means.std(ddof=1)
    return means.mean() + (means - means.mean()) * (spread(scores) / width if width else 0.0)


def _drawn(draw: Callable[[], float]) -> Scores:
    """Draws in which something could be ranked; NaN alone if there were none."""
    values = np.array([draw() for _ in range(DRAWS)])
    return values[np.isfinite(values)] if np.isfinite(values).any() else np.array([np.nan])

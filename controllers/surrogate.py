"""A random forest that predicts rewards, and what it would rather have tried."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Sequence

import numpy as np

from controllers.path_features import Array, path_features
from search_space import Genotype

TREES = 50
FEWEST = 12
"""Rewards below which nothing is predicted."""


def check_installed(option: str) -> None:
    """
    Raises:
        ValueError: if scikit-learn is missing.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ValueError(f"{option} needs scikit-learn: pip install 'nas-fpn[screening]'")


class Surrogate:
    """Chooses among genotypes by Thompson sampling: one tree of the forest, drawn at random, ranks them.

    A tree is fitted to a resample of the outcomes, so that the forest's trees disagree where little is known. The
    forest depends on the outcomes and their order alone.

    Args:
        trees: of the forest; more are slower to fit.
    """

    def __init__(self, trees: int = TREES) -> None:
        self.trees = trees
        self._features: list[Array] = []
        self._rewards: list[float] = []
        self._trees: Sequence[object] = ()
        self._fitted = 0

    @property
    def rewards(self) -> tuple[float, ...]:
        """Rewards that it learned from, in order."""
        return tuple(self._rewards)

    def learn(self, genotype: Genotype, reward: float) -> None:
        self._features.append(path_features(genotype))
        self._rewards.append(reward)

    def forget(self) -> None:
        self._features.clear()
        self._rewards.clear()

    def choose(self, genotypes: Sequence[Genotype], rng: random.Random) -> Genotype:
        """The one that a random tree ranks first; of equals, and below `FEWEST` rewards, the first."""
        if len(self._rewards) < FEWEST or len(genotypes) == 1:
            return genotypes[0]
        tree = rng.choice(self._forest())
        predicted = tree.predict(np.stack([path_features(genotype) for genotype in genotypes]))  # type: ignore[attr-defined]
        return genotypes[int(np.argmax(predicted))]

    def _forest(self) -> Sequence[object]:
        """Fitted to all rewards so far; again only where there are more than at the last time."""
        from sklearn.ensemble import RandomForestRegressor

        if self._fitted != len(self._rewards) or not self._trees:
            self._fitted = len(self._rewards)
            forest = RandomForestRegressor(self.trees, min_samples_leaf=2, max_features=0.3, random_state=self._fitted)
            self._trees = forest.fit(np.stack(self._features), np.array(self._rewards)).estimators_
        return self._trees

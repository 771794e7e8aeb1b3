"""A recorded search as a problem: rewards that were measured, and a regression for what lies between them.

A table of some hundred of 10^20 genotypes is no benchmark by itself, as controllers propose others. So the rewards are
fitted by a random forest over what a genotype connects, as NAS-Bench-301 (arXiv 2008.09777) does; recorded genotypes
keep their measured rewards. How well it predicts is measured by cross-validation and stands beside the table.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from experiments import signs
from experiments.benchmarks.problems import Problem, edges
from experiments.benchmarks.results import RESULTS
from nas.search.config import build_space
from search_space import Genotype, SearchSpace
from search_space.genotype import MERGES

TABLE = RESULTS / "signs_wide_trials.jsonl.gz"
TREES = 200
SEED_NOISE = 0.005
"""Standard deviation of a proxy training's AP from seed to seed, over 100 (`experiments/results/proxy_ranking.md`)."""

Row = dict[str, Any]
ROLES = ("input", "cell", "output")


@dataclass(frozen=True)
class Measured:
    """Genotypes and their rewards over 100."""

    genotypes: list[Genotype]
    rewards: NDArray[np.float64]


class Recorded(Problem):
    """AP of the proxy task over 100, noise included when it is observed; there is no hidden target.

    Args:
        space, seed: as of `Problem`; the space is the recorded search's, and the seed changes nothing.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space = space
        self._known, self._model = fitted()

    def value(self, genotype: Genotype) -> float:
        """The measured reward, or the predicted one."""
        known = self._known.get(genotype.fingerprint)
        return float(self._model.predict(features(genotype)[None])[0]) if known is None else known

    def values(self, genotypes: Sequence[Genotype]) -> list[float]:
        predicted = self._model.predict(table_features(genotypes))
        return [
            self._known.get(genotype.fingerprint, float(value))
            for genotype, value in zip(genotypes, predicted, strict=True)
        ]

    def observe(self, genotype: Genotype, rng: random.Random) -> float:
        return self.value(genotype) + rng.gauss(0, SEED_NOISE)


def space() -> SearchSpace:
    """That of the recorded search."""
    return build_space(signs.wide())


def read_table(path: Path = TABLE) -> list[Row]:
    """Lines as `nas.results.trials.trial_record` gives them."""
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def measured(rows: Sequence[Row]) -> Measured:
    """Genotypes with their rewards: final ones, and for trials stopped at a rung the reward there. A function that was
    measured more than once counts with the mean."""
    found: dict[str, list[tuple[Genotype, float]]] = {}
    for row in rows:
        if row["reward"] is not None and row["copied_from"] is None:
            found.setdefault(row["fingerprint"], []).append((Genotype.from_dict(row["genotype"]), row["reward"] / 100))
    entries = list(found.values())
    return Measured([entry[0][0] for entry in entries], np.array([np.mean([ap for _, ap in e]) for e in entries]))


@cache
def fitted() -> tuple[dict[str, float], RandomForestRegressor]:
    """Measured rewards by fingerprint, and the regression over them."""
    data = measured(read_table())
    known = {g.fingerprint: float(ap) for g, ap in zip(data.genotypes, data.rewards, strict=True)}
    return known, model().fit(table_features(data.genotypes), data.rewards)


def model() -> RandomForestRegressor:
    return RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.3, random_state=0)


def table_features(genotypes: Sequence[Genotype]) -> NDArray[np.float64]:
    """(genotypes, features)."""
    return np.stack([features(genotype) for genotype in genotypes])


def features(genotype: Genotype) -> NDArray[np.float64]:
    """Features of a genotype's connections: counts of edges by level, role and merge; per output, which inputs reach it
    and how many convolutions lie on the longest path; convolutions per level.
    """
    levels = genotype.levels
    counts = edges(genotype)
    linked = [
        counts[source, role, target, merge]
        for source in levels
        for role in ROLES
        for target in levels
        for merge in MERGES
    ]
    reach, depth = _ways(genotype)
    outputs = list(genotype.outputs.values())
    reached = [node in reach[output] for output in outputs for node in range(len(levels))]
    convs = [sum(cell.level == level and cell.transform == "conv" for cell in genotype.cells) for level in levels]
    deep = [depth[output] for output in outputs]
    return np.array([*linked, *reached, *deep, *convs, len(genotype.cells), genotype.merge_dangling], dtype=float)


def _ways(genotype: Genotype) -> tuple[list[set[int]], list[int]]:
    """Per node, the inputs of the pyramid that reach it, and convolutions on the longest way to it."""
    count = len(genotype.levels)
    reach, depth = [{node} for node in range(count)], [0] * count
    for index, cell in enumerate(genotype.cells):
        sources = (*cell.inputs, *genotype.dangling[index])
        reach.append(set().union(*(reach[node] for node in sources)))
        depth.append(max(depth[node] for node in sources) + (cell.transform != "none"))
    return reach, depth

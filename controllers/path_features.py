"""Numbers that describe what a genotype computes, for models that predict its reward.

Shapes: N inputs of the pyramid, which has as many outputs; F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space import Genotype
from search_space.genotype import MERGES, TRANSFORMS

Array = NDArray[np.float64]

NO_PATH = -1.0


@dataclass(frozen=True)
class _Reach:
    """Paths from each input to a node.

    Args:
        influence: (N,) share of an input in the node where every merge is a mean.
        paths: (N,) number of paths.
        convs: (N,) convolutions on the shortest path, infinite where there is none.
        coarsest: (N,) coarsest level on the path that keeps the most detail, infinite where there is none.
    """

    influence: Array
    paths: Array
    convs: Array
    coarsest: Array


def path_features(genotype: Genotype) -> Array:
    """(4 N² + F',) features of the function: dead cells and the order of cells do not count.

    For every input and output: the input's influence, the logarithm of the number of paths, the convolutions on the
    shortest path and the coarsest level that the most detailed path runs through. Then live cells by level and
    transform, by merge, and by number of inputs.
    """
    reach = _reaches(genotype)
    first = len(genotype.levels)
    rows = []
    for node in genotype.outputs.values():
        found = reach[node]
        rows += [
            found.influence,
            np.log1p(found.paths),
            np.where(np.isinf(found.convs), NO_PATH, found.convs),
            np.where(np.isinf(found.coarsest), NO_PATH, found.coarsest),
        ]
    live = [genotype.cells[node - first] for node in genotype.live_nodes if node >= first]
    counts = [
        *(sum((c.level, c.transform) == (lv, t) for c in live) for lv in genotype.levels for t in TRANSFORMS),
        *(sum(cell.merge == merge for cell in live) for merge in MERGES),
        *(sum(len(cell.inputs) == size for cell in live) for size in (1, 2, 3)),
    ]
    return np.concatenate([*rows, np.array(counts, dtype=np.float64)])


def _reaches(genotype: Genotype) -> list[_Reach]:
    """Of every node, in order."""
    eye = np.eye(len(genotype.levels))
    away = np.where(eye > 0, 0.0, math.inf)
    reach = [
        _Reach(eye[index], eye[index], away[index], np.where(eye[index] > 0, float(level), math.inf))
        for index, level in enumerate(genotype.levels)
    ]
    for cell, dangling in zip(genotype.cells, genotype.dangling, strict=True):
        sources = [reach[node] for node in (*cell.inputs, *dangling)]
        reach.append(
            _Reach(
                influence=np.mean([source.influence for source in sources], axis=0),
                paths=np.sum([source.paths for source in sources], axis=0),
                convs=np.min([source.convs for source in sources], axis=0) + (cell.transform != "none"),
                coarsest=np.maximum(np.min([source.coarsest for source in sources], axis=0), float(cell.level)),
            )
        )
    return reach

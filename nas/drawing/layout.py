"""Positions of a genotype's nodes and arrows when it is drawn as the NAS-FPN paper does.

Rows are levels, the finest below; the inputs are the first column, each cell has a column of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_space import Genotype

Place = tuple[float, float]
Points = NDArray[np.float64]

BENDS = np.array((0.0, -0.15, 0.15, -0.3, 0.3, -0.45, 0.45))
"""Curvatures that are tried, straight first: those of a quadratic Bezier curve as matplotlib's `arc3` has it."""

STEPS = np.linspace(0, 1, 21)[1:-1, None]
MAX_BENT = 400
"""Arrows of a picture in which they are bent around nodes: with more of them nobody can follow one."""
ENOUGH = 0.4
"""Distance from other nodes that counts as clear; nodes are 1 apart."""


@dataclass(frozen=True)
class Arrow:
    """From node to node; `dangling` for the adds of outputs that nothing took up."""

    start: int
    end: int
    dangling: bool
    bend: float


def places(genotype: Genotype) -> list[Place]:
    """(column, row) of every node."""
    row = {level: index for index, level in enumerate(genotype.levels)}
    first = len(genotype.levels)
    columns = [0] * first + [index + 1 for index in range(len(genotype.cells))]
    return [(float(column), float(row[level])) for column, level in zip(columns, genotype.node_levels, strict=True)]


def arrows(genotype: Genotype) -> list[Arrow]:
    """Every connection, bent so that it keeps away from the other nodes, see `MAX_BENT`."""
    nodes = np.array(places(genotype))
    first = len(genotype.levels)
    pairs = [
        (node, first + index, dangling)
        for index, cell in enumerate(genotype.cells)
        for dangling, sources in ((False, cell.inputs), (True, genotype.dangling[index]))
        for node in sources
    ]
    bends = len(pairs) <= MAX_BENT
    return [Arrow(start, end, dangling, _bend(nodes, start, end) if bends else 0.0) for start, end, dangling in pairs]


def curve(start: Place, end: Place, bend: float) -> Points:
    """(19, 2) points of an arrow, without its ends."""
    return _curves(np.array(start), np.array(end), np.array([bend]))[0]


def _curves(start: Points, end: Points, bends: Points) -> Points:
    """(bends, 19, 2)."""
    across = np.array([end[1] - start[1], start[0] - end[0]])
    control = ((start + end) / 2 + bends[:, None] * across)[:, None]
    return (1 - STEPS) ** 2 * start + 2 * STEPS * (1 - STEPS) * control + STEPS**2 * end


def _bend(nodes: Points, start: int, end: int) -> float:
    """The curvature that keeps furthest from the other nodes; of equals the first."""
    others = np.delete(nodes, (start, end), axis=0)
    if not len(others):
        return 0.0
    gaps = _curves(nodes[start], nodes[end], BENDS)[:, :, None] - others
    clearance = np.sqrt((gaps**2).sum(-1)).min((1, 2))
    return float(BENDS[np.argmax(np.minimum(clearance, ENOUGH))])

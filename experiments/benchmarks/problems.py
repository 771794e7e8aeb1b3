"""Synthetic objectives over a search space, each with a hidden target that scores 1 and nothing that scores more.

They stand in for a proxy task where thousands of trials are needed. Difficulty is graded: `decisions` rewards each
decision on its own; `edges` rewards what is connected to what, however the cells are numbered; `noisy` is `edges` seen
through noise as a short training's AP is; `trap` leads away from the target until a whole cell is right.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence

from search_space import Genotype, SearchSpace

NOISE = 0.05
"""Standard deviation of `noisy`, of a range from 0 to 1; a random genotype scores about 0.3 there."""
TRAP_DEPTH = 0.8

Edge = tuple[int, str, int, str]
"""Level and role of the source, level and merge of the cell."""


class Problem(ABC):
    """An objective to maximise.

    Args:
        space: where candidates come from.
        seed: of the hidden target.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space = space
        self.target = space.sample(random.Random(f"target {seed}"))

    @abstractmethod
    def value(self, genotype: Genotype) -> float:
        """Without noise, from 0 to 1; the target has 1."""

    def values(self, genotypes: Sequence[Genotype]) -> list[float]:
        """Of many at once."""
        return [self.value(genotype) for genotype in genotypes]

    def observe(self, genotype: Genotype, rng: random.Random) -> float:
        """Value that a trial measures, noise included."""
        return self.value(genotype)


class Decisions(Problem):
    """Share of the decisions that are the target's."""

    def value(self, genotype: Genotype) -> float:
        ours, wanted = self.space.encode(genotype), self.space.encode(self.target)
        return sum(ours.get(name) == choice for name, choice in wanted.items()) / max(len(ours), len(wanted))


class Edges(Problem):
    """F1 of the connections between levels, as a multiset, against the target's."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        self._wanted = edges(self.target)

    def value(self, genotype: Genotype) -> float:
        ours = edges(genotype)
        return 2 * (ours & self._wanted).total() / (ours.total() + self._wanted.total())


class NoisyEdges(Edges):
    """`Edges`, observed with Gaussian noise."""

    def observe(self, genotype: Genotype, rng: random.Random) -> float:
        return self.value(genotype) + rng.gauss(0, NOISE)


class Trap(Problem):
    """Mean over the cells of 1 where all decisions of a cell are the target's, else the less the more of them are."""

    def value(self, genotype: Genotype) -> float:
        ours, wanted = self.space.encode(genotype), self.space.encode(self.target)
        blocks: dict[str, list[bool]] = {}
        for name, choice in wanted.items():
            blocks.setdefault(name.partition(".")[0], []).append(ours.get(name) == choice)
        return sum(_trap(sum(block), len(block)) for block in blocks.values()) / len(blocks)


PROBLEMS: dict[str, Callable[[SearchSpace, int], Problem]] = {
    "decisions": Decisions,
    "edges": Edges,
    "noisy": NoisyEdges,
    "trap": Trap,
}


def edges(genotype: Genotype) -> Counter[Edge]:
    """Connections of a genotype; a source is an input of the pyramid, one of its outputs, or neither."""
    outputs = set(genotype.outputs.values())
    found: Counter[Edge] = Counter()
    for index, cell in enumerate(genotype.cells):
        for node in (*cell.inputs, *genotype.dangling[index]):
            role = "input" if node < len(genotype.levels) else "output" if node in outputs else "cell"
            found[genotype.node_levels[node], role, cell.level, cell.merge] += 1
    return found


def _trap(matches: int, total: int) -> float:
    return 1.0 if matches == total else TRAP_DEPTH * (total - 1 - matches) / total

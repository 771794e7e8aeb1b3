"""Options of a cell in a pyramid space, and the names and the order of its decisions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import mul

from search_space.space import Choices

INPUT_LETTERS = "abcdefgh"
LEVEL, SIZE, FIRST_INPUT, MERGE, TRANSFORM = 0, 1, 2, -2, -1
"""Positions among the decision names of a cell; the inputs lie between `FIRST_INPUT` and `MERGE`."""


class CellOptions:
    """The choices of every cell, those that depend on levels of other cells aside.

    Args:
        levels: of the input nodes.
        max_cells: cells to prepare for.
        max_inputs: most inputs of a cell.
        merges: merges to choose from; `attention` takes two inputs.
        transforms: transforms to choose from.
    """

    def __init__(
        self,
        levels: tuple[int, ...],
        max_cells: int,
        max_inputs: int,
        merges: tuple[str, ...],
        transforms: tuple[str, ...],
    ) -> None:
        self.levels = levels
        self.first = len(levels)
        self.max_inputs = max_inputs
        self.merges = merges
        self.transforms = transforms
        letters = INPUT_LETTERS[:max_inputs]
        self.names = [tuple(f"cell{index}.{field}" for field in _fields(letters)) for index in range(max_cells)]
        self.places = {name: (index, at) for index, row in enumerate(self.names) for at, name in enumerate(row)}
        self.sizes = [self._sizes(index) for index in range(max_cells)]
        self.products: list[int] = list(accumulate((sum(ways.values()) for ways in self.sizes), mul, initial=1))

    def merges_of(self, size: int) -> tuple[str, ...]:
        return self.merges if size == 2 else tuple(merge for merge in self.merges if merge != "attention")

    def count_range(self, start: int, stop: int) -> int:
        """Ways to choose cells start .. stop - 1, their levels aside."""
        return self.products[stop] // self.products[start]

    def inputs(self, index: int, choices: Choices) -> list[int]:
        """Inputs chosen so far."""
        names = self.names[index]
        size = int(choices.get(names[SIZE], 0))
        return [int(choices[name]) for name in names[FIRST_INPUT : FIRST_INPUT + size] if name in choices]

    def order(self, index: int, choices: Choices) -> tuple[int, ...]:
        """Every node that a cell may take, in the order in which its inputs are written; its level is chosen."""
        levels = [*self.levels, *(int(choices[names[LEVEL]]) for names in self.names[: index + 1])]
        own = levels.pop()
        return in_order(range(len(levels)), own, levels)

    def open_place(self, choices: Choices) -> tuple[int, int]:
        """The first cell that is not complete, and the position of its first decision that is not taken."""
        index, field = self.places.get(list(choices)[-1], (-1, len(self.names[0]) + TRANSFORM))
        names = self.names[index]
        if names[field] == names[TRANSFORM]:
            return index + 1, LEVEL
        inputs_end = FIRST_INPUT + int(choices.get(names[SIZE], 0))
        return index, len(names) + MERGE if field + 1 == inputs_end else field + 1

    def is_input(self, index: int, field: int) -> bool:
        return FIRST_INPUT <= field < len(self.names[index]) + MERGE

    def _sizes(self, index: int) -> dict[int, int]:
        """Number of inputs -> cells with so many."""
        bank = self.first + index
        ways = {
            size: math.comb(bank, size) * len(self.merges_of(size)) * len(self.transforms)
            for size in range(1, min(self.max_inputs, bank) + 1)
        }
        return {size: count for size, count in ways.items() if count}


def in_order(nodes: Iterable[int], level: int, node_levels: Sequence[int]) -> tuple[int, ...]:
    """Inputs as a cell at `level` writes them: nodes at its own level first, then the others, each ascending."""
    ascending = sorted(nodes)
    own = [node for node in ascending if node_levels[node] == level]
    return (*own, *(node for node in ascending if node_levels[node] != level))


def _fields(letters: str) -> tuple[str, ...]:
    return ("level", "num_inputs", *(f"input_{letter}" for letter in letters), "merge", "transform")

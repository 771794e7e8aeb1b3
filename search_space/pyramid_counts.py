"""Exact numbers of ways to complete a sequence of a pyramid space."""

from __future__ import annotations

import math
from collections.abc import Sequence

from search_space.level_sequences import LevelSequences
from search_space.pyramid_cells import FIRST_INPUT, LEVEL, MERGE, SIZE, CellOptions
from search_space.space import Choices, Decision


class PyramidCounts:
    """Levels and the rest of the cells are counted apart: a cell's level says nothing of what else it may be.

    Args:
        options: what each cell may be.
        sequences: levels that the cells may have.
        numbers: how many cells there may be.
    """

    def __init__(self, options: CellOptions, sequences: LevelSequences, numbers: Sequence[int]) -> None:
        self._options = options
        self._sequences = sequences
        self._numbers = tuple(numbers)

    def of_cells(self, number: int) -> int:
        """Ways to choose `number` cells."""
        return self._sequences.count(number, ()) * self._options.count_range(0, number)

    def completions(self, choices: Choices) -> int:
        """Ways to choose what is missing of the number of cells and of the cells."""
        if "num_cells" not in choices:
            return sum(self.of_cells(number) for number in self._numbers)
        number, (index, _) = int(choices["num_cells"]), self._options.open_place(choices)
        before = [int(choices[names[LEVEL]]) for names in self._options.names[:number] if names[LEVEL] in choices]
        total = self._sequences.count(number - len(before), before)
        if index < number:
            total *= self._within(index, choices) * self._options.count_range(index + 1, number)
        return total

    def next_levels(self, index: int, choices: Choices) -> dict[int, int]:
        """Level that cell `index` may have -> ways to choose the levels after it."""
        before = [int(choices[names[LEVEL]]) for names in self._options.names[:index]]
        return self._sequences.next_counts(int(choices["num_cells"]) - index, before)

    def weights(self, choices: Choices, decision: Decision) -> list[int]:
        """In proportion to the ways to go on from each allowed choice; for every decision from `num_cells` on."""
        if decision.name == "num_cells":
            return [self.of_cells(number) for number in self._numbers]
        index, field = self._options.places[decision.name]
        if field == LEVEL:
            return list(self.next_levels(index, choices).values())
        if field == SIZE:
            return list(self._options.sizes[index].values())
        if not self._options.is_input(index, field):
            return [1] * len(decision.allowed)
        left = int(choices[self._options.names[index][SIZE]]) - 1 - (field - FIRST_INPUT)
        return [math.comb(later, left) for later in range(len(decision.allowed) + left - 1, left - 1, -1)]

    def _within(self, index: int, choices: Choices) -> int:
        """Ways to complete cell `index`, its level aside."""
        names, options = self._options.names[index], self._options
        if names[SIZE] not in choices:
            return options.count_range(index, index + 1)
        size, chosen = int(choices[names[SIZE]]), options.inputs(index, choices)
        nodes = options.order(index, choices)
        later = nodes[nodes.index(chosen[-1]) + 1 :] if chosen else nodes
        merges = 1 if names[MERGE] in choices else len(options.merges_of(size))
        return math.comb(len(later), size - len(chosen)) * merges * len(options.transforms)

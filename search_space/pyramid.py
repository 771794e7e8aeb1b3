"""Search space that contains the classics: FPN, PANet, PAFPN, BiFPN and the NAS-FPN cell."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeVar, get_args

from search_space.bounds import check_num_cells, is_whole, shown
from search_space.genotype import MERGES, TRANSFORMS, Genotype, MergeCell
from search_space.known import DEFAULT_LEVELS
from search_space.level_sequences import LevelSequences
from search_space.pyramid_cells import FIRST_INPUT, INPUT_LETTERS, LEVEL, MERGE, SIZE, TRANSFORM, CellOptions, in_order
from search_space.pyramid_counts import PyramidCounts
from search_space.pyramid_moves import arranged, relevelled, repaired_inputs, resized, truncated
from search_space.references import is_reference, reference_of
from search_space.space import Choice, Choices, Decision, SearchSpace

Uniform = Literal["genotypes", "num_cells"]
Value = TypeVar("Value", bool, int, str)


class PyramidSpace(SearchSpace):
    """Search space with a searched number of cells of 1..n inputs each; the last cell of a level is its output.

    The decisions are `merge_dangling`, `num_cells`, and for each cell k `cell{k}.level`, `cell{k}.num_inputs`,
    `cell{k}.input_a`, `cell{k}.input_b`, ..., `cell{k}.merge`, `cell{k}.transform`. The inputs of a cell have a fixed
    order: first the nodes at the cell's own level, then the others, each in ascending order (`ordered` sorts a
    genotype). A cell with one input can have every merge except `attention`, which takes exactly two.

    Args:
        levels: input and output levels, fine to coarse.
        min_cells: smallest number of cells; default: the number of levels.
        max_cells: largest number of cells, at most `MAX_SPACE_CELLS`; PAFPN over five levels has 17.
        max_inputs: largest number of inputs of a cell.
        merges: merges to choose from, as `MergeCell.merge` takes them.
        transforms: transforms to choose from.
        intermediate_levels: levels of cells that are not outputs, so each other level has at most one cell. The NAS-FPN
            paper excludes the finest level to save compute. Default: all levels, as FPN needs.
        merge_dangling: values of the decision `merge_dangling`.
        every_level: True if each level must have a cell, so that no output is an unchanged input.
        uniform: `genotypes` to draw uniformly from all genotypes (nearly all of them have the largest number of cells),
            or `num_cells` to draw first the number of cells uniformly and then a genotype with that number.

    Raises:
        ValueError: for values that do not fit, or that leave no genotype for some number of cells.
    """

    def __init__(
        self,
        levels: Sequence[int] = DEFAULT_LEVELS,
        *,
        min_cells: int | None = None,
        max_cells: int = 17,
        max_inputs: int = 3,
        merges: Sequence[str] = ("sum", "attention", "fast_normalized"),
        transforms: Sequence[str] = ("conv", "none"),
        intermediate_levels: Sequence[int] | None = None,
        merge_dangling: Sequence[bool] = (False, True),
        every_level: bool = True,
        uniform: Uniform = "genotypes",
    ) -> None:
        self.levels = Genotype(tuple(levels), ()).levels
        self.numbers = _numbers_of_cells(len(self.levels) if min_cells is None else min_cells, max_cells)
        self.merge_dangling = _subset("merge_dangling", merge_dangling, (False, True))
        self.intermediate_levels = _subset(
            "intermediate_levels", self.levels if intermediate_levels is None else intermediate_levels, self.levels
        )
        if uniform not in get_args(Uniform):
            raise ValueError(f"uniform must be one of {get_args(Uniform)}, got {uniform!r}")
        if not is_whole(max_inputs) or not 1 <= max_inputs <= len(INPUT_LETTERS):
            raise ValueError(f"max_inputs must be in 1..{len(INPUT_LETTERS)}, got {shown(max_inputs)}")
        self.every_level, self.uniform = every_level, uniform
        self._options = CellOptions(
            self.levels,
            max_cells,
            max_inputs,
            _merges(merges),
            _subset("transforms", transforms, TRANSFORMS),
        )
        sequences = LevelSequences(self.levels, self.intermediate_levels, every_level)
        self._counts = PyramidCounts(self._options, sequences, self.numbers)
        self._check_not_empty()

    def next_decision(self, choices: Choices) -> Decision | None:
        if "merge_dangling" not in choices:
            return Decision("merge_dangling", self.merge_dangling, self.merge_dangling)
        if "num_cells" not in choices:
            return Decision("num_cells", self.numbers, self.numbers)
        index, field = self._options.open_place(choices)
        return None if index == choices["num_cells"] else self._decide(index, field, choices)

    def decisions(self) -> dict[str, tuple[Choice | None, ...]]:
        options = self._options
        found: dict[str, tuple[Choice | None, ...]] = {"merge_dangling": self.merge_dangling, "num_cells": self.numbers}
        for index, (names, sizes) in enumerate(zip(options.names, options.sizes, strict=True)):
            absent = () if index < self.numbers[0] else (None,)
            found |= {names[LEVEL]: self.levels + absent, names[SIZE]: tuple(sizes) + absent}
            for position, name in enumerate(names[FIRST_INPUT : FIRST_INPUT + max(sizes)]):
                found[name] = (*range(options.first + index), *(absent if position < min(sizes) else (None,)))
            found |= {names[MERGE]: options.merges + absent, names[TRANSFORM]: options.transforms + absent}
        return found

    def _build(self, choices: Choices) -> Genotype:
        return Genotype(self.levels, tuple(self._cells(choices)), merge_dangling=bool(choices["merge_dangling"]))

    def encode(self, genotype: Genotype) -> dict[str, Choice]:
        if genotype.levels != self.levels:
            raise ValueError(f"genotypes of this space have levels {self.levels}, got {genotype.levels}")
        choices: dict[str, Choice] = {
            "merge_dangling": genotype.merge_dangling,
            "num_cells": len(genotype.cells),
        }
        for index, (names, cell) in enumerate(zip(self._options.names, genotype.cells, strict=False)):
            self._check_inputs(index, cell, genotype.node_levels)
            choices |= {names[LEVEL]: cell.level, names[SIZE]: len(cell.inputs)}
            choices |= zip(names[FIRST_INPUT:MERGE], cell.inputs, strict=False)
            choices |= {names[MERGE]: cell.merge, names[TRANSFORM]: cell.transform}
        return self._validated(choices)

    def ordered(self, genotype: Genotype) -> Genotype:
        """Genotype of the same function, with the inputs of every cell in the order of this space.

        `attention` of two nodes at one level keeps its order, because there it changes the function.
        """
        levels = genotype.node_levels
        cells = (
            cell
            if cell.merge == "attention" and len({levels[node] for node in cell.inputs}) == 1
            else replace(cell, inputs=in_order(cell.inputs, cell.level, levels))
            for cell in genotype.cells
        )
        return replace(genotype, cells=tuple(cells))

    def count(self, choices: Choices) -> int:
        dangling = 1 if "merge_dangling" in choices else len(self.merge_dangling)
        return dangling * self._counts.completions(choices)

    def _weights(self, choices: Choices, decision: Decision) -> list[int]:
        """In proportion to what each choice leaves open; see `uniform` for the number of cells."""
        if decision.name == "merge_dangling" or (decision.name == "num_cells" and self.uniform == "num_cells"):
            return [1] * len(decision.allowed)
        return self._counts.weights(choices, decision)

    def _decide(self, index: int, field: int, choices: Choices) -> Decision:
        options, names = self._options, self._options.names[index]
        name, size = names[field], int(choices.get(names[SIZE], 0))
        if field == LEVEL:
            return Decision(name, self.levels, tuple(self._counts.next_levels(index, choices)))
        if field == SIZE:
            return Decision(name, tuple(options.sizes[index]), tuple(options.sizes[index]))
        if name == names[MERGE]:
            return Decision(name, options.merges, options.merges_of(size))
        if name == names[TRANSFORM]:
            return Decision(name, options.transforms, options.transforms)
        nodes = self._options.order(index, choices)
        start = 0 if field == FIRST_INPUT else nodes.index(int(choices[names[field - 1]])) + 1
        stop = len(nodes) - (size - 1 - (field - FIRST_INPUT))
        return Decision(name, tuple(range(len(nodes))), nodes[start:stop])

    def _cells(self, choices: Choices) -> Iterator[MergeCell]:
        for index, names in enumerate(self._options.names[: int(choices["num_cells"])]):
            inputs = tuple(self._options.inputs(index, choices))
            yield MergeCell(
                int(choices[names[LEVEL]]), inputs, str(choices[names[MERGE]]), str(choices[names[TRANSFORM]])
            )

    def _moves(self, decision: Decision, current: Choice) -> list[Choice]:
        """One cell more or less; levels and inputs to anything; the rest to what fits the cell as it is."""
        if decision.name == "num_cells":
            return [number for number in self.numbers if abs(number - int(current)) == 1]
        index, field = self._options.places.get(decision.name, (-1, -1))
        free = field == LEVEL or (index >= 0 and self._options.is_input(index, field))
        return [choice for choice in (decision.choices if free else decision.allowed) if choice != current]

    def _reconcile(self, choices: Choices, name: str, choice: Choice) -> dict[str, Choice]:
        """Other cells stay as they are; a level that a cell may not leave or take changes hands."""
        if name == "num_cells":
            return truncated(self._options, choices, int(choice))
        index, field = self._options.places.get(name, (-1, -1))
        changed = {**choices, name: choice}
        if field == SIZE:
            changed = resized(self._options, choices, index, int(choice))
        if field == LEVEL:
            changed = relevelled(
                self._options,
                choices,
                index,
                int(choice),
                intermediate_levels=self.intermediate_levels,
                every_level=self.every_level,
            )
        return arranged(self._options, self.levels, changed)

    def _repair(self, wishes: Choices, rng: random.Random) -> Genotype:
        """As everywhere, and inputs that are too many, too few or twice cost no others."""
        choices: dict[str, Choice] = {}
        while (decision := self.next_decision(choices)) is not None:
            index, field = self._options.places.get(decision.name, (-1, -1))
            if field == FIRST_INPUT:
                nodes = repaired_inputs(self._options, wishes, index, int(choices[f"cell{index}.num_inputs"]), rng)
                names = self._options.names[index][FIRST_INPUT:]
                wanted = [node for node in self._options.order(index, choices) if node in nodes]
                choices |= zip(names, wanted, strict=False)
                continue
            wish = wishes.get(decision.name)
            choices[decision.name] = (
                wish if wish is not None and wish in decision.allowed else rng.choice(decision.allowed)
            )
        return self._build(choices)

    def _check_inputs(self, index: int, cell: MergeCell, node_levels: Sequence[int]) -> None:
        ordered = in_order(cell.inputs, cell.level, node_levels)
        if cell.inputs != ordered:
            raise ValueError(
                f"cell {index}: this space writes inputs at the cell's own level first, then the others, each "
                f"ascending: {ordered}, got {cell.inputs} (`ordered` brings a genotype into this order)"
            )

    def _check_not_empty(self) -> None:
        if impossible := [number for number in self.numbers if not self._counts.of_cells(number)]:
            raise ValueError(
                f"no genotype has {impossible[0]} cells with levels {self.levels}, intermediate_levels "
                f"{self.intermediate_levels}, every_level={self.every_level}, merges {self._options.merges} and up to "
                f"{self._options.max_inputs} inputs per cell"
            )


def pyramid_space(max_cells: int = 17, levels: Sequence[int] = DEFAULT_LEVELS) -> PyramidSpace:
    """Wider space of this project: 1 to 3 inputs per cell; sum, attention or fast normalized fusion; conv or none."""
    return PyramidSpace(levels, max_cells=max_cells)


def _numbers_of_cells(fewest: int, most: int) -> tuple[int, ...]:
    check_num_cells("max_cells", most, 0)
    check_num_cells("min_cells", fewest, 0)
    if not 0 <= fewest <= most or most == 0:
        raise ValueError(f"min_cells must be in 0..max_cells and max_cells positive, got {fewest} and {most}")
    return tuple(range(fewest, most + 1))


def _merges(chosen: Sequence[str]) -> tuple[str, ...]:
    """Names, and references to functions of the user."""
    names = [str(reference_of(merge)) for merge in chosen]
    return _subset("merges", names, (*MERGES, *filter(is_reference, names)))


def _subset(name: str, chosen: Sequence[Value], known: Sequence[Value]) -> tuple[Value, ...]:
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(known):
        raise ValueError(f"{name} must be distinct values of {tuple(known)}, one or more, got {tuple(chosen)}")
    return tuple(chosen)

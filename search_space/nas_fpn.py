"""The published NAS-FPN search space (arXiv 1904.07392 section 3; sizes as in Google's Vertex AI release)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from search_space.bounds import check_num_cells
from search_space.genotype import Genotype, MergeCell
from search_space.space import Choice, Choices, Decision, SearchSpace

NAS_FPN_MERGES = ("sum", "attention")
FIELDS = ("input_a", "input_b", "level", "merge")
"""Decisions of a cell, in order."""


class NasFpnSpace(SearchSpace):
    """Published search space of NAS-FPN: intermediate cells at searched levels, then one output cell per level.

    Every cell merges an unordered pair of earlier nodes by sum or attention, and transforms the result. The decisions
    of cell k are `cell{k}.input_a`, `cell{k}.input_b` (> input_a), `cell{k}.level` and `cell{k}.merge`. The order of
    the outputs is searched as well: the level of an output cell is one that no earlier output has.

    Args:
        num_cells: number of cells, intermediate and output, at most `MAX_SPACE_CELLS`.
        levels: input and output levels, fine to coarse.
        intermediate_levels: levels of intermediate cells; the paper excludes the finest level to save compute.

    Raises:
        ValueError: for fewer cells than levels, or intermediate levels outside `levels`.
    """

    def __init__(
        self,
        num_cells: int = 7,
        levels: Sequence[int] = (3, 4, 5, 6, 7),
        intermediate_levels: Sequence[int] | None = None,
    ) -> None:
        self.levels = Genotype(tuple(levels), ()).levels
        check_num_cells("num_cells", num_cells, 1)
        self.intermediate_levels = self.levels[1:] if intermediate_levels is None else tuple(intermediate_levels)
        self.num_intermediate = num_cells - len(self.levels)
        if len(self.levels) < 2:
            raise ValueError(f"the space merges pairs of maps and needs two levels or more, got {self.levels}")
        if self.num_intermediate < 0:
            raise ValueError(f"num_cells must be at least the number of levels ({len(self.levels)}), got {num_cells}")
        chosen = set(self.intermediate_levels)
        if not chosen or not chosen <= set(self.levels) or len(chosen) < len(self.intermediate_levels):
            raise ValueError(
                f"intermediate_levels must be distinct and a part of {self.levels}, got {self.intermediate_levels}"
            )
        self.num_cells = num_cells

    def next_decision(self, choices: Choices) -> Decision | None:
        index, field = divmod(len(choices), len(FIELDS))
        return None if index == self.num_cells else self._decide(index, FIELDS[field], choices)

    def decisions(self) -> dict[str, tuple[Choice | None, ...]]:
        found: dict[str, tuple[Choice | None, ...]] = {}
        for index in range(self.num_cells):
            bank = tuple(range(len(self.levels) + index))
            levels = self.intermediate_levels if self._is_intermediate(index) else self.levels
            found |= zip(
                (f"cell{index}.{field}" for field in FIELDS), (bank, bank, levels, NAS_FPN_MERGES), strict=True
            )
        return found

    def _build(self, choices: Choices) -> Genotype:
        return Genotype(self.levels, tuple(self._cells(choices)), merge_dangling=True)

    def encode(self, genotype: Genotype) -> dict[str, Choice]:
        if genotype.levels != self.levels or not genotype.merge_dangling:
            raise ValueError(
                f"genotypes of this space have levels {self.levels} and merge dangling nodes; "
                f"got {genotype.levels}, merge_dangling={genotype.merge_dangling}"
            )
        if len(genotype.cells) != self.num_cells:
            raise ValueError(f"genotypes of this space have {self.num_cells} cells, got {len(genotype.cells)}")
        choices: dict[str, Choice] = {}
        for index, cell in enumerate(genotype.cells):
            if len(cell.inputs) != 2 or cell.transform != "conv":
                raise ValueError(f"cell {index}: this space merges pairs and transforms each, got {cell}")
            if cell.inputs[0] > cell.inputs[1]:
                raise ValueError(f"cell {index}: this space writes a pair in ascending order, got {cell.inputs}")
            wanted = (cell.inputs[0], cell.inputs[1], cell.level, cell.merge)
            for field, choice in zip(FIELDS, wanted, strict=True):
                decision = self._decide(index, field, choices)
                if choice not in decision.allowed:
                    raise ValueError(f"{decision.name} is {choice!r}, allowed here are {decision.allowed}")
                choices[decision.name] = choice
        return choices

    def count(self, choices: Choices) -> int:
        total = 1
        for index in range(self.num_cells):
            if f"cell{index}.input_b" not in choices:
                total *= self._count_pairs(index, choices)
            if f"cell{index}.merge" not in choices:
                total *= len(NAS_FPN_MERGES)
            if self._is_intermediate(index) and f"cell{index}.level" not in choices:
                total *= len(self.intermediate_levels)
        return total * math.factorial(len(self._open_outputs(choices)))

    def _weights(self, choices: Choices, decision: Decision) -> list[int]:
        """As counting each, from one count: only the first input of a pair leaves differently many choices."""
        total = self.count(choices)
        if not decision.name.endswith("input_a"):
            return [total // len(decision.allowed)] * len(decision.allowed)
        bank = len(decision.choices)
        return [total // math.comb(bank, 2) * (bank - 1 - int(first)) for first in decision.allowed]

    def _count_pairs(self, index: int, choices: Choices) -> int:
        bank = len(self.levels) + index
        if (first := choices.get(f"cell{index}.input_a")) is not None:
            return bank - 1 - int(first)
        return math.comb(bank, 2)

    def _is_intermediate(self, index: int) -> bool:
        return index < self.num_intermediate

    def _open_outputs(self, choices: Choices) -> tuple[int, ...]:
        """Levels that no output cell has yet."""
        outputs = range(self.num_intermediate, self.num_cells)
        taken = {choices.get(f"cell{index}.level") for index in outputs}
        return tuple(level for level in self.levels if level not in taken)

    def _decide(self, index: int, field: str, choices: Choices) -> Decision:
        bank = len(self.levels) + index
        name = f"cell{index}.{field}"
        if field == "input_a":
            return Decision(name, tuple(range(bank)), tuple(range(bank - 1)))
        if field == "input_b":
            first = int(choices[f"cell{index}.input_a"])
            return Decision(name, tuple(range(bank)), tuple(range(first + 1, bank)))
        if field == "merge":
            return Decision(name, NAS_FPN_MERGES, NAS_FPN_MERGES)
        if self._is_intermediate(index):
            return Decision(name, self.intermediate_levels, self.intermediate_levels)
        return Decision(name, self.levels, self._open_outputs(choices))

    def _cells(self, choices: Choices) -> Iterator[MergeCell]:
        for index in range(self.num_cells):
            pair = (int(choices[f"cell{index}.input_a"]), int(choices[f"cell{index}.input_b"]))
            level = int(choices[f"cell{index}.level"])
            yield MergeCell(level, pair, str(choices[f"cell{index}.merge"]))

    def _reconcile(self, choices: Choices, name: str, choice: Choice) -> dict[str, Choice]:
        """Keep pairs sorted, and let an output that loses its level take the one given up."""
        cell, field = name.split(".")
        changed = {**choices, name: choice}
        if field in ("input_a", "input_b"):
            pair = sorted(int(changed[f"{cell}.{part}"]) for part in ("input_a", "input_b"))
            changed |= {f"{cell}.input_a": pair[0], f"{cell}.input_b": pair[1]}
        elif field == "level" and not self._is_intermediate(int(cell.removeprefix("cell"))):
            outputs = [f"cell{index}.level" for index in range(self.num_intermediate, self.num_cells)]
            for other in outputs:
                if other != name and choices[other] == choice:
                    changed[other] = choices[name]
        return changed


def nas_fpn_space(num_cells: int = 7) -> NasFpnSpace:
    """Published space of NAS-FPN: P3..P7, intermediate cells on P4..P7; 1,931,334,451,200,000 genotypes of 7 cells."""
    return NasFpnSpace(num_cells)

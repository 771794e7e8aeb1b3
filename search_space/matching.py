"""Cells of one genotype paired with those of another, so that weights can go from one to the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from search_space.genotype import Genotype, MergeCell


@dataclass(frozen=True)
class CellMatch:
    """A pair of live cells.

    Args:
        child, parent: positions among the live cells of their genotypes.
        operands: per operand of the child's cell (inputs, then dangling nodes) the position of the parent's operand
            that corresponds to it; None for a dangling node without one. Inputs correspond one to one.
    """

    child: int
    parent: int
    operands: tuple[int | None, ...]


def live_cells(genotype: Genotype) -> list[int]:
    """Nodes of the cells that some output depends on, in order."""
    return sorted(node for node in genotype.live_nodes if node >= len(genotype.levels))


def match_cells(child: Genotype, parent: Genotype) -> list[CellMatch]:
    """Pairs of cells, each cell in one at most, by the child's order.

    First cells that compute the same of the inputs are paired. Of the others those of the same level, merge and number
    of inputs are: in an order that both genotypes share, with as many common inputs and transforms as possible, and at
    last whatever is left in order. A genotype is paired with itself cell by cell.
    """
    pairs = _same_computation(child, parent)
    _align(child, parent, pairs)
    _take_left(child, parent, pairs)
    place = {node: at for at, node in enumerate(live_cells(parent))}
    return [
        CellMatch(at, place[pairs[node]], _operands(child, node, parent, pairs[node], pairs))
        for at, node in enumerate(live_cells(child))
        if node in pairs
    ]


def _same_computation(child: Genotype, parent: Genotype) -> dict[int, int]:
    """Child's nodes to parent's, inputs of the same level among them."""
    table: dict[Any, int] = {}
    waiting: dict[int, list[int]] = defaultdict(list)
    for node, key in _keys(parent, table).items():
        waiting[key].append(node)
    return {node: waiting[key].pop(0) for node, key in _keys(child, table).items() if waiting[key]}


def _keys(genotype: Genotype, table: dict[Any, int]) -> dict[int, int]:
    """Number for the computation of each live node; equal numbers for equal computations.

    Args:
        table: numbers so far; shared by the genotypes that are compared.
    """
    keys = {node: table.setdefault(level, len(table)) for node, level in enumerate(genotype.levels)}
    for node in live_cells(genotype):
        cell, added = _cell(genotype, node), _dangling(genotype, node)
        inputs = [keys[each] for each in cell.inputs]
        if cell.merge == "attention":
            first, second = (genotype.node_levels[each] for each in cell.inputs)
            inputs = inputs if first >= second else inputs[::-1]
        else:
            inputs = sorted(inputs)
        key = (cell.level, cell.merge, cell.transform, tuple(inputs), tuple(sorted(keys[each] for each in added)))
        keys[node] = table.setdefault(key, len(table))
    return keys


def _align(child: Genotype, parent: Genotype, pairs: dict[int, int]) -> None:
    """Pair cells that are left in the best order that both share."""
    ours, theirs = _left(child, pairs), _left(parent, pairs.values())
    score = partial(_score, child, parent, dict(pairs))
    best = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i, node in enumerate(ours):
        for j, other in enumerate(theirs):
            value = score(node, other)
            taken = best[i][j] + value if value else 0
            best[i + 1][j + 1] = max(best[i][j + 1], best[i + 1][j], taken)
    i, j = len(ours), len(theirs)
    while i and j:
        value = score(ours[i - 1], theirs[j - 1])
        if value and best[i][j] == best[i - 1][j - 1] + value:
            i, j = i - 1, j - 1
            pairs[ours[i]] = theirs[j]
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1


def _score(child: Genotype, parent: Genotype, pairs: Mapping[int, int], node: int, other: int) -> int:
    """How alike two cells are; 0 if they cannot be a pair."""
    ours, theirs = _cell(child, node), _cell(parent, other)
    if not _fits(ours, theirs):
        return 0
    common = {pairs.get(each) for each in ours.inputs} & set(theirs.inputs)
    levels = [
        sorted(genotype.node_levels[each] for each in cell.inputs)
        for genotype, cell in ((child, ours), (parent, theirs))
    ]
    return 8 + 4 * (ours.transform == theirs.transform) + 2 * len(common) + (levels[0] == levels[1]) + (node == other)


def _fits(ours: MergeCell, theirs: MergeCell) -> bool:
    return (ours.level, ours.merge, len(ours.inputs)) == (theirs.level, theirs.merge, len(theirs.inputs))


def _take_left(child: Genotype, parent: Genotype, pairs: dict[int, int]) -> None:
    theirs = _left(parent, pairs.values())
    for node in _left(child, pairs):
        found = next((other for other in theirs if _fits(_cell(child, node), _cell(parent, other))), None)
        if found is not None:
            pairs[node] = found
            theirs.remove(found)


def _left(genotype: Genotype, taken: Iterable[int]) -> list[int]:
    gone = set(taken)
    return [node for node in live_cells(genotype) if node not in gone]


def _operands(
    child: Genotype, node: int, parent: Genotype, other: int, pairs: Mapping[int, int]
) -> tuple[int | None, ...]:
    ours, theirs = _cell(child, node).inputs, _cell(parent, other).inputs
    inputs = _corresponding(ours, theirs, pairs)
    spare = [at for at in range(len(theirs)) if at not in inputs]
    added = _corresponding(_dangling(child, node), _dangling(parent, other), pairs)
    return (
        *(spare.pop(0) if at is None else at for at in inputs),
        *(None if at is None else at + len(theirs) for at in added),
    )


def _corresponding(ours: Sequence[int], theirs: Sequence[int], pairs: Mapping[int, int]) -> list[int | None]:
    places = {node: at for at, node in enumerate(theirs)}
    return [places.get(pairs.get(node, -1)) for node in ours]


def _cell(genotype: Genotype, node: int) -> MergeCell:
    return genotype.cells[node - len(genotype.levels)]


def _dangling(genotype: Genotype, node: int) -> tuple[int, ...]:
    return genotype.dangling[node - len(genotype.levels)]

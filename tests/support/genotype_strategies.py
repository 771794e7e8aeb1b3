"""Hypothesis strategies for genotypes, and slow oracles written independently of the package."""

from itertools import permutations

from hypothesis import strategies as st

from search_space import Genotype, MergeCell


@st.composite
def merge_cells(draw, levels, bank):
    """A valid cell over nodes 0 .. bank - 1."""
    inputs = draw(st.lists(st.integers(0, bank - 1), min_size=1, max_size=min(3, bank), unique=True))
    merges = ["sum", "fast_normalized"] + (["attention"] if len(inputs) == 2 else [])
    return MergeCell(
        draw(st.sampled_from(levels)),
        tuple(inputs),
        draw(st.sampled_from(merges)),
        draw(st.sampled_from(["conv", "none"])),
    )


@st.composite
def genotypes(draw, min_cells=0, max_cells=5, merge_dangling=None):
    levels = tuple(sorted(draw(st.sets(st.integers(2, 7), min_size=1, max_size=4))))
    count = draw(st.integers(min_cells, max_cells))
    cells = tuple(draw(merge_cells(levels, len(levels) + index)) for index in range(count))
    dangling = draw(st.booleans()) if merge_dangling is None else merge_dangling
    return Genotype(levels, cells, dangling)


def canonical(genotype):
    """Least description over all numberings of the live cells: equal exactly for isomorphic graphs."""
    first = len(genotype.levels)
    outputs = {level: node for node, level in enumerate(genotype.node_levels)}
    operands = dict(enumerate((*cell.inputs, *genotype.dangling[k]) for k, cell in enumerate(genotype.cells)))
    live, frontier = set(), list(outputs.values())
    while frontier:
        node = frontier.pop()
        if node not in live:
            live.add(node)
            frontier += operands.get(node - first, ())
    cells = sorted(node for node in live if node >= first)
    return min(
        _describe(genotype, dict(zip(cells, order, strict=True)), outputs)
        for order in permutations(range(first, first + len(cells)))
    )


def _describe(genotype, numbers, outputs):
    def rename(nodes):
        return [numbers.get(node, node) for node in nodes]

    rows = []
    for node, number in numbers.items():
        index = node - len(genotype.levels)
        cell, added = genotype.cells[index], rename(genotype.dangling[index])
        inputs = rename(cell.inputs)
        if cell.merge == "attention":
            a, b = (genotype.node_levels[node] for node in cell.inputs)
            inputs = inputs if a >= b else inputs[::-1]
        elif cell.merge == "sum":
            inputs, added = sorted(inputs + added), []
        else:
            inputs = sorted(inputs)
        rows.append((number, cell.level, cell.merge, cell.transform, tuple(inputs), tuple(sorted(added))))
    final = sorted((level, numbers.get(node, node)) for level, node in outputs.items())
    return genotype.levels, tuple(sorted(rows)), tuple(final)


def reordered(genotype, rank):
    """The same cells in another order that keeps inputs before users and outputs last at their level.

    Args:
        genotype: without merge_dangling, which reads the order.
        rank: a number per cell; of the cells that could be next, the least goes first.
    """
    first = len(genotype.levels)
    numbers = {node: node for node in range(first)}
    cells = []
    while len(cells) < len(genotype.cells):
        ready = [
            index
            for index, cell in enumerate(genotype.cells)
            if first + index not in numbers
            and set(cell.inputs) <= set(numbers)
            and _may_close(genotype, index, numbers)
        ]
        index = min(ready, key=lambda index: rank[index])
        cell = genotype.cells[index]
        cells.append(MergeCell(cell.level, tuple(numbers[node] for node in cell.inputs), cell.merge, cell.transform))
        numbers[first + index] = len(numbers)
    return Genotype(genotype.levels, tuple(cells))


def _may_close(genotype, index, numbers):
    """An output cell waits for every other cell of its level."""
    node, level = len(genotype.levels) + index, genotype.cells[index].level
    return genotype.outputs[level] != node or all(
        other in numbers for other in range(node) if genotype.node_levels[other] == level
    )


def insert_cell(genotype, index, cell):
    """`cell` put before cell `index`, every later node renumbered; nothing uses it."""
    new = len(genotype.levels) + index

    def shift(old):
        return MergeCell(old.level, tuple(n + (n >= new) for n in old.inputs), old.merge, old.transform)

    cells = (*genotype.cells[:index], cell, *(shift(old) for old in genotype.cells[index:]))
    return Genotype(genotype.levels, cells, genotype.merge_dangling)

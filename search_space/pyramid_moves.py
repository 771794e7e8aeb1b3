"""Small changes to a sequence of a pyramid space: what else moves along with one changed decision."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from search_space.pyramid_cells import FIRST_INPUT, LEVEL, SIZE, CellOptions, in_order
from search_space.space import Choice, Choices


def truncated(options: CellOptions, choices: Choices, number: int) -> dict[str, Choice]:
    """The sequence with `number` cells: the last ones dropped, or decisions missing at the end."""
    kept = {name: choice for name, choice in choices.items() if options.places.get(name, (-1, 0))[0] < number}
    return {**kept, "num_cells": number}


def relevelled(
    options: CellOptions,
    choices: Choices,
    index: int,
    level: int,
    *,
    intermediate_levels: Collection[int],
    every_level: bool,
) -> dict[str, Choice]:
    """Cell `index` at another level; the last cell there takes the old level where the space needs that."""
    names = [row[LEVEL] for row in options.names[: int(choices["num_cells"])]]
    old = choices[names[index]]
    others = [name for name in names if choices[name] == level]
    leaves_gap = every_level and sum(choices[name] == old for name in names) == 1
    changed = {**choices, names[index]: level}
    if others and (leaves_gap or level not in intermediate_levels):
        changed[others[-1]] = old
    return changed


def resized(options: CellOptions, choices: Choices, index: int, size: int) -> dict[str, Choice]:
    """Cell `index` with another number of inputs: the last ones dropped, or decisions missing."""
    names = options.names[index]
    dropped = names[FIRST_INPUT + size : FIRST_INPUT + int(choices[names[SIZE]])]
    kept = {name: choice for name, choice in choices.items() if name not in dropped}
    return {**kept, names[SIZE]: size}


def arranged(options: CellOptions, levels: Sequence[int], choices: Choices) -> dict[str, Choice]:
    """The sequence with the inputs of every cell in order; `levels` are those of the input nodes."""
    rows = options.names[: int(choices["num_cells"])]
    node_levels = [*levels, *(int(choices[row[LEVEL]]) for row in rows)]
    changed = dict(choices)
    for index, row in enumerate(rows):
        nodes = in_order(options.inputs(index, choices), int(choices[row[LEVEL]]), node_levels)
        changed |= zip(row[FIRST_INPUT:], nodes, strict=False)
    return changed


def repaired_inputs(options: CellOptions, wishes: Choices, index: int, size: int, rng: random.Random) -> list[int]:
    """`size` distinct nodes: those wished for, of which some are dropped or to which some are added at random."""
    bank = options.first + index
    nodes = sorted({node for node in options.inputs(index, wishes) if node < bank})
    rng.shuffle(nodes)
    unused = [node for node in range(bank) if node not in nodes]
    return [*nodes[:size], *rng.sample(unused, max(0, size - len(nodes)))]

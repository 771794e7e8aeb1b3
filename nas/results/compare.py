"""Two necks side by side, cell by cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from search_space import Genotype
from search_space.node_names import node_names


@dataclass(frozen=True)
class Pair:
    """One line of a comparison; empty on a side that has nothing there."""

    first: str
    second: str

    @property
    def differs(self) -> bool:
        return self.first != self.second


def cell_lines(genotype: Genotype) -> list[str]:
    """Formula of each cell, such as `p4_a = conv(sum(p4, p6) + p5)`, in the order of computation.

    Nodes have the names of `node_names`, which do not depend on the order of cells at other levels. After `+` are
    dangling adds. Cells that no output depends on are left out.
    """
    names = node_names(genotype)
    lines = []
    for index, cell in enumerate(genotype.cells):
        node = len(genotype.levels) + index
        if node not in names:
            continue
        inputs = ", ".join(names[each] for each in sorted(cell.inputs))
        merged = inputs if len(cell.inputs) == 1 else f"{cell.merge}({inputs})"
        merged += "".join(f" + {names[each]}" for each in genotype.dangling[index])
        lines.append(f"{names[node]} = {merged if cell.transform == 'none' else f'conv({merged})'}")
    return lines


def side_by_side(first: Genotype, second: Genotype) -> list[Pair]:
    """The cells of both; equal ones share a line."""
    ours, theirs = cell_lines(first), cell_lines(second)
    pairs = []
    for _, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        pairs += [Pair(x, y) for x, y in zip_longest(ours[a:b], theirs[c:d], fillvalue="")]
    return pairs


def outline(genotype: Genotype) -> dict[str, str]:
    """Outline of a neck by title (levels, cells, merges, ...), in a few words each."""
    live = [cell for index, cell in enumerate(genotype.cells) if len(genotype.levels) + index in genotype.live_nodes]
    merges = Counter(cell.merge for cell in live)
    convs = sum(cell.transform != "none" for cell in live)
    dangling = sum(map(len, genotype.dangling))
    return {
        "levels": f"P{genotype.levels[0]}..P{genotype.levels[-1]}",
        "cells": f"{len(live)}, {convs} with a convolution",
        "merges": ", ".join(f"{count} {name}" for name, count in sorted(merges.items())),
        "connections": str(sum(len(cell.inputs) for cell in live)),
        "dangling adds": str(dangling),
        "longest way": f"{_depth(genotype)} cells in a row",
        "fingerprint": genotype.fingerprint,
    }


def _depth(genotype: Genotype) -> int:
    depths = [0] * len(genotype.levels)
    for index, cell in enumerate(genotype.cells):
        depths.append(1 + max(depths[node] for node in (*cell.inputs, *genotype.dangling[index])))
    return max(depths[node] for node in genotype.outputs.values())

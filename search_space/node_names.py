"""Names of a genotype's nodes, as variables and in drawings."""

from __future__ import annotations

from collections import Counter

from search_space.genotype import Genotype


def node_names(genotype: Genotype) -> dict[int, str]:
    """`p4` for the input of level 4, `p4_out` for its output, `p4_a`, `p4_b`, ... for cells between them.

    Cells that no output depends on have no name. A level without cells gives its input.
    """
    first = len(genotype.levels)
    outputs = set(genotype.outputs.values())
    names = {node: f"p{level}" for node, level in enumerate(genotype.levels)}
    count: Counter[int] = Counter()
    for node in sorted(genotype.live_nodes):
        if node < first:
            continue
        level = genotype.node_levels[node]
        if node in outputs:
            names[node] = f"p{level}_out"
        else:
            names[node] = f"p{level}_{_letters(count[level])}"
            count[level] += 1
    return names


def _letters(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    tail = chr(ord("a") + index % 26)
    return _letters(index // 26 - 1) + tail if index >= 26 else tail

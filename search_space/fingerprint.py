"""A canonical hash of a merge graph: the same for every way to write the same computation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from search_space.normal_form import Cell, NormalForm
from search_space.numbering import Numbering


def fingerprint(
    levels: Sequence[int],
    cells: Sequence[Cell],
    dangling: Sequence[tuple[int, ...]],
    outputs: Mapping[int, int],
) -> str:
    """Hash of what the outputs depend on; `Genotype.fingerprint` says which computations are the same.

    Args:
        levels: input levels, nodes 0 .. len(levels) - 1.
        cells: the remaining nodes in order.
        dangling: per cell, nodes added after its merge.
        outputs: level -> node.
    """
    numbering = Numbering(NormalForm(levels, cells, dangling, outputs), len(levels))
    text = repr((tuple(levels), numbering.keys, numbering.outputs))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

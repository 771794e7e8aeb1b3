"""A canonical hash of a merge graph: the same for every way to write the same computation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

Cell = tuple[int, tuple[int, ...], str, str]
"""level, inputs, merge, transform"""
Operand = tuple[str, int]
"""role in the merge, node"""
Label = tuple[int, str, str]
"""level, merge, transform"""
Key = tuple[Label, tuple[Operand, ...]]


def fingerprint(
    levels: Sequence[int],
    cells: Sequence[Cell],
    dangling: Sequence[tuple[int, ...]],
    outputs: Mapping[int, int],
) -> str:
    """Hash of the graph that the outputs depend on, nodes numbered in a canonical order.

    Does not depend on the order of operands that play the same role, on the order of independent cells, or
    on cells that no output uses. Cells that are alike but separate (own weights) stay separate.

    Args:
        levels: input levels, nodes 0 .. len(levels) - 1.
        cells: the remaining nodes in order.
        dangling: per cell, nodes added after its merge.
        outputs: level -> node.
    """
    first = len(levels)
    operands: dict[int, tuple[Operand, ...]] = {}
    labels: dict[int, Label] = {}
    for index, (level, inputs, merge, transform) in enumerate(cells):
        node_levels = [*levels, *(cell[0] for cell in cells)]
        operands[first + index] = _operands(merge, inputs, dangling[index], node_levels)
        labels[first + index] = (level, merge, transform)
    live = _live(operands, outputs.values())
    consumers: dict[int, list[Operand]] = {node: [] for node in range(first + len(cells))}
    for node in live & operands.keys():
        for role, operand in operands[node]:
            consumers[operand].append((role, node))
    numbers = {node: node for node in range(first)}
    keys, numbers = _number(numbers, sorted(live & operands.keys()), operands, labels, consumers, outputs)
    text = repr((tuple(levels), keys, _output_numbers(outputs, numbers)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _operands(
    merge: str, inputs: tuple[int, ...], added: tuple[int, ...], node_levels: Sequence[int]
) -> tuple[Operand, ...]:
    """Operands with the role they play; adding a dangling node to a sum is the same as summing it."""
    if merge == "sum":
        return tuple(("sum", node) for node in (*inputs, *added))
    roles = [("merged", node) for node in inputs]
    if merge == "attention":
        a, b = inputs
        coarse, fine = (a, b) if node_levels[a] >= node_levels[b] else (b, a)
        roles = [("coarse", coarse), ("fine", fine)]
    return (*roles, *(("added", node) for node in added))


def _live(operands: Mapping[int, tuple[Operand, ...]], outputs: object) -> set[int]:
    live: set[int] = set()
    frontier = list(outputs)  # type: ignore[call-overload]
    while frontier:
        node = frontier.pop()
        if node not in live:
            live.add(node)
            frontier.extend(operand for _, operand in operands.get(node, ()))
    return live


def _number(
    numbers: dict[int, int],
    remaining: list[int],
    operands: Mapping[int, tuple[Operand, ...]],
    labels: Mapping[int, Label],
    consumers: Mapping[int, list[Operand]],
    outputs: Mapping[int, int],
) -> tuple[tuple[Key, ...], dict[int, int]]:
    """Number cells smallest key first; where twins differ only in who uses them, try each and keep the least."""
    keys: list[Key] = []
    while remaining:
        ready = {
            node: (labels[node], tuple(sorted((role, numbers[operand]) for role, operand in operands[node])))
            for node in remaining
            if all(operand in numbers for _, operand in operands[node])
        }
        least = min(ready.values())
        twins = [node for node, key in ready.items() if key == least]
        users = {(tuple(sorted(consumers[node])), node in outputs.values()) for node in twins}
        if len(users) > 1:
            branches = [
                _number(
                    {**numbers, node: len(numbers)},
                    [other for other in remaining if other != node],
                    operands,
                    labels,
                    consumers,
                    outputs,
                )
                for node in twins
            ]
            tail, numbers = min(branches, key=lambda branch: (branch[0], _output_numbers(outputs, branch[1])))
            return (*keys, least, *tail), numbers
        numbers = {**numbers, twins[0]: len(numbers)}
        remaining = [other for other in remaining if other != twins[0]]
        keys.append(least)
    return tuple(keys), numbers


def _output_numbers(outputs: Mapping[int, int], numbers: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((level, numbers[node]) for level, node in sorted(outputs.items()))

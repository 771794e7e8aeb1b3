"""One numbering of a merge graph's nodes, whatever order they were written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import factorial, prod

from search_space.normal_form import Label, NormalForm, Operand
from search_space.symmetry import canonical_ranks

Key = tuple[Label, tuple[Operand, ...]]
MAX_ORDERS = 120
"""Orders of twins that are tried one by one."""


class Numbering:
    """Nodes numbered smallest key first.

    Twins have the same label and operands and differ only in who uses them. Each of them is tried as the next, and
    the least result kept, where that is at most `MAX_ORDERS` orders; a canonical order decides where it is more. Which
    of the two it is depends on the graph alone.

    Args:
        first: number of input nodes, which keep their numbers.

    Attributes:
        keys: label and numbered operands of every node, in the order of their numbers.
        outputs: level and number of each output.
    """

    def __init__(self, graph: NormalForm, first: int) -> None:
        self._graph = graph
        self._consumers: dict[int, list[Operand]] = {node: [] for node in (*range(first), *graph.labels)}
        for node, operands in graph.operands.items():
            for role, operand in operands:
                self._consumers[operand].append((role, node))
        groups = Counter((label, tuple(sorted(graph.operands[node]))) for node, label in graph.labels.items())
        many = prod(factorial(size) for size in groups.values()) > MAX_ORDERS
        self._ranks = canonical_ranks(graph, first, self._consumers) if many else None
        self.keys, numbers = self._number({node: node for node in range(first)}, sorted(graph.labels))
        self.outputs = self._outputs(numbers)

    def _number(self, numbers: dict[int, int], remaining: list[int]) -> tuple[tuple[Key, ...], dict[int, int]]:
        keys: list[Key] = []
        while remaining:
            ready = self._ready(numbers, remaining)
            least = min(ready.values())
            twins = [node for node, key in ready.items() if key == least]
            if self._ranks is not None:
                twins = [min(twins, key=self._ranks.__getitem__)]
            if self._differ(twins):
                branches = (
                    self._number({**numbers, node: len(numbers)}, [other for other in remaining if other != node])
                    for node in twins
                )
                tail, numbers = min(branches, key=lambda branch: (branch[0], self._outputs(branch[1])))
                return (*keys, least, *tail), numbers
            numbers = {**numbers, twins[0]: len(numbers)}
            remaining = [other for other in remaining if other != twins[0]]
            keys.append(least)
        return tuple(keys), numbers

    def _ready(self, numbers: Mapping[int, int], remaining: list[int]) -> dict[int, Key]:
        """Keys of the nodes whose operands are all numbered."""
        operands, labels = self._graph.operands, self._graph.labels
        return {
            node: (labels[node], tuple(sorted((role, numbers[operand]) for role, operand in operands[node])))
            for node in remaining
            if all(operand in numbers for _, operand in operands[node])
        }

    def _differ(self, twins: list[int]) -> bool:
        if len(twins) == 1:
            return False
        outputs = set(self._graph.outputs.values())
        return len({(tuple(sorted(self._consumers[node])), node in outputs) for node in twins}) > 1

    def _outputs(self, numbers: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
        return tuple((level, numbers[node]) for level, node in sorted(self._graph.outputs.items()))

"""One numbering of a merge graph's nodes, whatever order they were written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from math import factorial, prod

from search_space.normal_form import Label, NormalForm, Operand
from search_space.symmetry import canonical_ranks

Key = tuple[Label, tuple[Operand, ...]]
MAX_ORDERS = 120
"""Orders of twins that are tried one by one."""
MAX_STEPS = 100_000
"""Operands that are looked at in all these orders together: a tenth of a second."""


class Numbering:
    """Nodes numbered smallest key first.

    Twins have the same label and operands and differ only in who uses them. Each of them is tried as the next, and
    the least result kept, where that is at most `MAX_ORDERS` orders of `MAX_STEPS` operands; a canonical order decides
    where it is more. Which of the two it is depends on the graph alone.

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
        self._put_out = set(graph.outputs.values())
        groups = Counter((label, tuple(sorted(graph.operands[node]))) for node, label in graph.labels.items())
        orders = prod(factorial(size) for size in groups.values())
        steps = orders * sum(map(len, graph.operands.values()))
        many = orders > MAX_ORDERS or (orders > 1 and steps > MAX_STEPS)
        self._ranks = canonical_ranks(graph, first, self._consumers) if many else None
        self.keys, numbers = self._number(self._start(first))
        self.outputs = self._outputs(numbers)

    def _start(self, first: int) -> _Progress:
        waiting = {node: len(operands) for node, operands in self._graph.operands.items()}
        progress = _Progress({}, waiting, [])
        for node in range(first):
            self._take(node, progress)
        return progress

    def _number(self, progress: _Progress) -> tuple[tuple[Key, ...], dict[int, int]]:
        keys: list[Key] = []
        while progress.ready:
            least, twins = progress.least()
            if self._ranks is not None:
                twins.sort(key=self._ranks.__getitem__)
            elif self._differ(twins):
                branches = (self._number(self._branch(progress, least, twins, node)) for node in twins)
                tail, numbers = min(branches, key=lambda branch: (branch[0], self._outputs(branch[1])))
                return (*keys, least, *tail), numbers
            progress.put_back(least, twins[1:])
            self._take(twins[0], progress)
            keys.append(least)
        return tuple(keys), progress.numbers

    def _branch(self, progress: _Progress, least: Key, twins: list[int], node: int) -> _Progress:
        """The way on when `node` is taken first of its twins."""
        branch = progress.copy()
        branch.put_back(least, [twin for twin in twins if twin != node])
        self._take(node, branch)
        return branch

    def _take(self, node: int, progress: _Progress) -> None:
        """Give a node the next number; consumers all of whose operands have one are ready then."""
        progress.numbers[node] = len(progress.numbers)
        for _, consumer in self._consumers[node]:
            progress.waiting[consumer] -= 1
            if not progress.waiting[consumer]:
                heappush(progress.ready, (self._key(consumer, progress.numbers), consumer))

    def _key(self, node: int, numbers: Mapping[int, int]) -> Key:
        operands = sorted((role, numbers[operand]) for role, operand in self._graph.operands[node])
        return self._graph.labels[node], tuple(operands)

    def _differ(self, twins: list[int]) -> bool:
        if len(twins) == 1:
            return False
        return len({(tuple(sorted(self._consumers[node])), node in self._put_out) for node in twins}) > 1

    def _outputs(self, numbers: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
        return tuple((level, numbers[node]) for level, node in sorted(self._graph.outputs.items()))


class _Progress:
    """How far a numbering is.

    Args:
        numbers: of the nodes that have one.
        waiting: operands of each node that have none yet.
        ready: heap of the nodes that can be numbered, by their keys.
    """

    def __init__(self, numbers: dict[int, int], waiting: dict[int, int], ready: list[tuple[Key, int]]) -> None:
        self.numbers, self.waiting, self.ready = numbers, waiting, ready

    def copy(self) -> _Progress:
        return _Progress(dict(self.numbers), dict(self.waiting), list(self.ready))

    def least(self) -> tuple[Key, list[int]]:
        """The least key, and all nodes that have it; they are no longer in the heap."""
        key, node = heappop(self.ready)
        nodes = [node]
        while self.ready and self.ready[0][0] == key:
            nodes.append(heappop(self.ready)[1])
        return key, nodes

    def put_back(self, key: Key, nodes: list[int]) -> None:
        self.ready += [(key, node) for node in nodes]
        heapify(self.ready)

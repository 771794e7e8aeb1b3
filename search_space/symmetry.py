"""A canonical order of a merge graph's nodes by colour refinement; only nodes that it cannot tell apart are tried.

After B. D. McKay, "Practical graph isomorphism" (1981): refine, single one node out, refine again. Parts of the graph
that hang together only through nodes already told apart are ordered each on its own, so that many alike parts cost no
more than one each. Nodes with the same operands and the same consumers can change places, so that their order is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search_space.normal_form import NormalForm, Operand

Colours = dict[int, int]
MAX_VISITS = 300_000
"""Edges that are looked at before the search for an order is given up: some tenths of a second. Known necks and spaces
of this project need a few thousand; graphs that need more are as alike all over as no neck is."""


class _TooAlikeError(Exception):
    """More edges to look at than `MAX_VISITS`."""


def canonical_ranks(graph: NormalForm, first: int, consumers: Mapping[int, Sequence[Operand]]) -> dict[int, int]:
    """A rank for every node; two writings of one graph give ranks that some isomorphism maps onto each other.

    A graph that takes more than `MAX_VISITS` keeps the order in which it is written: then two writings of it are taken
    for two graphs, and never two graphs for one.
    """
    order = _Order(graph, first, consumers)
    try:
        nodes = order.ordered(list(consumers), order.start)
    except _TooAlikeError:
        nodes = sorted(consumers)
    return {node: rank for rank, node in enumerate(nodes)}


class _Order:
    """The two steps that take turns: `ordered` splits into parts, `_ordered_part` singles nodes out."""

    def __init__(self, graph: NormalForm, first: int, consumers: Mapping[int, Sequence[Operand]]) -> None:
        self.operands: Mapping[int, Sequence[Operand]] = {**dict.fromkeys(range(first), ()), **graph.operands}
        self.consumers = consumers
        put_out = {node: tuple(sorted(at for at, out in graph.outputs.items() if out == node)) for node in consumers}
        inputs = {node: (0, node) for node in range(first)}
        self._visits = 0
        kinds = {node: (inputs.get(node) or (1, graph.labels[node]), put_out[node]) for node in consumers}
        self.start = _ranked({node: (*kinds[node], place) for node, place in self._places(kinds).items()})

    def _places(self, kinds: Mapping[int, Any]) -> dict[int, int]:
        """How many nodes before each have its kind, operands and consumers, and so can change places with it."""
        seen: Counter[Any] = Counter()
        places = {}
        for node in self.consumers:
            around = kinds[node], tuple(sorted(self.operands[node])), tuple(sorted(self.consumers[node]))
            places[node] = seen[around]
            seen[around] += 1
        return places

    def ordered(self, nodes: Sequence[int], colours: Colours) -> list[int]:
        """
        Raises:
            _TooAlikeError: if there is more to look at than `MAX_VISITS`.
        """
        colours = self._refined(colours)
        sizes = Counter(colours[node] for node in nodes)
        apart = sorted((node for node in nodes if sizes[colours[node]] == 1), key=colours.__getitem__)
        parts = self._parts({node for node in nodes if sizes[colours[node]] > 1})
        ordered = sorted((self._ordered_part(part, colours) for part in parts), key=lambda pair: pair[0])
        return apart + [node for _, part in ordered for node in part]

    def _ordered_part(self, part: Sequence[int], colours: Colours) -> tuple[Any, list[int]]:
        """The order with the least description, and that description."""
        sizes = Counter(colours[node] for node in part)
        alike = min((colour for colour, size in sizes.items() if size > 1), default=None)
        if alike is None:
            orders = [sorted(part, key=colours.__getitem__)]
        else:
            orders = [
                self.ordered(part, {other: 2 * colours[other] + (other != node) for other in colours})
                for node in part
                if colours[node] == alike
            ]
        return min(((self._description(order, colours), order) for order in orders), key=lambda pair: pair[0])

    def _description(self, order: Sequence[int], colours: Colours) -> Any:
        place = {node: at for at, node in enumerate(order)}
        return [
            (colours[node], sorted((role, node_ in place, place.get(node_, colours[node_])) for role, node_ in row))
            for node, row in ((node, self.operands[node]) for node in order)
        ]

    def _refined(self, colours: Colours) -> Colours:
        """Split colours by those of operands and consumers until nothing splits."""
        while True:
            self._visits += sum(len(self.operands[node]) + len(self.consumers[node]) for node in colours)
            if self._visits > MAX_VISITS:
                raise _TooAlikeError
            finer = _ranked(
                {
                    node: (
                        colour,
                        self._around(self.operands[node], colours),
                        self._around(self.consumers[node], colours),
                    )
                    for node, colour in colours.items()
                }
            )
            if len(set(finer.values())) == len(set(colours.values())):
                return finer
            colours = finer

    def _around(self, edges: Iterable[Operand], colours: Colours) -> tuple[tuple[str, int], ...]:
        return tuple(sorted((role, colours[node]) for role, node in edges))

    def _parts(self, nodes: set[int]) -> list[list[int]]:
        """Connected parts of the graph that these nodes span."""
        parts, left = [], set(nodes)
        while left:
            part, frontier = [], [left.pop()]
            while frontier:
                node = frontier.pop()
                part.append(node)
                beside = {other for _, other in (*self.operands[node], *self.consumers[node])} & left
                left -= beside
                frontier += beside
            parts.append(part)
        return parts


def _ranked(signatures: Mapping[int, Any]) -> Colours:
    """Equal numbers for equal signatures, in their order."""
    ranks = {signature: rank for rank, signature in enumerate(sorted(set(signatures.values())))}
    return {node: ranks[signature] for node, signature in signatures.items()}

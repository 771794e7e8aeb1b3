"""A canonical order of a merge graph's nodes by colour refinement; only nodes that it cannot tell apart are tried.

After B. D. McKay, "Practical graph isomorphism" (1981): refine, single one node out, refine again. Parts of the graph
that hang together only through nodes already told apart are ordered each on its own, so that many alike parts cost no
more than one each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search_space.normal_form import NormalForm, Operand

Colours = dict[int, int]


def canonical_ranks(graph: NormalForm, first: int, consumers: Mapping[int, Sequence[Operand]]) -> dict[int, int]:
    """A rank for every node; two writings of one graph give ranks that some isomorphism maps onto each other."""
    order = _Order(graph, first, consumers)
    return {node: rank for rank, node in enumerate(order.ordered(list(consumers), order.start))}


class _Order:
    """The two steps that take turns: `ordered` splits into parts, `_ordered_part` singles nodes out."""

    def __init__(self, graph: NormalForm, first: int, consumers: Mapping[int, Sequence[Operand]]) -> None:
        self.operands: Mapping[int, Sequence[Operand]] = {**dict.fromkeys(range(first), ()), **graph.operands}
        self.consumers = consumers
        put_out = {node: tuple(sorted(at for at, out in graph.outputs.items() if out == node)) for node in consumers}
        inputs = {node: (0, node) for node in range(first)}
        self.start = _ranked({node: (inputs.get(node) or (1, graph.labels[node]), put_out[node]) for node in consumers})

    def ordered(self, nodes: Sequence[int], colours: Colours) -> list[int]:
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

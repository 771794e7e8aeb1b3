"""A merge graph with everything written out of it that has no weights and can be left out or written in one way.

A map is a sum of terms, each a node of this graph resampled straight to the map's level, with the number of times that
it counts. Nodes are: inputs; results of transforms and of weighted merges, each with weights of its own; and maps
without weights that are no plain sum where they are used (`attention`, and sums that are resampled, gated or put out).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import gcd

Cell = tuple[int, tuple[int, ...], str, str]
"""level, inputs, merge, transform"""
Operand = tuple[str, int]
"""role in the merge, node"""
Label = tuple[int, str, str]
"""level, merge, transform"""
Form = tuple[tuple[int, int], ...]
"""(node, how often it counts), by node: the sum of these at one level."""
WEIGHTED = ("fast_normalized", "softmax")
SUM = "sum"
"""Role of what a sum adds once."""
MAX_TERMS = 64
"""Terms of a sum that are carried on into the sums that take it; a longer one is a node of its own. Upsampling in two
steps and in one are two maps, so that sums of sums over many levels would have a term for each of exponentially many
ways."""
MAX_SPELLED = 64
"""Operands of a sum that are written as often as they count; a longer sum has them once, in a role with the count
(`sum*65`). A chain of sums of sums doubles the counts with every cell."""


class NormalForm:
    """The graph of a genotype, weightless nodes shared; the arguments are those of `fingerprint`.

    Attributes:
        labels: of every node but the inputs.
        operands: of every node but the inputs; an operand that counts twice is there twice, see `MAX_SPELLED`.
        outputs: level -> node.
    """

    def __init__(
        self,
        levels: Sequence[int],
        cells: Sequence[Cell],
        dangling: Sequence[tuple[int, ...]],
        outputs: Mapping[int, int],
    ) -> None:
        self.labels: dict[int, Label] = {}
        self.operands: dict[int, tuple[Operand, ...]] = {}
        self._levels = list(levels)
        self._shared: dict[tuple[Label, tuple[Operand, ...]], int] = {}
        self._brought: dict[tuple[int, int], Form] = {}
        map_levels = [*levels, *(cell[0] for cell in cells)]
        maps: list[Form] = [((node, 1),) for node in range(len(levels))]
        for cell, added in zip(cells, dangling, strict=True):
            maps.append(self._cell(cell, added, maps, map_levels))
        self.outputs = {level: self._standing(maps[node], level) for level, node in outputs.items()}
        self._keep_live()
        self._fuse()
        self._keep_live()

    def _cell(self, cell: Cell, added: Iterable[int], maps: Sequence[Form], map_levels: Sequence[int]) -> Form:
        level, inputs, merge, transform = cell
        forms = [self._at_level(node, level, maps, map_levels) for node in inputs]
        if merge == "sum" or (merge == "softmax" and len(set(forms)) == 1):
            terms = forms if merge == "sum" else forms[:1]
        elif merge == "attention":
            terms = [self._attention(level, inputs, forms, maps, map_levels)]
        else:
            operands = tuple(("merged", self._node(form, level)) for form in forms)
            terms = [((self._add((level, merge, "none"), operands), 1),)]
        total = _sum([*terms, *(maps[node] for node in added)])
        if transform == "none":
            return total if len(total) <= MAX_TERMS else ((self._standing(total, level), 1),)
        return ((self._add((level, "sum", transform), _operands(total)), 1),)

    def _attention(
        self,
        level: int,
        inputs: Sequence[int],
        forms: Sequence[Form],
        maps: Sequence[Form],
        map_levels: Sequence[int],
    ) -> Form:
        """The gate is taken from the coarse map as it is. Nearest upsampling keeps its maximum, so that only a coarse
        map that is pooled has to be told from its pooled self."""
        coarse, fine = (0, 1) if map_levels[inputs[0]] >= map_levels[inputs[1]] else (1, 0)
        source = map_levels[inputs[coarse]]
        if source < level:
            gate = self._standing(maps[inputs[coarse]], source)
        elif len(forms[coarse]) == 1 and self._levels[forms[coarse][0][0]] < level:
            gate = self._standing(forms[coarse], level)
        else:
            gate = self._node(forms[coarse], level)
        operands = (("coarse", gate), ("fine", self._node(forms[fine], level)))
        return ((self._share((level, "attention", "none"), operands), 1),)

    def _at_level(self, node: int, level: int, maps: Sequence[Form], map_levels: Sequence[int]) -> Form:
        """A genotype's node brought to `level`; made once, since dense graphs ask for it in every cell."""
        if (node, level) not in self._brought:
            self._brought[node, level] = self._resampled(maps[node], map_levels[node], level)
        return self._brought[node, level]

    def _resampled(self, form: Form, source: int, level: int) -> Form:
        """A map of level `source` brought to `level`: upsampling goes through sums, pooling only past a factor."""
        if source == level:
            return form
        if source > level:
            return _sum(((self._standing(((node, 1),), source), count),) for node, count in form)
        factor = gcd(*(count for _, count in form))
        divided = tuple((node, count // factor) for node, count in form)
        return ((self._standing(divided, source), factor),)

    def _standing(self, form: Form, level: int) -> int:
        """A node at `level` that is this map."""
        if len(form) == 1 and form[0][1] == 1 and self._levels[form[0][0]] == level:
            return form[0][0]
        return self._share((level, "sum", "none"), _operands(form))

    def _node(self, form: Form, level: int) -> int:
        """A node that is this map once it is resampled to `level`."""
        return form[0][0] if len(form) == 1 and form[0][1] == 1 else self._standing(form, level)

    def _share(self, label: Label, operands: tuple[Operand, ...]) -> int:
        if (label, operands) not in self._shared:
            self._shared[label, operands] = self._add(label, operands)
        return self._shared[label, operands]

    def _add(self, label: Label, operands: tuple[Operand, ...]) -> int:
        node = len(self._levels)
        self._levels.append(label[0])
        self.labels[node], self.operands[node] = label, operands
        return node

    def _keep_live(self) -> None:
        live: set[int] = set()
        frontier = list(self.outputs.values())
        while frontier:
            node = frontier.pop()
            if node not in live:
                live.add(node)
                frontier.extend(operand for _, operand in self.operands.get(node, ()))
        self.labels = {node: label for node, label in self.labels.items() if node in live}
        self.operands = {node: self.operands[node] for node in self.labels}

    def _fuse(self) -> None:
        """A transform of one merge, and of nodes added to it, is one cell; `attention` may be in several."""
        uses = Counter(node for operands in self.operands.values() for _, node in operands)
        uses.update(self.outputs.values())
        for node, (level, merge, transform) in list(self.labels.items()):
            if merge != "sum" or transform == "none":
                continue
            parts = [operand for operand in self.operands[node] if self._is_merge(operand[1], level)]
            if len(parts) != 1 or parts[0][0] != SUM:
                continue
            part = parts[0][1]
            if uses[part] == 1 or self.labels[part][1] == "attention":
                added = ((role.replace(SUM, "added"), other) for role, other in self.operands[node] if other != part)
                self.labels[node] = (level, self.labels[part][1], transform)
                self.operands[node] = (*self.operands[part], *added)

    def _is_merge(self, node: int, level: int) -> bool:
        label = self.labels.get(node)
        return label is not None and label[0] == level and label[1] != "sum" and label[2] == "none"


def _sum(forms: Iterable[Form]) -> Form:
    total: Counter[int] = Counter()
    for form in forms:
        for node, count in form:
            total[node] += count
    return tuple(sorted(total.items()))


def _operands(form: Form) -> tuple[Operand, ...]:
    if sum(count for _, count in form) <= MAX_SPELLED:
        return tuple((SUM, node) for node, count in form for _ in range(count))
    return tuple((SUM if count == 1 else f"{SUM}*{count}", node) for node, count in form)

"""What a genotype computes, found by computing it: an oracle for fingerprints that shares no code with them.

Maps are computed by the operations of `necks`, jointly under several recipes and odd sizes. A transform is a random map
that is fixed by its role: its kind, its level, the map that it is applied to, and which copy it is of those of that
role. The weights of a merge are fixed by their role in the same way. Which copy is which does not matter: every order
is computed, and the least result kept.
"""

import hashlib

import torch

from necks.merge import FUSION_EPS, average_gate, max_gate
from necks.resample import resample
from necks.sizes import ceil_div

CONTEXTS = [("max_pool", "max_coarse"), ("max_pool3", "avg_fine"), ("max_pool_padded", "max_coarse")]


class Oracle:
    """Functions of genotypes over `levels`; equal signatures, equal functions. Maps are numbered by their values.

    Args:
        opaque_merges: weighted merges are random maps fixed by their role, too, as if they were not linear.
    """

    def __init__(self, levels, finest=(13, 9), *, opaque_merges=False):
        self.opaque_merges = opaque_merges
        sizes = [finest]
        while len(sizes) < len(levels):
            sizes.append(tuple(ceil_div(side, 2) for side in sizes[-1]))
        self.levels = levels
        self.sizes = dict(zip(levels, sizes, strict=True))
        self.numbers, self.values, self.cache = {}, [], {}

    def input(self, level):
        return self.values[self._random(level, "input")][0]

    def signature(self, genotype):
        live = sorted(node for node in genotype.live_nodes if node >= len(self.levels))
        inputs = {node: self._random(level, "input") for node, level in enumerate(self.levels)}
        return min(self._signatures(genotype, live, inputs, {}))

    def _signatures(self, genotype, live, maps, used):
        """Outputs under every way to number copies."""
        if not live:
            if all(copies == set(range(len(copies))) for copies in used.values()):
                yield tuple(maps[node] for node in genotype.outputs.values())
            return
        node, *rest = live
        cell = genotype.cells[node - len(self.levels)]
        limit = sum(genotype.node_levels[other] == cell.level for other in live)
        for merged, after_merge in self._merged(genotype, cell, maps, used, limit + self._count(used, cell.level)):
            added = [maps[other] for other in genotype.dangling[node - len(self.levels)]]
            total = self._sum([merged, *added])
            if cell.transform == "none":
                yield from self._signatures(genotype, rest, {**maps, node: total}, after_merge)
                continue
            role = (cell.level, cell.transform, total)
            for copy in self._copies(after_merge, role, limit + self._count(used, cell.level)):
                result = self._random(cell.level, (role, copy))
                after = {**after_merge, role: after_merge.get(role, set()) | {copy}}
                yield from self._signatures(genotype, rest, {**maps, node: result}, after)

    def _count(self, used, level):
        return sum(len(copies) for role, copies in used.items() if role[0] == level)

    def _copies(self, used, role, limit):
        return sorted(set(range(limit)) - used.get(role, set()))

    def _merged(self, genotype, cell, maps, used, limit):
        levels = [genotype.node_levels[node] for node in cell.inputs]
        sources = [maps[node] for node in cell.inputs]
        operands = [self._resampled(x, level, cell.level) for x, level in zip(sources, levels, strict=True)]
        if cell.merge == "sum":
            yield self._sum(operands), used
        elif cell.merge == "attention":
            coarse, fine = (0, 1) if levels[0] >= levels[1] else (1, 0)
            yield self._attention(sources[coarse], operands[coarse], operands[fine]), used
        else:
            role = (cell.level, cell.merge, tuple(sorted(operands)))
            for copy in self._copies(used, role, limit):
                yield self._weighted(role, copy), {**used, role: used.get(role, set()) | {copy}}

    def _resampled(self, x, source, level):
        def compute():
            size, shift = self.sizes[level], level - source
            return [resample(y, size, shift=shift, down=down) for y, (down, _) in self._each(x)]

        return self._cached(("resampled", x, source, level), compute)

    def _sum(self, xs):
        xs = tuple(sorted(xs))
        return self._cached(
            ("sum", xs), lambda: [sum(maps) for maps in zip(*(self.values[x] for x in xs), strict=True)]
        )

    def _attention(self, source, coarse, fine):
        def compute():
            for index, (_, gate) in enumerate(CONTEXTS):
                s, c, f = (self.values[x][index] for x in (source, coarse, fine))
                yield c + f * max_gate(s) if gate == "max_coarse" else f + c * average_gate(f)

        return self._cached(("attention", source, coarse, fine), lambda: list(compute()))

    def _weighted(self, role, copy):
        level, merge, operands = role
        if self.opaque_merges:
            return self._random(level, (role, copy))
        weights = torch.rand(len(operands), generator=_generator((role, copy)), dtype=torch.float64) + 0.2
        weights = weights.softmax(0) if merge == "softmax" else weights / (weights.sum() + FUSION_EPS)

        def compute():
            maps = zip(*(self.values[x] for x in operands), strict=True)
            return [sum(w * x for w, x in zip(weights, xs, strict=True)) for xs in maps]

        return self._cached((role, copy), compute)

    def _random(self, level, name):
        """A map with one channel that is negative throughout, where padding with zeros shows."""

        def compute():
            x = torch.randn(1, 2, *self.sizes[level], generator=_generator((level, name)), dtype=torch.float64)
            x[:, 0] -= 6
            return [x] * len(CONTEXTS)

        return self._cached(("random", level, name), compute)

    def _each(self, x):
        return zip(self.values[x], CONTEXTS, strict=True)

    def _cached(self, key, compute):
        """The number of a map, by what it is made of and then by its values."""
        if key not in self.cache:
            value = compute()
            text = torch.cat([x.flatten() for x in value]).mul(1e6).round().to(torch.int64).numpy().tobytes()
            if text not in self.numbers:
                self.numbers[text] = len(self.values)
                self.values.append(value)
            self.cache[key] = self.numbers[text]
        return self.cache[key]


def _generator(name):
    seed = int.from_bytes(hashlib.sha256(repr(name).encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(seed)

"""Number of ways to give levels to the cells that are still to come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class LevelSequences:
    """Sequences of cell levels under the two rules of a pyramid space.

    Args:
        levels: levels that a cell may have.
        intermediate_levels: those that a cell which is no output may have. The output of a level is its last cell, so
            this says that every other level has one cell at most.
        every_level: whether each level must have a cell.
    """

    def __init__(self, levels: Sequence[int], intermediate_levels: Sequence[int], every_level: bool) -> None:
        self.levels = tuple(levels)
        self.intermediate = frozenset(intermediate_levels)
        self.every_level = every_level
        self._counts: dict[tuple[int, int, int], int] = {}
        self._next: dict[tuple[int, frozenset[int]], dict[int, int]] = {}

    def count(self, remaining: int, before: Iterable[int]) -> int:
        """Sequences of `remaining` further levels after those `before`."""
        missing = set(self.levels).difference(before)
        intermediate = len(missing & self.intermediate)
        return self._count(remaining, intermediate, len(missing) - intermediate)

    def next_counts(self, remaining: int, before: Iterable[int]) -> dict[int, int]:
        """For each level that the next of `remaining` cells may have: the sequences that go on with it, all > 0."""
        key = (remaining, frozenset(before))
        if key not in self._next:
            counts = {
                level: self.count(remaining - 1, key[1] | {level})
                for level in self.levels
                if level in self.intermediate or level not in key[1]
            }
            self._next[key] = {level: count for level, count in counts.items() if count}
        return self._next[key]

    def _count(self, remaining: int, missing: int, once: int) -> int:
        """Further sequences, `missing` intermediate levels having no cell yet and `once` of the others."""
        key = (remaining, missing, once)
        if key not in self._counts:
            self._counts[key] = self._sum(*key) if remaining else int(not self.every_level or missing + once == 0)
        return self._counts[key]

    def _sum(self, remaining: int, missing: int, once: int) -> int:
        """Over what the next level may be: one that has a cell, or one that has none."""
        total = (len(self.intermediate) - missing) * self._count(remaining - 1, missing, once)
        if missing:
            total += missing * self._count(remaining - 1, missing - 1, once)
        if once:
            total += once * self._count(remaining - 1, missing, once - 1)
        return total

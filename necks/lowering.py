"""A program while it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from necks.program import Program, Step


class Lowering:
    """A program while it is made.

    Attributes:
        owned: values in memory of their own that nothing else will read: they may be overwritten. A fresh tensor costs
            a CPU more in page faults than the arithmetic does, and training keeps fewer of them.
    """

    def __init__(self, inputs: Sequence[str], nodes: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self.nodes = frozenset(nodes)
        self.steps: list[Step] = []
        self.owned: set[str] = set()
        self._names: Counter[str] = Counter()

    def program(self, outputs: Sequence[str]) -> Program:
        return Program(self.inputs, tuple(self.steps), tuple(outputs), self.nodes)

    def step(self, operation: str, *operands: str, like: str, owned: bool = False, **details: object) -> str:
        """A step's one result.

        Args:
            like: its name, or the start of that where it is taken.
        """
        result = self._named(like)
        self.steps.append(Step((result,), operation, operands, **details))  # type: ignore[arg-type]
        if owned:
            self.owned.add(result)
        return result

    def function(self, name: str, x: str, *, like: str) -> str:
        return self.step("function", x, name=name, like=like)

    def shares(self, name: str, parameter: str, dtype_of: str, count: int) -> tuple[str, ...]:
        results = tuple(self._named("w") for _ in range(count))
        self.steps.append(Step(results, "shares", (dtype_of,), block=parameter, name=name))
        return results

    def total(self, values: Sequence[str]) -> str:
        """The sum, in the memory of an owned map if there is one."""
        start = next((index for index, value in enumerate(values) if value in self.owned), 0)
        total = values[start]
        for index, value in enumerate(values):
            if index != start:
                total = self.step("add", total, value, like="x", owned=True, overwrites=total in self.owned)
        return total

    def add_scaled(self, total: str, x: str, factor: str) -> str:
        return self.step("add_scaled", total, x, factor, like="x", owned=True, overwrites=total in self.owned)

    def rename(self, value: str, name: str) -> str:
        """The value under a node's name, if the last step gives it; the value itself if it has a name of its own."""
        last = self.steps[-1] if self.steps else None
        if last is None or last.results != (value,) or (value not in self.owned and last.operation != "merge"):
            return value
        self.steps[-1] = replace(self.steps[-1], results=(name,))
        return name

    def _named(self, like: str) -> str:
        """`like`, with a number where it is taken; a node's name is for that node."""
        self._names[like] += 1
        return like if like in self.nodes or self._names[like] == 1 else f"{like}_{self._names[like]}"

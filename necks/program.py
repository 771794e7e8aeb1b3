"""A neck's part as a program: steps in a row, planned once, that run, are specialised, and are printed as source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

FORMS = {
    "function": "{name}({0})",
    "block": "{block}({0})",
    "transform": "{block}({0})",
    "strided": "{block}({0})",
    "up": "up({0}, {size})",
    "fit": "fit({0}, {size})",
    "pool": "{name}({0}, {stride}, {size})",
    "pool_padded": "{name}({0}, {size})",
    "halve": "{name}({0}, {stride})",
    "shares": "{name}({block}).to({0}.dtype).unbind()",
    "add": "{0} + {1}",
    "scale": "{0} * {1}",
    "add_scaled": "torch.addcmul({0}, {1}, {2})",
    "add_constant": "torch.add({0}, {1}, alpha={2})",
    "merge": "{name}([{all}])",
    "subsample": "{0}[..., ::2, ::2]",
    "term": "Term({0}, {1}, {2})",
    "pooled_term": "pooled_term({0}, {1}, {2}, {name!r}, {stride}, {size})",
    "merged": "merged(({all},), {size}, {name!r})",
}
"""Meaning of each operation: an expression of Python over its operands, and functions of `necks.resample` and
`necks.merge`."""

OVERWRITING = {
    "add": "{0}.add_({1})",
    "add_scaled": "{0}.addcmul_({1}, {2})",
    "add_constant": "{0}.add_({1}, alpha={2})",
    "transform": "{block}({0})",
}
"""The same in the memory of the first operand; of a block, for its activation."""


@dataclass(frozen=True)
class Step:
    """results = operation(operands).

    Attributes:
        operation: one of `FORMS`.
        operands: names of values; after specialisation numbers, too.
        block: a module or parameter, by its name in the module that runs the program.
        name: of a function, or what else the operation's form asks for.
        level: where the result has its size.
        overwrites: the result takes the memory of the first operand, which no later step and no backward pass reads.
    """

    results: tuple[str, ...]
    operation: str
    operands: tuple[str, ...] = ()
    block: str = ""
    name: str = ""
    level: int | None = None
    stride: int = 1
    overwrites: bool = False


@dataclass(frozen=True)
class Program:
    """Steps from inputs to outputs; `p4` is the input of level 4.

    Attributes:
        nodes: values that keep their name; others may become a part of the expression that takes them.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    nodes: frozenset[str]

    def __str__(self) -> str:
        lines = [f"{', '.join(self.outputs)} from {', '.join(self.inputs)}:", *statements(self, Named())]
        return "\n    ".join(lines)

    @property
    def uses(self) -> Counter[str]:
        """How often each value is an operand or an output."""
        return Counter([*(name for step in self.steps for name in step.operands), *self.outputs])

    @property
    def values(self) -> set[str]:
        return {*self.inputs, *(name for step in self.steps for name in step.results)}


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


class Spelling(Protocol):
    """How blocks and parameters are written."""

    def block(self, step: Step, x: str) -> str: ...

    def parameter(self, name: str) -> str: ...


class Named:
    """By their names."""

    def block(self, step: Step, x: str) -> str:
        return f"{step.block}({x})"

    def parameter(self, name: str) -> str:
        return name


@dataclass(frozen=True)
class _Expression:
    text: str
    names: frozenset[str]
    loose: bool = False


def statements(program: Program, spelling: Spelling, *, frees: bool = True, width: int = 10**6) -> list[str]:
    """The program as lines of Python, in the order of its steps; a value that is used once is a part of what uses it.

    Args:
        frees: whether a value is deleted after its last use.
        width: of a line; what is longer is written as two.
    """
    return _Writer(program, spelling, frees, width).lines()


class _Writer:
    def __init__(self, program: Program, spelling: Spelling, frees: bool, width: int) -> None:
        self.program, self.spelling, self.frees, self.width = program, spelling, frees, width
        self.uses, self.values = program.uses, program.values
        self.written: list[tuple[str, _Expression]] = []
        self.pending: dict[str, _Expression] = {}

    def lines(self) -> list[str]:
        for step in self.program.steps:
            self._write(step)
        self._flush(len(self.pending))
        levels = sorted({step.level for step in self.program.steps if step.level is not None})
        last = {name: at for at, (_, expression) in enumerate(self.written) for name in expression.names}
        lines = [f"size{level} = p{level}.shape[-2:]" for level in levels]
        for at, (target, expression) in enumerate(self.written):
            gone = sorted(name for name in expression.names if last[name] == at and name not in self.program.outputs)
            freed = f"; del {', '.join(gone)}" if gone and self.frees else ""
            lines.append(f"{target} = {expression.text}{freed}")
        return lines

    def _write(self, step: Step) -> None:
        self._flush(self._blocking(step))
        target = ", ".join(step.results)
        target = f"({target},)" if step.operation == "shares" and len(step.results) == 1 else target
        expression = self._expression(step)
        if len(f"{target} = {expression.text}") > self.width:
            self._flush(len(self.pending))
            expression = self._expression(step)
        for operand in step.operands:
            self.pending.pop(operand, None)
        result = step.results[0]
        named = step.operation == "shares" or result in self.program.nodes or result in self.program.outputs
        if named or self.uses[result] != 1:
            self._flush(len(self.pending))
            self.written.append((target, expression))
        else:
            self.pending[result] = expression

    def _blocking(self, step: Step) -> int:
        """How many pending values must be computed before, for the order of all to stay."""
        pending = list(self.pending)
        for count in range(len(pending) + 1):
            taken = [operand for operand in step.operands if operand in pending[count:]]
            if not taken or pending[-len(taken) :] == taken:
                return count
        return len(pending)

    def _flush(self, count: int) -> None:
        for name in list(self.pending)[:count]:
            self.written.append((name, self.pending.pop(name)))

    def _expression(self, step: Step) -> _Expression:
        operands = [self.pending.get(name) or _Expression(name, frozenset([name])) for name in step.operands]
        operator = step.operation in ("add", "scale") and not step.overwrites
        texts = []
        for index, operand in enumerate(operands):
            receives = index == 0 and step.overwrites and step.operation != "transform"
            tight = receives or (operator and (index > 0 or step.operation == "scale"))
            texts.append(f"({operand.text})" if operand.loose and tight else operand.text)
        names = frozenset[str]().union(*(operand.names for operand in operands)) & self.values
        return _Expression(self._text(step, texts), names, operator)

    def _text(self, step: Step, operands: list[str]) -> str:
        if step.operation in ("block", "transform", "strided"):
            return self.spelling.block(step, operands[0])
        block = self.spelling.parameter(step.block) if step.block else ""
        form = (OVERWRITING if step.overwrites else FORMS)[step.operation]
        size, values = f"size{step.level}", ", ".join(operands)
        return form.format(*operands, all=values, block=block, name=step.name, size=size, stride=step.stride)

"""A neck's part as a program: steps in a row, planned once, that run, are specialised, and are printed as source."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import count

FORMS = {
    "function": "{name}({0})",
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
`necks.merge`. The others call a block: `block`, `transform` (in a cell) and `strided` (after a pool of its stride)."""

OVERWRITING = {
    "add": "{0}.add_({1})",
    "add_scaled": "{0}.addcmul_({1}, {2})",
    "add_constant": "{0}.add_({1}, alpha={2})",
}
"""The same in the memory of the first operand; a `transform` has its activation there."""


@dataclass(frozen=True)
class Step:
    """results = operation(operands).

    Attributes:
        operation: one of `FORMS`, or a call of a block.
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
        lines = [f"{', '.join(self.outputs)} from {', '.join(self.inputs)}:", *statements(self, Spelling())]
        return "\n    ".join(lines)

    @property
    def uses(self) -> Counter[str]:
        """How often each value is an operand or an output."""
        return Counter([*(name for step in self.steps for name in step.operands), *self.outputs])


class Spelling:
    """Text of blocks and parameters in printed steps: their names, unless a subclass writes others.

    Attributes:
        frees: whether a value is deleted after its last use.
        width: of a line; what is longer is written as two.
    """

    frees = True
    width = 10**6

    def block(self, step: Step, x: str) -> str:
        return f"{step.block}({x})"

    def parameter(self, name: str) -> str:
        return name


@dataclass(frozen=True)
class _Expression:
    """
    Attributes:
        names: values that it reads by name.
        loose: it wants parentheses as an operand.
    """

    text: str
    names: frozenset[str]
    results: tuple[str, ...] = ()
    loose: bool = False
    unpacks: bool = False


def statements(program: Program, spelling: Spelling) -> list[str]:
    """Lines of Python in the order of the steps; a value that is used once is a part of what uses it."""
    return _Writer(program, spelling).written()


class _Writer:
    """
    Attributes:
        left: uses of each value by steps to come.
        pending: values not yet written, in their order.
        shown: names of values; one that is no node's is used again.
    """

    def __init__(self, program: Program, spelling: Spelling) -> None:
        self.program, self.spelling = program, spelling
        self.named = {*program.nodes, *program.outputs}
        self.uses, self.left = program.uses, program.uses
        self.pending: dict[str, _Expression] = {}
        self.shown = {name: name for name in program.inputs}
        levels = {step.level for step in program.steps if step.level is not None}
        self.lines = [f"size{level} = p{level}.shape[-2:]" for level in sorted(levels)]

    def written(self) -> list[str]:
        for step in self.program.steps:
            self._take(step)
        self._flush(len(self.pending))
        return self.lines

    def _take(self, step: Step) -> None:
        self._flush(self._blocking(step))
        expression = self._expression(step)
        if len(f"{step.results[0]} = {expression.text}") > self.spelling.width:
            self._flush(len(self.pending))
            expression = self._expression(step)
        for operand in step.operands:
            self.pending.pop(operand, None)
            self.left[operand] -= 1
        result = step.results[0]
        self.pending[result] = expression
        if step.operation == "shares" or result in self.named or self.uses[result] != 1:
            self._flush(len(self.pending))

    def _write(self, expression: _Expression) -> None:
        read = {name for later in self.pending.values() for name in later.names}
        gone = {name: self.shown[name] for name in sorted(expression.names - read) if not self.left[name]}
        self.shown = {name: shown for name, shown in self.shown.items() if name not in gone}
        for result in expression.results:
            self.shown[result] = self._name(result)
        targets = [self.shown[result] for result in expression.results]
        target = f"({targets[0]},)" if expression.unpacks and len(targets) == 1 else ", ".join(targets)
        freed = ", ".join(name for name in gone.values() if name not in targets)
        self.lines.append(f"{target} = {expression.text}" + (f"; del {freed}" if freed and self.spelling.frees else ""))

    def _name(self, value: str) -> str:
        """A node's own; for others the first that is free."""
        if value in self.named:
            return value
        base = re.sub(r"_\d+$", "", value)
        names = (base if number == 1 else f"{base}_{number}" for number in count(1))
        return next(name for name in names if name not in self.shown.values())

    def _blocking(self, step: Step) -> int:
        """How many pending values must be computed before, for the order of all to stay."""
        pending = list(self.pending)
        for blocking in range(len(pending) + 1):
            taken = [operand for operand in step.operands if operand in pending[blocking:]]
            if not taken or pending[-len(taken) :] == taken:
                return blocking
        return len(pending)

    def _flush(self, count: int) -> None:
        for name in list(self.pending)[:count]:
            self._write(self.pending.pop(name))

    def _expression(self, step: Step) -> _Expression:
        operands = [self._operand(name) for name in step.operands]
        operator = step.operation in ("add", "scale") and not step.overwrites
        texts = []
        for index, operand in enumerate(operands):
            receives = index == 0 and step.overwrites and step.operation != "transform"
            tight = receives or (operator and (index > 0 or step.operation == "scale"))
            texts.append(f"({operand.text})" if operand.loose and tight else operand.text)
        names = frozenset[str]().union(*(operand.names for operand in operands))
        return _Expression(self._text(step, texts), names, step.results, operator, step.operation == "shares")

    def _operand(self, name: str) -> _Expression:
        if name in self.pending:
            return self.pending[name]
        known = name in self.shown  # others are numbers
        return _Expression(self.shown[name], frozenset([name])) if known else _Expression(name, frozenset())

    def _text(self, step: Step, operands: list[str]) -> str:
        if step.operation in ("block", "transform", "strided"):
            return self.spelling.block(step, operands[0])
        block = self.spelling.parameter(step.block) if step.block else ""
        form = (OVERWRITING if step.overwrites else FORMS)[step.operation]
        size, values = f"size{step.level}", ", ".join(operands)
        return form.format(*operands, all=values, block=block, name=step.name, size=size, stride=step.stride)

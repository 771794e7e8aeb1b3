"""A program as the source of a method, with the members that it calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.export.parts import Member, Members
from necks.program import Spelling, Step, statements
from necks.straight import Straight

INDENT = " " * 8


class ProgramSource(Spelling):
    """Source of one program.

    Attributes:
        steps: statements from the program's inputs to `outputs`, indented.
    """

    frees, width = False, 120 - len(INDENT)

    def __init__(self, module: Straight, names: Mapping[str, Member], members: Members, prefix: str = "") -> None:
        self.module, self.names, self.members, self.prefix = module, names, members, prefix
        self.steps = [INDENT + line for line in statements(module.program, self)]
        self.inputs, self.outputs = module.program.inputs, module.program.outputs

    def block(self, step: Step, x: str) -> str:
        member, ours = self.names[step.block], f"{self.prefix}{step.block}"
        block = self.module.get_submodule(step.block)
        self.members.add_block(member, block, ours, overwrites=step.overwrites, pool=step.stride)
        return f"self.{member.name}({x})"

    def parameter(self, name: str) -> str:
        member = self.names[name].name
        count = len(self.module.get_parameter(name))
        self.members.add(member, f"nn.Parameter(torch.ones({count}))")
        self.members.renamed[f"{self.prefix}{name}"] = member
        return f"self.{member}"

    def lines(self, name: str, purpose: str) -> list[str]:
        """Source of a class that runs it."""
        inputs = ", ".join(f"{value}: Tensor" for value in self.inputs)
        body = [*self.steps, f"{INDENT}return {tupled(self.outputs)}"]
        forward = f"forward(self, {inputs}) -> tuple[Tensor, ...]"
        return class_source(f"{name}(nn.Module)", purpose, self.members.lines, forward, body)


def class_source(
    head: str,
    purpose: str,
    members: Sequence[str],
    forward: str,
    body: Sequence[str],
    init: tuple[str, str] = ("self", ""),
) -> list[str]:
    """Source of a module.

    Args:
        head, forward: what is declared, without `class`, `def` and the colon.
        init: parameters of `__init__`, and what the base class's takes of them.
    """
    return [
        f"class {head}:",
        f'    """{purpose}"""',
        "",
        f"    def __init__({init[0]}) -> None:",
        f"{INDENT}super().__init__({init[1]})",
        *members,
        "",
        f"    def {forward}:",
        *body,
    ]


def tupled(names: Sequence[str]) -> str:
    return ", ".join(names) + ("," if len(names) == 1 else "")

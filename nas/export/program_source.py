"""A program as the source of a method, with the members that it calls."""

from __future__ import annotations

from collections.abc import Mapping

from nas.export.parts import Member, Members
from necks.program import Spelling, Step, statements
from necks.straight import Straight

INDENT = " " * 8
WIDTH = 120 - len(INDENT)


class ProgramSource(Spelling):
    """Source of one program.

    Attributes:
        steps: statements from the program's inputs to `outputs`, indented.
    """

    def __init__(self, module: Straight, names: Mapping[str, Member], members: Members, prefix: str = "") -> None:
        self.module, self.names, self.members, self.prefix = module, names, members, prefix
        lines = statements(module.program, self, frees=False, width=WIDTH)
        self.steps = [INDENT + line for line in lines]
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
        return [
            f"class {name}(nn.Module):",
            f'    """{purpose}"""',
            "",
            "    def __init__(self) -> None:",
            f"{INDENT}super().__init__()",
            *self.members.lines,
            "",
            f"    def forward(self, {inputs}) -> tuple[Tensor, ...]:",
            *self.steps,
            f"{INDENT}return {', '.join(self.outputs)}" + ("," if len(self.outputs) == 1 else ""),
        ]

"""Parts of a generated class: its members, and where its tensors come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from nas.export.errors import ExportError
from nas.export.layers import IN_WIDTH, INPLACE, Block, block_of

TAKE_WIDTH = ("lateral", "extra_block")
"""Functions whose blocks take maps of other widths than the neck's."""


@dataclass(frozen=True)
class Member:
    """Name of a block or parameter in the generated class, and the function that builds the block."""

    name: str
    function: str = ""


@dataclass
class Members:
    """The members of one class.

    Attributes:
        blocks: function that builds a block -> what it builds; shared by the classes of a file, and filled here.
        lines: statements of its `__init__`.
        renamed: our module or parameter -> its name in the class.
    """

    blocks: dict[str, Block]
    lines: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: str) -> None:
        line = f"        self.{name} = {value}"
        if line not in self.lines:
            self.lines.append(line)

    def add_block(
        self, member: Member, module: nn.Module, ours: str, *, overwrites: bool = False, pool: int = 1
    ) -> None:
        """A member that its function builds.

        Args:
            ours: name of `module` in our neck.
            overwrites: whether its activation may take the memory of what it is given.
            pool: side of the windows of a max-pool before the block.

        Raises:
            ExportError: if blocks of one function differ, as after a change by hand.
        """
        name, function = member.name, member.function
        block = block_of(module, takes_width=function in TAKE_WIDTH)
        if self.blocks.setdefault(function, block) != block:
            raise ExportError(
                f"the blocks {function} of this neck differ from each other, so they are not those of one recipe; "
                "take another format, such as pt2"
            )
        values = {IN_WIDTH: str(_in_channels(module)), INPLACE: f"inplace={overwrites}"}
        call = f"{function}({', '.join(values[parameter] for parameter in block.parameters)})"
        inner = name
        if pool > 1:
            call, inner = f"nn.Sequential(nn.MaxPool2d({pool}, ceil_mode=True), {call})", f"{name}.1"
        self.add(name, call)
        self.renamed |= block.renamed(ours, inner)


def _in_channels(module: nn.Module) -> int:
    return next(layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d))

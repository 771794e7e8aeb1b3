"""Parts of a generated class: its members, the functions it calls, and where its tensors come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from nas.export.errors import ExportError
from nas.export.layers import Block, block_of

MEMBER = "        self.{name} = {value}"


@dataclass
class Shared:
    """Parts that the classes of a file share; filled while they are written.

    Attributes:
        helpers: names of the functions called.
        blocks: function that builds a block -> what it builds.
    """

    helpers: set[str] = field(default_factory=set)
    blocks: dict[str, Block] = field(default_factory=dict)

    def use_block(self, function: str, block: Block) -> None:
        """
        Raises:
            ExportError: if blocks of one function differ, as after a change by hand.
        """
        if self.blocks.setdefault(function, block) != block:
            raise ExportError(
                f"the blocks {function} of this neck differ from each other, so they are not those of one recipe; "
                "take another format, such as pt2"
            )


@dataclass
class Members:
    """The members of one class.

    Attributes:
        lines: statements of its `__init__`.
        renamed: our module or parameter -> its name in the class.
    """

    shared: Shared
    lines: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: str) -> None:
        self.lines.append(MEMBER.format(name=name, value=value))

    def add_block(
        self, name: str, function: str, module: nn.Module, ours: str, *, takes_width: bool = False, pool: int = 1
    ) -> None:
        """A member that `function` builds.

        Args:
            ours: name of `module` in our neck.
            takes_width: whether its input may have another width than the neck.
            pool: side of the windows of a max-pool before the block.
        """
        block = block_of(module, takes_width=takes_width)
        self.shared.use_block(function, block)
        call = f"{function}({_in_channels(module) if takes_width else ''})"
        inner = name
        if pool > 1:
            call, inner = f"nn.Sequential(nn.MaxPool2d({pool}, ceil_mode=True), {call})", f"{name}.1"
        self.add(name, call)
        self.renamed |= block.renamed(ours, inner)

    def call(self, helper: str) -> str:
        """The helper's name, which the file will define."""
        self.shared.helpers.add(helper)
        return helper


def _in_channels(module: nn.Module) -> int:
    return next(layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d))

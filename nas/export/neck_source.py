"""A whole `MergeNeck` as source: the programs of its stem, its stacked pyramids and the levels beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from nas.export.layers import Block
from nas.export.parts import Member, Members
from nas.export.program_source import INDENT, ProgramSource, tupled
from necks.merge_neck import MergeNeck
from necks.pyramid import Cell, Pyramid
from necks.straight import Straight
from search_space.node_names import node_names


class NeckSource:
    """The parts of a neck's class that do not depend on who calls it.

    Attributes:
        pyramids: source of every class below the neck's.
        blocks: function that builds a block -> what it builds.
        members: of the neck's class.
        steps: statements that compute the outputs from the variables of the backbone's maps.
        inputs: these variables.
        outputs: variables of the outputs, fine to coarse.
        renamed: our module or parameter -> its name in the generated module, for all of the neck.
    """

    def __init__(self, neck: MergeNeck) -> None:
        self.neck = neck
        self.blocks: dict[str, Block] = {}
        self.members = Members(self.blocks)
        self.inputs = [f"c{level}" for level in neck.in_levels]
        self.outputs = [f"p{level}" for level in neck.out_levels]
        self.pyramids: list[list[str]] = []
        self.steps = self._own(neck.stem, "stem", "lateral", neck.genotype.levels)
        if neck.genotype.cells:
            self.steps += self._stack()
        if neck.extra is not None:
            self.steps += self._own(neck.extra, "extra", "extra_block", neck.out_levels[len(neck.genotype.levels) :])
        self.renamed = self.members.renamed

    def _own(self, part: Straight, name: str, function: str, levels: Sequence[int]) -> list[str]:
        """Statements of a part of the neck's own class, with a block for each level, or none."""
        blocks = [f"{kind}.{place}" for kind, each in part.named_children() for place, _ in each.named_children()]
        labels = [f"{function.removesuffix('_block')}{level}" for level in levels]
        members = {block: Member(label, function) for block, label in zip(blocks, labels, strict=False)}
        source = ProgramSource(part, members, self.members, f"{name}.")
        pairs = zip(levels, source.outputs, strict=True)
        return source.steps + [f"{INDENT}p{level} = {value}" for level, value in pairs if value != f"p{level}"]

    def _stack(self) -> list[str]:
        """The pyramids in a row; the first has a class of its own where it alone takes maps of other widths."""
        sources = [self._pyramid(index) for index in range(self.neck.repeats)]
        names = [f"p{level}" for level in self.neck.genotype.levels]
        maps, target = ", ".join(names), tupled(names)
        alike = [index for index, source in enumerate(sources) if source.members.lines == sources[-1].members.lines]
        lines = []
        for index in range(alike[0]):
            self._place(sources[index], index, "first")
            self.members.add("first", "FirstPyramid()")
            self.pyramids.append(
                sources[index].lines(
                    "FirstPyramid", "The first pass over the cells, which also brings maps to the neck's width."
                )
            )
            lines.append(f"{INDENT}{target} = self.first({maps})")
        purpose = "One pass over the cells; maps in and out run from fine to coarse."
        self.pyramids.append(sources[-1].lines("Pyramid", purpose))
        if len(alike) == 1:
            self._place(sources[-1], alike[0], "pyramid")
            self.members.add("pyramid", "Pyramid()")
            return [*lines, f"{INDENT}{target} = self.pyramid({maps})"]
        for position, index in enumerate(alike):
            self._place(sources[index], index, f"pyramids.{position}")
        self.members.add("pyramids", f"nn.ModuleList(Pyramid() for _ in range({len(alike)}))")
        loop = [f"{INDENT}for pyramid in self.pyramids:", f"{INDENT}    {target} = pyramid({maps})"]
        return [*lines, *loop]

    def _pyramid(self, index: int) -> ProgramSource:
        pyramid = self.neck.pyramids[index]
        assert isinstance(pyramid, Pyramid)
        members = self._cell_members(cast(Sequence[Cell], pyramid.cells))
        return ProgramSource(pyramid, members, Members(self.blocks))

    def _cell_members(self, cells: Sequence[Cell]) -> dict[str, Member]:
        names = node_names(self.neck.genotype)
        live = list(names)[len(self.neck.genotype.levels) :]
        members = {}
        for index, (node, cell) in enumerate(zip(live, cells, strict=True)):
            function = "linear_block" if cell.cell.transform == "linear" else "conv_block"
            members[f"cells.{index}.transform"] = Member(names[node], function)
            members[f"cells.{index}.weight"] = Member(f"{names[node]}_weight")
            for place, operand in enumerate(cell.operands):
                edge, ends = f"cells.{index}.edges.{place}", (names[node], names[operand])
                members[f"{edge}.project"] = Member("{}_from_{}".format(*ends), "lateral")
                members[f"{edge}.strided.conv"] = Member("{}_down_{}".format(*ends), "strided_block")
        return members

    def _place(self, source: ProgramSource, index: int, name: str) -> None:
        for ours, theirs in source.members.renamed.items():
            self.members.renamed[f"pyramids.{index}.{ours}"] = f"{name}.{theirs}"

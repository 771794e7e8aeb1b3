"""One pass over a genotype's cells, as source."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from nas.drawing.node_names import node_names
from nas.export.parts import Members, Shared
from nas.export.source import assignment
from necks.edge import Edge
from necks.merge import OPERATIONS, WEIGHTED, Cell
from necks.merge_neck import MergeNeck, Pyramid

INDENT = " " * 8


@dataclass(frozen=True)
class Operand:
    """A map that a cell merges.

    Args:
        source: expression of the map in the neck's width.
        resize: how that is brought to the cell's size: an expression with `{}` for the source.
    """

    source: str
    resize: str

    @property
    def resized(self) -> str:
        return self.resize.format(self.source)


class PyramidSource:
    """Source of one `Pyramid`; with `members.renamed` its tensors find their places."""

    def __init__(self, neck: MergeNeck, pyramid: Pyramid, shared: Shared) -> None:
        self.genotype = neck.genotype
        self.recipe = neck.recipe
        self.names = node_names(neck.genotype)
        self.members = Members(shared)
        self.sized: set[int] = set()
        cells = zip(pyramid.live, pyramid.cells, strict=True)
        body = [line for index, (node, cell) in enumerate(cells) for line in self._cell(self.names[node], cell, index)]
        self.steps = [f"{INDENT}size{level} = p{level}.shape[-2:]" for level in sorted(self.sized)] + body
        self.outputs = [self.names[node] for node in pyramid.output_nodes]

    def lines(self, name: str, purpose: str) -> list[str]:
        inputs = ", ".join(f"p{level}: Tensor" for level in self.genotype.levels)
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

    def _cell(self, name: str, cell: nn.Module, index: int) -> list[str]:
        assert isinstance(cell, Cell)
        ours = f"cells.{index}"
        operands = [
            self._operand(name, edge, node, cell.cell.level, f"{ours}.edges.{position}")
            for position, (edge, node) in enumerate(zip(cell.edges, cell.operands, strict=True))
        ]
        count = len(cell.cell.inputs)
        before, terms = self._merge(name, cell, operands[:count], f"{ours}.weight")
        terms += [operand.resized for operand in operands[count:]]
        return before + assignment(name, terms, self._transform(name, cell, f"{ours}.transform"))

    def _transform(self, name: str, cell: Cell, ours: str) -> str:
        """Code of the block that a cell calls on its sum; empty if there is none."""
        if cell.cell.transform == "none":
            return ""
        function = "conv_block" if cell.cell.transform == "conv" else "linear_block"
        self.members.add_block(name, function, cell.transform, ours)
        return f"self.{name}"

    def _operand(self, cell: str, edge: nn.Module, node: int, level: int, ours: str) -> Operand:
        assert isinstance(edge, Edge)
        source = self.names[node]
        if not isinstance(edge.project, nn.Identity):
            member = f"{cell}_from_{source}"
            self.members.add_block(member, "lateral", edge.project, f"{ours}.project", takes_width=True)
            projected = f"self.{member}({source})"
        else:
            projected = source
        if edge.shift == 0:
            return Operand(projected, "{}")
        self.sized.add(level)
        if edge.strided is None:
            return Operand(projected, self._resize(edge.shift, level))
        member = f"{cell}_down_{source}"
        pool = 2 ** (edge.shift - 1)
        self.members.add_block(member, "strided_block", edge.strided.conv, f"{ours}.strided.conv", pool=pool)
        return Operand(projected, f"{self.members.call('fit')}(self.{member}({{}}), size{level})")

    def _resize(self, shift: int, level: int) -> str:
        if shift < 0:
            return f"{self.members.call('up')}({{}}, size{level})"
        stride = "" if self.recipe.down == "max_pool_padded" else f", {2**shift}"
        return f"{self.members.call('down')}({{}}, size{level}{stride})"

    def _merge(self, name: str, cell: Cell, operands: list[Operand], ours: str) -> tuple[list[str], list[str]]:
        """Statements before the sum, and its terms."""
        if cell.cell.merge == "attention":
            return self._gated(operands if cell.coarse_first else operands[::-1])
        if cell.cell.merge == "sum":
            return [], [operand.resized for operand in operands]
        if cell.cell.merge not in WEIGHTED:
            operation = self.members.call(OPERATIONS[cell.cell.merge].__name__)
            return [], [f"{operation}([{', '.join(operand.resized for operand in operands)}])"]
        member = f"{name}_weight"
        self.members.add(member, f"nn.Parameter(torch.ones({len(operands)}))")
        self.members.renamed[ours] = member
        shares = f"self.{member}.softmax(dim=0)"
        if cell.cell.merge == "fast_normalized":
            shares = f"{self.members.call('shares')}(self.{member})"
        terms = [f"w[{index}] * {operand.resized}" for index, operand in enumerate(operands)]
        return [f"{INDENT}w = {shares}"], terms

    def _gated(self, operands: list[Operand]) -> tuple[list[str], list[str]]:
        coarse, fine = operands
        gated = self.members.call("gated")
        if self.recipe.gate == "avg_fine":
            return [], [f"{gated}({coarse.resized}, {fine.resized})"]
        if coarse.source.isidentifier():
            return [], [f"{gated}({coarse.resized}, {fine.resized}, {coarse.source})"]
        resized = coarse.resize.format("source")
        return [f"{INDENT}source = {coarse.source}"], [f"{gated}({resized}, {fine.resized}, source)"]

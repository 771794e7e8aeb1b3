"""One pass over a genotype's cells: its modules, and its lowering to a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import cast

import torch
from torch import nn

from necks.blocks import lateral, transform
from necks.lowering import Lowering
from necks.merge import SHARES, Input, Merging, merged
from necks.program import Program
from necks.recipe import Recipe
from necks.straight import Straight
from search_space import Genotype, MergeCell
from search_space.node_names import node_names


class Edge(nn.Module):
    """The modules of one input of a cell.

    Attributes:
        projects: the map has another width than the neck.
        strided: the 3x3 convolution of stride 2 by which the edge comes down, if it does so.
    """

    def __init__(self, in_channels: int, channels: int, shift: int, recipe: Recipe) -> None:
        super().__init__()
        self.shift = shift
        self.projects = in_channels != channels
        self.project = lateral(recipe, in_channels, channels) if self.projects else nn.Identity()
        strides = shift > 0 and recipe.down == "conv"
        self.strided = nn.ModuleDict({"conv": transform(recipe, channels, stride=2)}) if strides else None


class Cell(nn.Module):
    """The modules of one merge cell.

    Args:
        index: of the cell in the genotype.
        node_channels: channels of every node up to this cell.
        channels: of the result.

    Attributes:
        operands: the nodes that it merges, then those that dangle at its level, added before the transform.
    """

    def __init__(
        self, genotype: Genotype, index: int, node_channels: Sequence[int], channels: int, recipe: Recipe
    ) -> None:
        super().__init__()
        self.cell = cell = genotype.cells[index]
        self.operands = (*cell.inputs, *genotype.dangling[index])
        levels = genotype.node_levels
        self.edges = nn.ModuleList(
            Edge(node_channels[node], channels, cell.level - levels[node], recipe) for node in self.operands
        )
        self.transform = (
            nn.Identity()
            if cell.transform == "none"
            else transform(recipe, channels, linear=cell.transform == "linear")
        )
        if cell.merge in SHARES:
            self.weight = nn.Parameter(torch.ones(len(cell.inputs)))


class Pyramid(Straight):
    """One pass over a genotype's cells; cells that no output depends on are not built.

    Args:
        in_channels: of every input node.
        channels: of every cell's result.
    """

    def __init__(self, genotype: Genotype, in_channels: Sequence[int], channels: int, recipe: Recipe) -> None:
        super().__init__()
        first = len(genotype.levels)
        node_channels = (*in_channels, *(channels for _ in genotype.cells))
        live = sorted(node for node in genotype.live_nodes if node >= first)
        self.out_channels = tuple(node_channels[node] for node in genotype.outputs.values())
        self.cells = nn.ModuleList(Cell(genotype, node - first, node_channels, channels, recipe) for node in live)
        self.run_program(lowered(genotype, live, list(cast(Sequence[Cell], self.cells)), recipe))


def lowered(genotype: Genotype, live: Sequence[int], cells: Sequence[Cell], recipe: Recipe) -> Program:
    """Program of the cells of the nodes `live`."""
    names = node_names(genotype)
    lowering = Lowering([names[node] for node in range(len(genotype.levels))], [names[node] for node in live])
    uses = Counter((node, cell.cell.level) for cell in cells for node in cell.operands)
    values = {node: names[node] for node in range(len(genotype.levels))}
    known: dict[Hashable, str] = {}
    for index, (node, cell) in enumerate(zip(live, cells, strict=True)):
        merging = Merging(lowering, recipe, f"cells.{index}", cell.cell.level, known)
        inputs = [
            _input(merging, values[operand], operand, edge, position, many=uses[operand, cell.cell.level] > 1)
            for position, (operand, edge) in enumerate(
                zip(cell.operands, cast(Sequence[Edge], cell.edges), strict=True)
            )
        ]
        values[node] = _result(merging, cell.cell, inputs, names[node])
    return lowering.program([values[node] for node in genotype.outputs.values()])


def _input(merging: Merging, value: str, node: int, edge: Edge, position: int, *, many: bool) -> Input:
    """The input in the neck's width."""
    name, lowering = f"{merging.cell}.edges.{position}", merging.lowering
    if edge.projects:
        value = lowering.step("block", value, block=f"{name}.project", like="x")
        value = lowering.function(layout(merging.recipe), value, like="x")
    strides = edge.strided is not None
    shared = many and edge.shift != 0 and not (strides or edge.projects)
    return Input(value, node, edge.shift, name, edge.projects, strides, shared)


def _result(merging: Merging, cell: MergeCell, inputs: Sequence[Input], name: str) -> str:
    """The cell's value: its inputs merged, what dangles added, the sum transformed."""
    lowering, recipe = merging.lowering, merging.recipe
    count = len(cell.inputs)
    value = merged(merging, cell.merge, inputs[:count])
    value = lowering.total([value, *(merging.resized(x) for x in inputs[count:])])
    if cell.transform == "none":
        return lowering.rename(value, name)
    overwrites = value in lowering.owned and cell.transform == "conv" and recipe.order == "act_conv_norm"
    block, activation = f"{merging.cell}.transform", recipe.activation
    return lowering.step("transform", value, block=block, name=activation, overwrites=overwrites, like=name)


def layout(recipe: Recipe) -> str:
    """The function of `necks.resample` that lays out a map for the convolutions of a recipe."""
    return "always_laid_out" if recipe.separable else "laid_out"

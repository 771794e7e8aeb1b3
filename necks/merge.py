"""Merging of maps from different levels.

Shapes: N images, C channels, H W of the level at hand; a map is (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.blocks import lateral, transform
from necks.recipe import Recipe
from necks.resample import Size, StridedConv, resample
from search_space import MergeCell

FUSION_EPS = 1e-4
WEIGHTED = ("fast_normalized", "softmax")


def max_gate(x: Tensor) -> Tensor:
    """sigmoid of each channel's global maximum, (N, C, 1, 1).

    Resampling up or down keeps the global maximum, so the gate is computed on the map as it is.
    """
    return torch.sigmoid(x.amax(dim=(2, 3), keepdim=True))


def average_gate(x: Tensor) -> Tensor:
    """sigmoid of each channel's global average, (N, C, 1, 1)."""
    return torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))


def sum_maps(maps: list[Tensor]) -> Tensor:
    total = maps[0]
    for x in maps[1:]:
        total = total + x
    return total


OPERATIONS: dict[str, Callable[[list[Tensor]], Tensor]] = {"sum": sum_maps}
"""Merges without weights in which the order of the inputs does not matter: maps of the cell's size in, one out.

Another one goes here and into `search_space.genotype.MERGES`. Generated files take its source as it stands, so it needs
torch alone."""


class Edge(nn.Module):
    """One operand of a cell: brought to the neck's width if it has another, then to the cell's size.

    Gives both maps; the first is what gates are computed from.
    """

    def __init__(self, in_channels: int, channels: int, shift: int, recipe: Recipe) -> None:
        super().__init__()
        self.shift = shift
        self.down = recipe.down
        self.project = lateral(recipe, in_channels, channels) if in_channels != channels else nn.Identity()
        self.strided = StridedConv(recipe, channels, shift) if shift > 0 and recipe.down == "conv" else None

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        source = self.project(x)
        if self.strided is not None:
            return source, self.strided(source, size)
        return source, resample(source, size, shift=self.shift, down=self.down)


class Cell(nn.Module):
    """One merge cell at run time: resample, merge, add what dangles, transform.

    Args:
        cell: what to merge and where.
        dangling: further nodes at the cell's own level, added after the merge and before the transform.
        node_levels: level of every node of the genotype.
        node_channels: channels of every node up to this cell.
        channels: of the result.
    """

    def __init__(
        self,
        cell: MergeCell,
        dangling: Sequence[int],
        node_levels: Sequence[int],
        node_channels: Sequence[int],
        channels: int,
        recipe: Recipe,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.operands = (*cell.inputs, *dangling)
        levels = [node_levels[node] for node in cell.inputs]
        self.coarse_first = len(levels) < 2 or levels[0] >= levels[1]
        self.gate = recipe.gate
        self.edges = nn.ModuleList(
            Edge(node_channels[node], channels, cell.level - node_levels[node], recipe) for node in self.operands
        )
        self.transform = (
            nn.Identity()
            if cell.transform == "none"
            else transform(recipe, channels, linear=cell.transform == "linear")
        )
        if cell.merge in WEIGHTED:
            self.weight = nn.Parameter(torch.ones(len(cell.inputs)))

    def forward(self, nodes: Mapping[int, Tensor], size: Size) -> Tensor:
        pairs = [edge(nodes[node], size) for edge, node in zip(self.edges, self.operands, strict=True)]
        sources, maps = zip(*pairs, strict=True)
        count = len(self.cell.inputs)
        merged = self._merge(sources[:count], maps[:count])
        return self.transform(sum_maps([merged, *maps[count:]]))

    def _merge(self, sources: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
        if self.cell.merge == "attention":
            coarse, fine = (0, 1) if self.coarse_first else (1, 0)
            if self.gate == "avg_fine":
                return maps[fine] + maps[coarse] * average_gate(maps[fine])
            return torch.addcmul(maps[coarse], maps[fine], max_gate(sources[coarse]))
        if self.cell.merge in WEIGHTED:
            weights = self._weights().unbind()
            return sum_maps([x * w for x, w in zip(maps, weights, strict=True)])
        return OPERATIONS[self.cell.merge](list(maps))

    def _weights(self) -> Tensor:
        if self.cell.merge == "softmax":
            return self.weight.softmax(dim=0)
        weight = F.relu(self.weight)
        return weight / (weight.sum() + FUSION_EPS)

"""One operand of a merge cell: a node's map, brought to the neck's width and to the cell's size.

Shapes: N images, C channels, H W of the level at hand; a map is (N, C, H, W).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from necks.blocks import lateral
from necks.recipe import Recipe
from necks.resample import StridedConv, laid_out, resample
from necks.sizes import Size


class Owned(NamedTuple):
    """A map, and whether it may be overwritten: a cell made it itself, and no backward pass reads its values.

    A fresh tensor costs a CPU more in page faults than the arithmetic does, and training keeps fewer of them.
    """

    x: Tensor
    owned: bool


class Shared:
    """Intermediate results that cells of one pass share: maps by node and levels moved, gates by node."""

    def __init__(self) -> None:
        self.maps: dict[tuple[int, int], Tensor] = {}
        self.gates: dict[int, Tensor] = {}


class Edge(nn.Module):
    """
    Attributes:
        projects: the map has another width than the neck.
        plain: the map changes its size and nothing else, so that every cell of the level may have it.
        shared: it is plain, and another edge of the pyramid takes the same node to the same level.
    """

    def __init__(self, in_channels: int, channels: int, shift: int, recipe: Recipe) -> None:
        super().__init__()
        self.shift = shift
        self.down = recipe.down
        self.separable = recipe.separable
        self.projects = in_channels != channels
        self.strides = shift > 0 and recipe.down == "conv"
        self.project = lateral(recipe, in_channels, channels) if self.projects else nn.Identity()
        self.strided = StridedConv(recipe, channels, shift) if self.strides else None
        self.plain = shift != 0 and not (self.strides or self.projects)
        self.shared = False

    def projected(self, x: Tensor) -> Tensor:
        """A node's map in the neck's width."""
        return laid_out(self.project(x), separable=self.separable) if self.projects else x

    def resized(self, source: Tensor, size: Size) -> Owned:
        """A projected map at the cell's size."""
        if self.shift == 0:
            return Owned(source, False)
        if self.strides:
            assert self.strided is not None
            return Owned(self.strided(source, size), False)
        return Owned(resample(source, size, shift=self.shift, down=self.down), True)

    def scaled(self, source: Tensor, size: Size, factor: Tensor | float) -> Owned:
        """The same times a factor for each map or channel, which is applied where the map is smaller."""
        if self.shift < 0:
            return self.resized(source * factor, size)
        return Owned(self.resized(source, size).x * factor, True)


class Operand(NamedTuple):
    """An edge, the node that it comes from, and that node's projected map."""

    edge: Edge
    node: int
    source: Tensor

    def resized(self, size: Size, shared: Shared) -> Owned:
        """The map at the cell's size; computed once where several cells take it."""
        if not self.edge.shared:
            return self.edge.resized(self.source, size)
        key = self.node, self.edge.shift
        if key not in shared.maps:
            shared.maps[key] = self.edge.resized(self.source, size).x
        return Owned(shared.maps[key], False)

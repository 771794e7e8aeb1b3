"""Merging of maps from different levels.

Shapes: N images, C channels, H W of the level at hand; a map is (N, C, H, W).

A map that a cell made itself, and whose values no backward pass reads, is *owned*: the cell goes on in its memory. A
fresh tensor costs a CPU more in page faults than the arithmetic does, and training keeps fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.blocks import lateral, transform
from necks.recipe import Recipe
from necks.resample import Size, StridedConv, laid_out, resample
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


class Owned(NamedTuple):
    """A map, and whether it may be overwritten."""

    x: Tensor
    owned: bool


class Shared:
    """What several cells of one pass need: maps by (node, level) that they have at a level, gates by node."""

    def __init__(self) -> None:
        self.maps: dict[tuple[int, int], Tensor] = {}
        self.gates: dict[int, Tensor] = {}


class Edge(nn.Module):
    """One operand of a cell: brought to the neck's width if it has another, then to the cell's size.

    Attributes:
        plain: the map changes its size and nothing else, so that every cell of the level may have it.
        shared: it is plain, and another edge of the pyramid takes the same node to the same level.
    """

    def __init__(self, in_channels: int, channels: int, shift: int, recipe: Recipe) -> None:
        super().__init__()
        self.shift = shift
        self.down = recipe.down
        self.separable = recipe.separable
        self.project = lateral(recipe, in_channels, channels) if in_channels != channels else nn.Identity()
        self.strided = StridedConv(recipe, channels, shift) if shift > 0 and recipe.down == "conv" else None
        self.plain = shift != 0 and self.strided is None and in_channels == channels
        self.shared = False

    def projected(self, x: Tensor) -> Tensor:
        """A node's map in the neck's width."""
        return x if isinstance(self.project, nn.Identity) else laid_out(self.project(x), separable=self.separable)

    def resized(self, source: Tensor, size: Size) -> Owned:
        """A projected map at the cell's size."""
        if self.strided is not None:
            return Owned(self.strided(source, size), False)
        return Owned(resample(source, size, shift=self.shift, down=self.down), self.shift != 0)

    def scaled(self, source: Tensor, size: Size, factor: Tensor | float) -> Owned:
        """The same times a factor for each map or channel, which is applied where the map is smaller."""
        if self.shift < 0:
            return self.resized(source * factor, size)
        return Owned(self.resized(source, size).x * factor, True)


class Cell(nn.Module):
    """One merge cell at run time: resample, merge, add what dangles, transform.

    Args:
        cell: what to merge and where.
        dangling: further nodes at the cell's own level, added after the merge and before the transform.
        node_levels: level of every node of the genotype.
        node_channels: channels of every node up to this cell.
        channels: of the result.

    Attributes:
        shares: of the inputs, once `necks.fold` made them constants.
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
        self.activates_first = cell.transform == "conv" and recipe.order == "act_conv_norm"
        self.coarse_to_fine = sorted(range(len(levels)), key=lambda index: -levels[index])
        self.shares: list[float] | None = None
        if cell.merge in WEIGHTED:
            self.weight = nn.Parameter(torch.ones(len(cell.inputs)))

    def forward(self, nodes: Mapping[int, Tensor], size: Size, shared: Shared | None = None) -> Tensor:
        """
        Args:
            nodes: maps by node.
            size: of the cell's level.
            shared: what the cells of this pass have in common.
        """
        shared = shared or Shared()
        sources = [edge.projected(nodes[node]) for edge, node in self.edges_and_nodes()]
        merged = self._merge(sources, size, shared)
        further = range(len(self.cell.inputs), len(self.operands))
        x, owned = summed([merged, *(self._resized(index, sources, size, shared) for index in further)])
        if not (owned and self.activates_first):
            return self.transform(x)
        act, conv, norm = cast(nn.Sequential, self.transform)
        return norm(conv(activated(act, x)))

    def edges_and_nodes(self) -> Iterator[tuple[Edge, int]]:
        return zip(cast(Iterable[Edge], self.edges), self.operands, strict=True)

    def _merge(self, sources: list[Tensor], size: Size, shared: Shared) -> Owned:
        if self.cell.merge == "attention":
            return self._gated(sources, size, shared)
        if self.cell.merge in WEIGHTED:
            return self._weighted(sources, size, shared)
        maps = [self._resized(index, sources, size, shared) for index in range(len(self.cell.inputs))]
        if self.cell.merge == "sum":
            return summed(maps)
        return Owned(OPERATIONS[self.cell.merge]([x for x, _ in maps]), False)

    def _gated(self, sources: list[Tensor], size: Size, shared: Shared) -> Owned:
        coarse, fine = (0, 1) if self.coarse_first else (1, 0)
        fine_map = self._resized(fine, sources, size, shared)
        if self.gate == "avg_fine":
            return summed([self._edge(coarse).scaled(sources[coarse], size, average_gate(fine_map.x)), fine_map])
        x, owned = self._resized(coarse, sources, size, shared)
        gate = self._max_gate(coarse, sources, shared)
        return Owned(x.addcmul_(fine_map.x, gate) if owned else torch.addcmul(x, fine_map.x, gate), True)

    def _max_gate(self, index: int, sources: list[Tensor], shared: Shared) -> Tensor:
        if not isinstance(self._edge(index).project, nn.Identity):
            return max_gate(sources[index])
        node = self.operands[index]
        if node not in shared.gates:
            shared.gates[node] = max_gate(sources[index])
        return shared.gates[node]

    def _weighted(self, sources: list[Tensor], size: Size, shared: Shared) -> Owned:
        """Coarser maps first, which are scaled before they grow."""
        weights = self._weights(sources[0].dtype)
        first, *others = self.coarse_to_fine
        total, _ = self._edge(first).scaled(sources[first], size, weights[first])
        for index in others:
            if self._edge(index).shift < 0:
                total.add_(self._edge(index).scaled(sources[index], size, weights[index]).x)
            else:
                _add_scaled(total, self._resized(index, sources, size, shared).x, weights[index])
        return Owned(total, True)

    def freeze(self) -> None:
        """Take the weights of the inputs as constants from now on."""
        if self.cell.merge in WEIGHTED:
            self.shares = shares(self.weight.detach(), self.cell.merge).tolist()

    def _weights(self, dtype: torch.dtype) -> Sequence[Tensor | float]:
        if self.shares is not None:
            return self.shares
        return shares(self.weight, self.cell.merge).to(dtype).unbind()

    def _resized(self, index: int, sources: list[Tensor], size: Size, shared: Shared) -> Owned:
        edge = self._edge(index)
        if not edge.shared:
            return edge.resized(sources[index], size)
        key = self.operands[index], self.cell.level
        if key not in shared.maps:
            shared.maps[key] = edge.resized(sources[index], size).x
        return Owned(shared.maps[key], False)

    def _edge(self, index: int) -> Edge:
        return cast(Edge, self.edges[index])


def shares(weight: Tensor, merge: str) -> Tensor:
    """Learned weights of a merge's inputs, made positive and normalised: (inputs,)."""
    if merge == "softmax":
        return weight.softmax(dim=0)
    weight = F.relu(weight)
    return weight / (weight.sum() + FUSION_EPS)


def summed(maps: list[Owned]) -> Owned:
    """The sum, in the memory of an owned map if there is one."""
    start = next((index for index, (_, owned) in enumerate(maps) if owned), 0)
    total, owned = maps[start]
    for index, (x, _) in enumerate(maps):
        if index != start:
            total = total.add_(x) if owned else total + x
            owned = True
    return Owned(total, owned)


def activated(act: nn.Module, x: Tensor) -> Tensor:
    """An activation of an owned map, in its memory unless a backward pass will read what was there."""
    if isinstance(act, nn.ReLU):
        return F.relu_(x)
    if isinstance(act, nn.SiLU):
        return F.silu(x, inplace=not x.requires_grad)
    return cast(Tensor, act(x))


def _add_scaled(total: Tensor, x: Tensor, factor: Tensor | float) -> None:
    if isinstance(factor, float):
        total.add_(x, alpha=factor)
    else:
        total.addcmul_(x, factor)

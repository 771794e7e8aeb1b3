"""Merging of maps from different levels.

Shapes: N images, C channels, H W of the level at hand; a map is (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.blocks import transform
from necks.choices import Activation
from necks.edge import Edge, Operand, Owned, Shared
from necks.gpu.term import Term
from necks.kernel_terms import at_size, merged, term, usable
from necks.recipe import Recipe
from necks.sizes import Size
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


class Cell(nn.Module):
    """One merge cell at run time: resample, merge, add what dangles, transform.

    Args:
        cell: what to merge and where.
        dangling: further nodes at the cell's own level, added after the merge and before the transform.
        node_levels: level of every node of the genotype.
        node_channels: channels of every node up to this cell.
        channels: of the result.

    Attributes:
        frozen: for inference alone, since `necks.fold` made its weights constants.
        shares: of the inputs, once frozen.
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
        self.merges_nothing = len(self.operands) == 1 and levels == [cell.level] and cell.merge == "sum"
        self.transforms = cell.transform != "none"
        self.activates_first = cell.transform == "conv" and recipe.order == "act_conv_norm"
        self.activation = recipe.activation
        self.coarse_to_fine = sorted(range(len(levels)), key=lambda index: -levels[index])
        self.frozen = False
        self.known_to_kernel: set[Hashable] = set()
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
        if self.merges_nothing:
            ((edge, node),) = self.edges_and_nodes()
            x = edge.projected(nodes[node])
            return self.transform(x) if self.transforms else x
        shared = shared or Shared()
        operands = [Operand(edge, node, edge.projected(nodes[node])) for edge, node in self.edges_and_nodes()]
        inputs, dangling = operands[: len(self.cell.inputs)], operands[len(self.cell.inputs) :]
        if self.frozen and usable(operands, size, self.known_to_kernel):
            terms = [*self._terms(inputs, size, shared), *(term(operand, size, shared) for operand in dangling)]
            x = merged(terms, size, self.activation if self.activates_first else "none")
            return self.transform(x, start=1) if self.activates_first else self.transform(x)
        x, owned = self._merge(inputs, size, shared)
        if dangling:
            x, owned = summed([Owned(x, owned), *(operand.resized(size, shared) for operand in dangling)])
        if not self.transforms:
            return x
        if owned and self.activates_first:
            x = activated(self.activation, x)
            return self.transform(x, start=1)
        return self.transform(x)

    def edges_and_nodes(self) -> Iterator[tuple[Edge, int]]:
        """The edges by way of the dict that holds them: an `nn.ModuleList` costs as much as a small map does."""
        edges = self._modules["edges"]._modules.values()  # type: ignore[union-attr]
        return zip(edges, self.operands, strict=True)

    def _merge(self, inputs: list[Operand], size: Size, shared: Shared) -> Owned:
        merge = self.cell.merge
        if merge == "attention":
            return self._gated(inputs, size, shared)
        if merge in WEIGHTED:
            return self._weighted(inputs, size, shared)
        maps = [operand.resized(size, shared) for operand in inputs]
        if merge == "sum":
            return summed(maps)
        return Owned(OPERATIONS[merge]([x for x, _ in maps]), False)

    def _gated(self, inputs: list[Operand], size: Size, shared: Shared) -> Owned:
        coarse, fine = inputs if self.coarse_first else inputs[::-1]
        fine_map = fine.resized(size, shared)
        if self.gate == "avg_fine":
            return summed([coarse.edge.scaled(coarse.source, size, average_gate(fine_map.x)), fine_map])
        x, owned = coarse.resized(size, shared)
        gate = shared_max_gate(coarse, shared)
        return Owned(x.addcmul_(fine_map.x, gate) if owned else torch.addcmul(x, fine_map.x, gate), True)

    def _weighted(self, inputs: list[Operand], size: Size, shared: Shared) -> Owned:
        """Coarser maps first, which are scaled before they grow."""
        weights = self._weights(inputs[0].source.dtype)
        first, *others = self.coarse_to_fine
        total, _ = inputs[first].edge.scaled(inputs[first].source, size, weights[first])
        for index in others:
            operand, weight = inputs[index], weights[index]
            if operand.edge.shift < 0:
                total.add_(operand.edge.scaled(operand.source, size, weight).x)
            else:
                _add_scaled(total, operand.resized(size, shared).x, weight)
        return Owned(total, True)

    def _terms(self, inputs: list[Operand], size: Size, shared: Shared) -> list[Term]:
        """Terms of the sum that `_merge` computes."""
        if self.cell.merge in WEIGHTED:
            assert self.shares is not None
            return [term(operand, size, shared, weight) for operand, weight in zip(inputs, self.shares, strict=True)]
        if self.cell.merge == "attention":
            coarse, fine = inputs if self.coarse_first else inputs[::-1]
            if self.gate == "max_coarse":
                return [term(coarse, size, shared), term(fine, size, shared, gate=shared_max_gate(coarse, shared))]
            pooled = at_size(fine, size, shared)
            return [term(coarse, size, shared, gate=average_gate(pooled)), Term(pooled)]
        if self.cell.merge == "sum":
            return [term(operand, size, shared) for operand in inputs]
        return [Term(OPERATIONS[self.cell.merge]([at_size(operand, size, shared) for operand in inputs]))]

    def freeze(self) -> None:
        """Take the weights of the inputs as constants from now on, and one kernel for what it computes."""
        self.frozen = True
        if self.cell.merge in WEIGHTED:
            self.shares = shares(self.weight.detach(), self.cell.merge).tolist()

    def _weights(self, dtype: torch.dtype) -> Sequence[Tensor | float]:
        if self.shares is not None:
            return self.shares
        return shares(self.weight, self.cell.merge).to(dtype).unbind()


def shared_max_gate(operand: Operand, shared: Shared) -> Tensor:
    """The gate of a node's map, computed once for all cells that take it as it is."""
    if operand.edge.projects:
        return max_gate(operand.source)
    if operand.node not in shared.gates:
        shared.gates[operand.node] = max_gate(operand.source)
    return shared.gates[operand.node]


def shares(weight: Tensor, merge: str) -> Tensor:
    """Learned weights of a merge's inputs, made positive and normalised: (inputs,)."""
    if merge == "softmax":
        return weight.softmax(dim=0)
    weight = F.relu(weight)
    return weight / (weight.sum() + FUSION_EPS)


def summed(maps: list[Owned]) -> Owned:
    """The sum, in the memory of an owned map if there is one."""
    if len(maps) == 1:
        return maps[0]
    start = next((index for index, (_, owned) in enumerate(maps) if owned), 0)
    total, owned = maps[start]
    for index, (x, _) in enumerate(maps):
        if index != start:
            total = total.add_(x) if owned else total + x
            owned = True
    return Owned(total, owned)


def activated(activation: Activation, x: Tensor) -> Tensor:
    """An activation of an owned map, in its memory unless a backward pass will read what was there."""
    if activation == "relu":
        return F.relu_(x)
    if activation == "silu":
        return F.silu(x, inplace=not x.requires_grad)
    return x


def _add_scaled(total: Tensor, x: Tensor, factor: Tensor | float) -> None:
    if isinstance(factor, float):
        total.add_(x, alpha=factor)
    else:
        total.addcmul_(x, factor)

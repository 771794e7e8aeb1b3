"""Resampling and merging of maps from different levels.

Shapes: N images, C channels, H W of the level at hand; a map is (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.recipe import Recipe, transform
from search_space import MergeCell

Size = tuple[int, int]


def resample(x: Tensor, size: Size, *, shift: int) -> Tensor:
    """Bring a map to `size`, `shift` levels coarser (finer where negative).

    Up is nearest (pixel repetition at whole ratios). Down is one max-pool with kernel = stride = 2^shift, whose last
    windows are cut short where the size does not divide (TensorFlow's SAME padding cuts the first ones, too); where
    even that does not give `size` (a backbone that rounds down), the windows are spread over the map.
    """
    if shift < 0:
        return F.interpolate(x, size=size, mode="nearest")
    if shift > 0:
        pooled = F.max_pool2d(x, 2**shift, ceil_mode=True)
        x = pooled if pooled.shape[-2:] == size else F.adaptive_max_pool2d(x, size)
    return x


def attention_gate(coarse: Tensor) -> Tensor:
    """sigmoid of each channel's global maximum, (N, C, 1, 1).

    Resampling up or down keeps the global maximum, so the gate is computed on the map as it is.
    """
    return torch.sigmoid(coarse.amax(dim=(2, 3), keepdim=True))


class Cell(nn.Module):
    """One merge cell at run time: resample, merge, add what dangles, transform.

    Args:
        cell: what to merge and where.
        dangling: further nodes at the cell's own level, added after the merge and before the transform.
        node_levels: level of every node of the genotype.
    """

    def __init__(
        self, cell: MergeCell, dangling: Sequence[int], node_levels: Sequence[int], channels: int, recipe: Recipe
    ) -> None:
        super().__init__()
        self.cell = cell
        self.dangling = tuple(dangling)
        self.shifts = [cell.level - node_levels[node] for node in cell.inputs]
        levels = [node_levels[node] for node in cell.inputs]
        self.coarse_first = len(levels) < 2 or levels[0] >= levels[1]
        self.transform = transform(recipe, channels) if cell.transform == "conv" else nn.Identity()
        if cell.merge == "fast_normalized":
            self.weight = nn.Parameter(torch.ones(len(cell.inputs)))

    def forward(self, nodes: Mapping[int, Tensor], size: Size) -> Tensor:
        sources = [nodes[node] for node in self.cell.inputs]
        maps = [resample(x, size, shift=shift) for x, shift in zip(sources, self.shifts, strict=True)]
        merged = self._merge(sources, maps)
        for node in self.dangling:
            merged = merged + nodes[node]
        return self.transform(merged)

    def _merge(self, sources: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
        if self.cell.merge == "attention":
            coarse, fine = (0, 1) if self.coarse_first else (1, 0)
            return torch.addcmul(maps[coarse], maps[fine], attention_gate(sources[coarse]))
        if self.cell.merge == "fast_normalized":
            weight = F.relu(self.weight)
            weight = weight / (weight.sum() + 1e-4)
            return sum_maps([x * w for x, w in zip(maps, weight.unbind(), strict=True)])
        return sum_maps(maps)


def sum_maps(maps: Sequence[Tensor]) -> Tensor:
    total = maps[0]
    for x in maps[1:]:
        total = total + x
    return total

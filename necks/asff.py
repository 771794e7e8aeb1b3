"""Adaptively Spatial Feature Fusion (arXiv 1911.09516): each level is a per-pixel weighted mean of all levels.

Shapes: N images, C channels, H W of the level at hand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.contract import Neck

LEAKY_SLOPE = 0.1


class AsffNeck(Neck):
    """Any neck followed by ASFF at uniform width, over all its levels.

    After the authors' code for YOLOv3: a finer map comes down by 3x3 max-pools and one last 3x3 stride-2 convolution, a
    coarser one comes up by nearest; what was brought to the level is weighted per pixel by a softmax over the levels,
    summed, and convolved. YOLOv3's own widths differ from level to level; there a 1x1 convolution precedes the
    upsampling.

    Args:
        neck: gives the pyramid.
        weight_channels: width of the branch that the weights are computed from; 16, or 8 in the authors' `rfb` variant.
    """

    def __init__(self, neck: Neck, weight_channels: int = 16) -> None:
        super().__init__(neck.in_channels, neck.in_levels, neck.out_channels, neck.out_levels)
        self.neck = neck
        self.fusions = nn.ModuleList(
            SpatialFusion(neck.out_channels, neck.out_levels, level, weight_channels) for level in neck.out_levels
        )

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        maps = list(self.neck(features).values())
        return self.named([fusion(maps) for fusion in self.fusions])


class SpatialFusion(nn.Module):
    """All maps of a pyramid fused at one of its levels."""

    def __init__(self, channels: int, levels: Sequence[int], level: int, weight_channels: int) -> None:
        super().__init__()
        self.target = list(levels).index(level)
        self.shifts = [level - other for other in levels]
        self.down = nn.ModuleDict(
            {str(index): conv_norm_act(channels, channels, 3, stride=2) for index, d in enumerate(self.shifts) if d > 0}
        )
        self.squeeze = nn.ModuleList(conv_norm_act(channels, weight_channels, 1) for _ in levels)
        self.weigh = nn.Conv2d(weight_channels * len(levels), len(levels), 1)
        self.expand = conv_norm_act(channels, channels, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        size = maps[self.target].shape[-2:]
        resized = [self._resize(x, index, size) for index, x in enumerate(maps)]
        squeezed = [squeeze(x) for squeeze, x in zip(self.squeeze, resized, strict=True)]
        weights = self.weigh(torch.cat(squeezed, dim=1)).softmax(dim=1)
        fused = torch.stack(resized, dim=1).mul(weights.unsqueeze(2)).sum(dim=1)
        return self.expand(fused)

    def _resize(self, x: Tensor, index: int, size: torch.Size) -> Tensor:
        shift = self.shifts[index]
        for _ in range(shift - 1):
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        if shift > 0:
            x = self.down[str(index)](x)
        return x if x.shape[-2:] == size else F.interpolate(x, size, mode="nearest")


def conv_norm_act(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """conv without bias -> BatchNorm -> LeakyReLU(0.1), Darknet's unit."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(LEAKY_SLOPE),
    )

"""Adaptively Spatial Feature Fusion (arXiv 1911.09516): each level is a per-pixel weighted mean of all levels.

Shapes: N images, C channels, H W of the level at hand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.bounds import check_count
from necks.contract import Neck
from search_space import MAX_CHANNELS
from search_space.bounds import shown

LEAKY_SLOPE = 0.1

Activation = Literal["leaky_relu", "relu6"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
    "relu6": nn.ReLU6,
}


class AsffNeck(Neck):
    """Any neck followed by ASFF over all its levels, which may have different widths.

    The computation follows the authors' code for YOLOv3. A finer map is downsampled by 3x3 max-pools and a last 3x3
    stride-2 convolution. A coarser map passes a 1x1 convolution if its width differs, and is upsampled by nearest
    neighbour. The resampled maps are weighted per pixel by a softmax over the levels, summed, and convolved.

    The authors' YOLOv3 is `AsffNeck(PassThrough((256, 256, 512), (3, 4, 5)), expanded=(256, 512, 1024))`. Their
    MobileNet is the same with (128, 256, 512) and `relu6`.

    Args:
        neck: neck that computes the pyramid.
        weight_channels: width of the branch that computes the weights; 16, or 8 in the authors' `rfb` variant.
        expanded: width of each output map, fine to coarse; default: as in `neck`.
        activation: `leaky_relu` (slope 0.1) or `relu6`.

    Raises:
        ValueError: for widths that are not positive or not one per level, or for an unknown activation.
    """

    def __init__(
        self,
        neck: Neck,
        weight_channels: int = 16,
        expanded: Sequence[int] | None = None,
        activation: Activation = "leaky_relu",
    ) -> None:
        widths = neck.level_channels if expanded is None else tuple(expanded)
        super().__init__(neck.in_channels, neck.in_levels, widths, neck.out_levels)
        check_count("weight_channels", weight_channels, MAX_CHANNELS)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {shown(activation)}")
        self.neck = neck
        self.weight_channels = weight_channels
        self.expanded = widths
        self.activation = activation
        self.fusions = nn.ModuleList(
            SpatialFusion(neck.level_channels, neck.out_levels, level, weight_channels, width, activation)
            for level, width in zip(neck.out_levels, widths, strict=True)
        )

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        maps = list(self.neck(features).values())
        return self.named([fusion(maps) for fusion in self.fusions])


class SpatialFusion(nn.Module):
    """All maps of a pyramid fused at one of its levels: (N, channels[i], H_i, W_i) each -> (N, expanded, H, W)."""

    def __init__(
        self,
        channels: Sequence[int],
        levels: Sequence[int],
        level: int,
        weight_channels: int,
        expanded: int,
        activation: Activation = "leaky_relu",
    ) -> None:
        super().__init__()
        self.target = list(levels).index(level)
        self.shifts = [level - other for other in levels]
        inner = channels[self.target]
        unit = partial(conv_norm_act, activation=activation)
        finer = [index for index, shift in enumerate(self.shifts) if shift > 0]
        unlike = [index for index, shift in enumerate(self.shifts) if shift < 0 and channels[index] != inner]
        self.down = nn.ModuleDict({str(index): unit(channels[index], inner, 3, stride=2) for index in finer})
        self.compress = nn.ModuleDict({str(index): unit(channels[index], inner, 1) for index in unlike})
        self.squeeze = nn.ModuleList(unit(inner, weight_channels, 1) for _ in levels)
        self.weigh = nn.Conv2d(weight_channels * len(levels), len(levels), 1)
        self.expand = unit(inner, expanded, 3)

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
        if str(index) in self.compress:
            x = self.compress[str(index)](x)
        return x if x.shape[-2:] == size else F.interpolate(x, size, mode="nearest")


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, activation: Activation = "leaky_relu"
) -> nn.Sequential:
    """conv without bias -> BatchNorm -> LeakyReLU(0.1), Darknet's unit, or ReLU6."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        ACTIVATIONS[activation](),
    )

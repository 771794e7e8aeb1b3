"""Exact Fusion Model (CSPNet, arXiv 1911.11929), after the paper's description.

The authors published no implementation, so there is nothing to be equal to: what follows is our reading of the paper
and of one comment of its author (each source map is compressed by Maxout before it is concatenated).

Shapes: N images, C channels, H W of the level at hand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.asff import conv_norm_act
from necks.bounds import check_count
from necks.contract import Neck
from necks.resample import resample
from necks.sizes import size_of

MAX_MAXOUT, MAX_KERNEL = 64, 31
"""Largest `maxout` and `fuse_kernel`; the paper's are 2 and 3."""


class ExactFusionNeck(Neck):
    """Exact Fusion Model: fuses each level with its neighbours only, by concatenation and a convolution.

    Every backbone map is widened to `maxout` x `out_channels` by a 1x1 convolution and compressed by Maxout. Levels
    beyond the backbone's are pooled from the last compressed map.

    Args:
        maxout: number of channels whose maximum is one compressed channel.
        fuse_kernel: kernel of the convolution after the concatenation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_levels: Sequence[int] = (3, 4, 5),
        out_channels: int = 256,
        out_levels: Sequence[int] = (3, 4, 5, 6, 7),
        maxout: int = 2,
        fuse_kernel: int = 3,
    ) -> None:
        super().__init__(in_channels, in_levels, out_channels, out_levels)
        check_count("maxout", maxout, MAX_MAXOUT)
        check_count("fuse_kernel", fuse_kernel, MAX_KERNEL)
        if fuse_kernel % 2 == 0:
            raise ValueError(f"fuse_kernel must be odd, got {fuse_kernel}")
        self.maxout = maxout
        self.fuse_kernel = fuse_kernel
        self.widen = nn.ModuleList(conv_norm_act(channels, maxout * out_channels, 1) for channels in in_channels)
        self.fusions = nn.ModuleList(
            conv_norm_act(len(_neighbours(index, len(self.out_levels))) * out_channels, out_channels, fuse_kernel)
            for index in range(len(self.out_levels))
        )

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        taken = self.taken(features)
        maps = [maxout(widen(x), self.maxout) for widen, x in zip(self.widen, taken, strict=True)]
        while len(maps) < len(self.out_levels):
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        return self.named([fusion(self._around(maps, index)) for index, fusion in enumerate(self.fusions)])

    def _around(self, maps: Sequence[Tensor], index: int) -> Tensor:
        size = size_of(maps[index])
        around = _neighbours(index, len(maps))
        return torch.cat([resample(maps[other], size, shift=index - other) for other in around], dim=1)


def maxout(x: Tensor, pieces: int) -> Tensor:
    """(N, pieces * C, H, W) -> (N, C, H, W): channel j is the maximum of channels j, j + C, ... (as Darknet groups)."""
    return x.unflatten(1, (pieces, -1)).amax(dim=1)


def _neighbours(index: int, count: int) -> range:
    return range(max(0, index - 1), min(count, index + 2))

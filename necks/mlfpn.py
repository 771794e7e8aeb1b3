"""Multi-Level Feature Pyramid Network (M2Det, arXiv 1811.04533): a chain of U-shaped modules, each a whole pyramid.

Shapes: N images, C channels, H W of the level at hand; W1 is the width of one module, `out_channels // tums`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.bounds import check_count
from necks.contract import Neck
from search_space import MAX_REPEATS

NORM_MOMENTUM = 0.01
SFAM_REDUCTION = 16

ItemT = TypeVar("ItemT")


class MlfpnNeck(Neck):
    """MLFPN: a chain of `tums` Thinned U-shape Modules (TUMs), whose maps of each level are concatenated.

    The backbone's maps are concatenated into one base at the finest level (FFMv1). Each TUM halves its input level by
    level and upsamples it again. Its input is the base, compressed by a `leach` convolution, together with the finest
    map of the TUM before it (FFMv2). SFAM then gates the concatenated channels of each level, and a BatchNorm follows
    at the finest level.

    Each coarser level has half the size of the finer one, rounded up. If the backbone's map has another size, because
    the backbone rounds down, the encoded map is max-pooled to that size.

    With inputs of (512, 1024) channels at levels (3, 4), `out_channels` 2048, outputs 3..8, `shared` and `valid_top`
    this is the released M2Det on VGG-16 (whose configurations do not use SFAM). Widths shrink with `out_channels`.
    Training differs in one detail: in the released code a shared leach runs once per TUM, so its running statistics
    are updated `tums` times a step.

    Args:
        in_channels, in_levels: channels and levels of at least one map; the others are resampled to the finest.
        out_channels: channels of each output map, a multiple of `2 * tums`.
        out_levels: two levels or more, without gaps.
        tums: number of modules in the chain; 8 in the paper.
        sfam: True to gate the channels of each level.
        shared: True for one leach for all TUMs and one pair of SFAM layers for all levels, as in the released code.
        valid_top: True to compute the coarsest level by a 3x3 convolution without stride or padding, as in the released
            code, instead of by halving. The next finer level then needs at least three pixels per side.

    Raises:
        ValueError: at construction for levels or channels that do not fit; in `forward` for maps that do not.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_levels: Sequence[int] = (3, 4, 5),
        out_channels: int = 256,
        out_levels: Sequence[int] = (3, 4, 5, 6, 7),
        *,
        tums: int = 8,
        sfam: bool = True,
        shared: bool = False,
        valid_top: bool = False,
    ) -> None:
        super().__init__(in_channels, in_levels, out_channels, out_levels)
        _check(self.out_levels, out_channels, tums)
        self.shared = shared
        self.valid_top = valid_top
        width, scales = out_channels // tums, len(self.out_levels)
        leached = width // 2
        self.reduce = conv_norm_relu(in_channels[0], width, 3)
        self.deepen = nn.ModuleList(conv_norm_relu(channels, 2 * width, 1) for channels in in_channels[1:])
        base = width * (2 * len(in_channels) - 1)
        self.leach = nn.ModuleList(conv_norm_relu(base, leached, 1) for _ in range(1 if shared else tums))
        self.tums = nn.ModuleList(
            ThinnedUnet(leached + width if index else leached, width, scales, valid_top) for index in range(tums)
        )
        gates = (1 if shared else scales) if sfam else 0
        self.sfam = nn.ModuleList(ChannelGate(out_channels) for _ in range(gates))
        self.norm = nn.BatchNorm2d(out_channels)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "tums": len(self.tums), "sfam": len(self.sfam) > 0}

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        maps = [torch.cat(level, dim=1) for level in zip(*self._chain(self.taken(features)), strict=True)]
        if self.sfam:
            maps = [gate(x) for gate, x in zip(_one_each(self.sfam, len(maps)), maps, strict=True)]
        return self.named([self.norm(maps[0]), *maps[1:]])

    def _chain(self, maps: Sequence[Tensor]) -> list[list[Tensor]]:
        base, sizes = self._base(maps), [x.shape[-2:] for x in maps[1:]]
        pyramids: list[list[Tensor]] = []
        leached = _one_each([leach(base) for leach in self.leach], len(self.tums))
        for tum, x in zip(self.tums, leached, strict=True):
            pyramids.append(tum(torch.cat([x, pyramids[-1][0]], dim=1) if pyramids else x, sizes))
        return pyramids

    def _base(self, maps: Sequence[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        deep = [F.interpolate(deepen(x), size, mode="nearest") for deepen, x in zip(self.deepen, maps[1:], strict=True)]
        return torch.cat([self.reduce(maps[0]), *deep], dim=1)


class ThinnedUnet(nn.Module):
    """TUM: (N, `in_channels`, H, W) -> `scales` maps of `width` channels, fine to coarse, the finest of size (H, W).

    Down by 3x3 convolutions of stride 2, to the `sizes` given for the levels below the finest; up by nearest, added to
    a 3x3 lateral of the map met. Every map but the coarsest leaves through a 1x1 convolution, while the way up goes on
    without it.
    """

    def __init__(self, in_channels: int, width: int, scales: int, valid_top: bool) -> None:
        super().__init__()
        widths = [in_channels, *[width] * (scales - 2)]
        self.valid_top = valid_top
        self.encoder = nn.ModuleList(conv_norm_relu(channels, width, 3, stride=2) for channels in widths)
        if valid_top:
            self.encoder[-1] = conv_norm_relu(widths[-1], width, 3, padding=0)
        self.top = conv_norm_relu(width, width, 1)
        self.lateral = nn.ModuleList(conv_norm_relu(channels, width, 3) for channels in widths)
        self.smooth = nn.ModuleList(conv_norm_relu(width, width, 1) for _ in widths)

    def forward(self, x: Tensor, sizes: Sequence[torch.Size] = ()) -> list[Tensor]:
        encoded = self._encode(x, sizes)
        up = self.top(encoded.pop())
        smoothed = [up]
        for index in reversed(range(len(encoded))):
            up = self.lateral[index](encoded[index]) + F.interpolate(up, encoded[index].shape[-2:], mode="nearest")
            smoothed.insert(0, self.smooth[index](up))
        return smoothed

    def _encode(self, x: Tensor, sizes: Sequence[torch.Size]) -> list[Tensor]:
        encoded = [x]
        for conv, size in zip_longest(self.encoder, sizes):
            if self.valid_top and conv is self.encoder[-1] and min(x.shape[-2:]) < 3:
                raise ValueError(
                    "valid_top needs at least 3 pixels per side at the level above the coarsest, got "
                    f"{tuple(x.shape[-2:])}; take larger images, fewer levels or valid_top=False"
                )
            x = conv(x)
            x = x if size in (None, x.shape[-2:]) else F.adaptive_max_pool2d(x, size)
            encoded.append(x)
        return encoded


class ChannelGate(nn.Module):
    """SFAM at one level: each channel times a sigmoid of all channels' means; (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // SFAM_REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.excite(self.squeeze(means).relu()).sigmoid()


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int | None = None
) -> nn.Sequential:
    """conv without bias -> BatchNorm -> ReLU, initialised as M2Det's (Kaiming over the outputs)."""
    padding = kernel_size // 2 if padding is None else padding
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels, momentum=NORM_MOMENTUM), nn.ReLU(inplace=True))


def _one_each(items: Iterable[ItemT], count: int) -> list[ItemT]:
    """`count` items, be they given or one shared by all."""
    given = list(items)
    return given * (count // len(given))


def _check(out_levels: Sequence[int], out_channels: int, tums: int) -> None:
    if len(out_levels) < 2 or tuple(out_levels) != tuple(range(out_levels[0], out_levels[0] + len(out_levels))):
        raise ValueError(f"a TUM halves level by level: out_levels must be two or more, without gaps, got {out_levels}")
    check_count("tums", tums, MAX_REPEATS)
    if out_channels % (2 * tums):
        raise ValueError(
            f"out_channels must be a multiple of 2 * tums (each TUM gives out_channels // tums, half of which is "
            f"leached), got {out_channels} for tums={tums}"
        )

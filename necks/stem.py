"""From backbone features to the pyramid's input nodes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from necks.recipe import Recipe, conv, norm


class Stem(nn.Module):
    """1x1 conv + norm on each backbone level, then coarser levels by 2x2 max-pooling of the coarsest.

    As in TensorFlow's NAS-FPN: no activation, and no conv at all where the channels already match (unless the
    recipe asks for it). At odd sizes the pool covers the border, so a side of s becomes ceil(s / 2).
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_extra: int, recipe: Recipe) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(_lateral(channels, out_channels, recipe) for channels in in_channels)
        self.num_extra = num_extra

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        maps = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for _ in range(self.num_extra):
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        return maps


def _lateral(in_channels: int, out_channels: int, recipe: Recipe) -> nn.Module:
    if in_channels == out_channels and not recipe.lateral_always:
        return nn.Identity()
    return nn.Sequential(conv(recipe, in_channels, out_channels, 1), norm(recipe, out_channels))

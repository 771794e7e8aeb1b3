"""From backbone features to the pyramid's input nodes, and from its outputs to levels beyond them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from necks.blocks import Chain, lateral, norm
from necks.recipe import Recipe
from necks.resample import halved, laid_out, resample
from necks.sizes import Size, size_of


class Stem(nn.Module):
    """A lateral on each backbone level (no activation), then coarser levels as `recipe.extra_inputs` says.

    Attributes:
        channels: of every map given, one per input node.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_extra: int, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.out_channels = out_channels
        on_edges = recipe.laterals == "edges"
        self.laterals = nn.ModuleList(
            nn.Identity() if on_edges else self._lateral(width, out_channels) for width in in_channels
        )
        self.extras = nn.ModuleList(self._extra(index, in_channels[-1], out_channels) for index in range(num_extra))
        pooled_raw = on_edges and recipe.extra_inputs == "max_pool"
        self.channels = (
            *(in_channels if on_edges else (out_channels,) * len(in_channels)),
            *((in_channels[-1] if pooled_raw else out_channels,) * num_extra),
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        maps = [module(x) for module, x in zip(self.laterals, features, strict=True)]
        maps += self._extra_maps(features[-1], maps[-1])
        return [self._laid_out(x) for x in maps]

    def _laid_out(self, x: Tensor) -> Tensor:
        """Maps that edges will bring to the neck's width are laid out there, where they are smaller."""
        return laid_out(x, separable=self.recipe.separable) if x.shape[1] == self.out_channels else x

    def _lateral(self, in_channels: int, out_channels: int) -> nn.Module:
        if in_channels == out_channels and not self.recipe.lateral_always:
            return nn.Identity()
        return lateral(self.recipe, in_channels, out_channels)

    def _extra(self, index: int, in_channels: int, out_channels: int) -> nn.Module:
        kind = self.recipe.extra_inputs
        if kind == "project_pool":
            raw = index == 0 and self.recipe.laterals == "edges"
            return lateral(self.recipe, in_channels if raw else out_channels, out_channels)
        if kind == "pool_project" or (kind == "lateral_pool" and index == 0):
            return self._lateral(in_channels, out_channels)
        return nn.Identity()

    def _extra_maps(self, feature: Tensor, last: Tensor) -> list[Tensor]:
        extra: list[Tensor] = []
        raw, down = feature, self.recipe.down
        for index, module in enumerate(self.extras):
            previous = extra[-1] if extra else last
            if self.recipe.extra_inputs == "pool_project":
                raw = _pool(raw, "max_pool")
                extra.append(module(raw))
            elif self.recipe.extra_inputs == "lateral_pool":
                extra.append(_pool(module(feature if index == 0 else previous), down))
            else:
                extra.append(_pool(module(previous), down if down == "max_pool_padded" else "max_pool"))
        return extra


class ExtraOutputs(nn.Module):
    """Levels beyond the genotype's, made from its last output or from the last backbone map.

    After torchvision's LastLevelMaxPool and LastLevelP6P7 and mmdetection's `add_extra_convs`.
    """

    def __init__(self, in_channels: int, channels: int, count: int, recipe: Recipe) -> None:
        super().__init__()
        self.kind = recipe.extra_outputs
        self.activation = recipe.extra_activation
        self.count = count
        first = in_channels if self.kind == "p6p7_c5" else channels
        widths = [] if self.kind == "subsample" else [first, *[channels] * (count - 1)]
        self.convs = nn.ModuleList(_strided(recipe, width, channels) for width in widths)

    def forward(self, feature: Tensor, last: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        if self.kind == "subsample":
            while len(maps) < self.count:
                last = last[..., ::2, ::2]
                maps.append(last)
            return maps
        x = feature if self.kind == "p6p7_c5" else last
        for index, conv in enumerate(self.convs):
            x = conv(F.relu(x) if index and self.activation else x)
            maps.append(x)
        return maps


def _strided(recipe: Recipe, in_channels: int, channels: int) -> nn.Module:
    conv = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=not recipe.extra_norm)
    after = norm(recipe, channels) if recipe.extra_norm else nn.Identity()
    return Chain(OrderedDict(conv=conv, norm=after))


def _pool(x: Tensor, down: str) -> Tensor:
    """One level coarser; `max_pool_padded` drops the odd border here, as mmdetection's NASFPN does."""
    size = size_of(x)
    floored: Size = (max(1, size[0] // 2), max(1, size[1] // 2))
    if down == "max_pool_padded":
        return F.max_pool2d(x, 2) if min(size) > 1 else F.adaptive_max_pool2d(x, floored)
    return resample(x, halved(size), shift=1, down="max_pool" if down == "conv" else down)

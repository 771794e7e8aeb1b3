"""From backbone features to the pyramid's input nodes, and from its outputs to levels beyond them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from necks.blocks import lateral, norm
from necks.lowering import Lowering
from necks.program import Program
from necks.pyramid import layout
from necks.recipe import Recipe
from necks.straight import Straight


class Stem(Straight):
    """A lateral on each backbone level (no activation), then coarser levels as `recipe.extra_inputs` says.

    Args:
        in_levels: of the backbone's maps.
        num_extra: levels to make beyond them.

    Attributes:
        channels: of every map given, one per input node.
    """

    def __init__(
        self, in_channels: Sequence[int], in_levels: Sequence[int], out_channels: int, num_extra: int, recipe: Recipe
    ) -> None:
        super().__init__()
        self.recipe = recipe
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
        self.run_program(self._lowered(in_levels, out_channels))

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

    def _lowered(self, in_levels: Sequence[int], out_channels: int) -> Program:
        inputs = [f"c{level}" for level in in_levels]
        levels = [*in_levels, *range(in_levels[-1] + 1, in_levels[-1] + 1 + len(self.extras))]
        outputs = [f"p{level}" for level in levels]
        lowering = Lowering(inputs, outputs)
        maps = [self._projected(lowering, name, f"laterals.{index}") for index, name in enumerate(inputs)]
        self._lower_extras(lowering, inputs[-1], maps)
        return lowering.program(
            [
                lowering.function(layout(self.recipe), x, like=name) if width == out_channels else x
                for x, name, width in zip(maps, outputs, self.channels, strict=True)
            ]
        )

    def _lower_extras(self, lowering: Lowering, feature: str, maps: list[str]) -> None:
        kind, down = self.recipe.extra_inputs, self.recipe.down
        pool = down if kind == "lateral_pool" or down == "max_pool_padded" else "max_pool"
        for index in range(len(self.extras)):
            block = f"extras.{index}"
            if kind == "pool_project":
                feature = _halved(lowering, feature, "max_pool")
                maps.append(self._projected(lowering, feature, block))
            else:
                source = feature if kind == "lateral_pool" and index == 0 else maps[-1]
                maps.append(_halved(lowering, self._projected(lowering, source, block), pool))

    def _projected(self, lowering: Lowering, x: str, block: str) -> str:
        nothing = isinstance(self.get_submodule(block), nn.Identity)
        return x if nothing else lowering.step("block", x, block=block, like="x")


class ExtraOutputs(Straight):
    """Levels beyond the genotype's, made from its last output or from the last backbone map.

    After torchvision's LastLevelMaxPool and LastLevelP6P7 and mmdetection's `add_extra_convs`. Takes both maps.
    """

    def __init__(self, in_channels: int, in_level: int, channels: int, levels: Sequence[int], recipe: Recipe) -> None:
        super().__init__()
        kind = recipe.extra_outputs
        first = in_channels if kind == "p6p7_c5" else channels
        widths = [] if kind == "subsample" else [first, *[channels] * (len(levels) - 1)]
        self.convs = nn.ModuleList(_strided(recipe, width, channels) for width in widths)
        inputs, outputs = [f"c{in_level}", f"p{levels[0] - 1}"], [f"p{level}" for level in levels]
        lowering = Lowering(inputs, outputs)
        x = inputs[0] if kind == "p6p7_c5" else inputs[1]
        for index, name in enumerate(outputs):
            if kind == "subsample":
                x = lowering.step("subsample", x, like=name)
                continue
            if index and recipe.extra_activation:
                x = lowering.function("F.relu", x, like="x")
            x = lowering.step("block", x, block=f"convs.{index}", like=name)
        self.run_program(lowering.program(outputs))


def _strided(recipe: Recipe, in_channels: int, channels: int) -> nn.Module:
    conv = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=not recipe.extra_norm)
    after = norm(recipe, channels) if recipe.extra_norm else nn.Identity()
    return nn.Sequential(OrderedDict(conv=conv, norm=after))


def _halved(lowering: Lowering, x: str, down: str) -> str:
    """One level coarser; `max_pool_padded` drops the odd border here, as mmdetection's NASFPN does."""
    if down == "max_pool_padded":
        return lowering.function("halve", x, like="x")
    return lowering.step("halve", x, name="max_pool" if down == "conv" else down, stride=2, like="x")

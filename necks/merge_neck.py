"""The one module that runs any genotype with any recipe."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from necks.merge import Cell, Size
from necks.recipe import Recipe
from necks.stem import Stem
from search_space import Genotype


class Pyramid(nn.Module):
    """One pass over a genotype's cells; cells that no output depends on are not built."""

    def __init__(self, genotype: Genotype, channels: int, recipe: Recipe) -> None:
        super().__init__()
        first = len(genotype.levels)
        self.level_index = {level: index for index, level in enumerate(genotype.levels)}
        self.output_nodes = tuple(genotype.outputs.values())
        self.live = sorted(node for node in genotype.live_nodes if node >= first)
        self.cells = nn.ModuleList(
            Cell(genotype.cells[node - first], genotype.dangling[node - first], genotype.node_levels, channels, recipe)
            for node in self.live
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        sizes: list[Size] = [(x.shape[-2], x.shape[-1]) for x in maps]
        nodes = dict(enumerate(maps))
        for node, module in zip(self.live, self.cells, strict=True):
            assert isinstance(module, Cell)
            nodes[node] = module(nodes, sizes[self.level_index[module.cell.level]])
        return [nodes[node] for node in self.output_nodes]


class MergeNeck(nn.Module):
    """Backbone features in, pyramid out: `repeats` stacked copies of a genotype, each with its own weights.

    Input: an ordered mapping of maps (N, in_channels[i], H_i, W_i), fine to coarse, one per `in_levels`; the
    mapping is not changed. Output: an ordered dict `p3`, `p4`, ... of maps (N, out_channels, H_l, W_l), fine to
    coarse, one per level of the genotype. Any image size works: maps meet at the size that their level has.

    Args:
        genotype: the topology; its levels are the output levels.
        in_channels: channels of each backbone level, fine to coarse.
        in_levels: levels of the backbone maps; must be the finest levels of the genotype. The remaining, coarser
            ones are pooled from the last.

    Attributes:
        out_channels: channels of every output map, as torchvision's detectors expect of a backbone.
        out_levels: levels of the outputs, fine to coarse.

    Raises:
        ValueError: at construction for levels or channels that do not fit; in `forward` for maps that do not.
    """

    def __init__(
        self,
        genotype: Genotype,
        in_channels: Sequence[int],
        in_levels: Sequence[int] = (3, 4, 5),
        out_channels: int = 256,
        repeats: int = 1,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        _check_arguments(genotype, in_channels, in_levels, out_channels, repeats)
        self.genotype = genotype
        self.in_channels = tuple(in_channels)
        self.in_levels = tuple(in_levels)
        self.out_channels = out_channels
        self.out_levels = genotype.levels
        self.repeats = repeats
        self.recipe = recipe or Recipe()
        self.stem = Stem(in_channels, out_channels, len(genotype.levels) - len(self.in_levels), self.recipe)
        self.pyramids = nn.ModuleList(Pyramid(genotype, out_channels, self.recipe) for _ in range(repeats))
        self.apply(_initialise)

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        self._check_features(features)
        maps = self.stem(list(features.values()))
        for pyramid in self.pyramids:
            maps = pyramid(maps)
        return OrderedDict((f"p{level}", x) for level, x in zip(self.out_levels, maps, strict=True))

    def _check_features(self, features: Mapping[str, Tensor]) -> None:
        channels = tuple(x.shape[1] for x in features.values())
        if channels != self.in_channels:
            raise ValueError(
                f"this neck takes {len(self.in_channels)} maps with {self.in_channels} channels (levels "
                f"{self.in_levels}, fine to coarse), got {len(channels)} with {channels}: {list(features)}"
            )


def _check_arguments(
    genotype: Genotype, in_channels: Sequence[int], in_levels: Sequence[int], out_channels: int, repeats: int
) -> None:
    if len(in_channels) != len(in_levels) or not in_levels:
        raise ValueError(
            f"in_channels and in_levels name the same maps, fine to coarse; got {tuple(in_channels)} channels for "
            f"levels {tuple(in_levels)}"
        )
    if genotype.levels[: len(in_levels)] != tuple(in_levels):
        raise ValueError(
            f"in_levels must be the finest levels of the genotype {genotype.levels}, got {tuple(in_levels)}; "
            "take other maps from the backbone or a genotype over other levels"
        )
    extra = genotype.levels[len(in_levels) - 1 :]
    if extra != tuple(range(extra[0], extra[0] + len(extra))):
        raise ValueError(f"levels beyond the backbone's are pooled one by one and must be consecutive, got {extra}")
    if min(*in_channels, out_channels, repeats) < 1:
        raise ValueError(
            f"channels and repeats must be positive, got in_channels={tuple(in_channels)}, "
            f"out_channels={out_channels}, repeats={repeats}"
        )


def _initialise(module: nn.Module) -> None:
    """Variance scaling of 2 over fan-out, zero bias: TensorFlow's NAS-FPN."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

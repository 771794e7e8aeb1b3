"""The one module that runs any genotype with any recipe."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from necks.contract import Neck
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


class MergeNeck(Neck):
    """Any genotype with any recipe: `repeats` stacked copies, each with its own weights. See `Neck` for its maps.

    Args:
        genotype: the topology; its levels are the output levels.
        in_channels: channels of each backbone level, fine to coarse.
        in_levels: levels of the backbone maps; must be the finest levels of the genotype. The remaining, coarser
            ones are pooled from the last.

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
        super().__init__(in_channels, in_levels, out_channels, genotype.levels)
        if repeats < 1:
            raise ValueError(f"repeats must be positive, got {repeats}")
        self.genotype = genotype
        self.repeats = repeats
        self.recipe = recipe or Recipe()
        self.stem = Stem(in_channels, out_channels, len(genotype.levels) - len(self.in_levels), self.recipe)
        self.pyramids = nn.ModuleList(Pyramid(genotype, out_channels, self.recipe) for _ in range(repeats))
        self.apply(_initialise)

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        self.check_features(features)
        maps = self.stem(list(features.values()))
        for pyramid in self.pyramids:
            maps = pyramid(maps)
        return self.named(maps)


def _initialise(module: nn.Module) -> None:
    """Variance scaling of 2 over fan-out, zero bias: TensorFlow's NAS-FPN."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""The one module that runs any genotype with any recipe."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn

from necks.blocks import initialise
from necks.bounds import MAX_STACKED_INPUTS, check_count, check_params
from necks.checkpointing import recomputed
from necks.contract import Neck
from necks.edge import Shared
from necks.merge import Cell
from necks.recipe import Recipe
from necks.sizes import size_of
from necks.stem import ExtraOutputs, Stem
from search_space import MAX_REPEATS, Genotype


class Pyramid(nn.Module):
    """One pass over a genotype's cells; cells that no output depends on are not built.

    Args:
        in_channels: of every input node.
        channels: of every cell's result.
    """

    def __init__(self, genotype: Genotype, in_channels: Sequence[int], channels: int, recipe: Recipe) -> None:
        super().__init__()
        first = len(genotype.levels)
        node_channels = (*in_channels, *(channels for _ in genotype.cells))
        self.level_index = {level: index for index, level in enumerate(genotype.levels)}
        self.output_nodes = tuple(genotype.outputs.values())
        self.out_channels = tuple(node_channels[node] for node in self.output_nodes)
        self.live = sorted(node for node in genotype.live_nodes if node >= first)
        self.cells = nn.ModuleList(
            Cell(
                genotype.cells[node - first],
                genotype.dangling[node - first],
                genotype.node_levels,
                node_channels,
                channels,
                recipe,
            )
            for node in self.live
        )
        self._mark_shared_edges()
        self.finished = self._finished_nodes()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        sizes = [size_of(x) for x in maps]
        nodes, shared = dict(enumerate(maps)), Shared()
        for node, cell, finished in zip(self.live, self._cells(), self.finished, strict=True):
            nodes[node] = cell(nodes, sizes[self.level_index[cell.cell.level]], shared)
            for each in finished:
                del nodes[each]
        return [nodes[node] for node in self.output_nodes]

    def _cells(self) -> Iterable[Cell]:
        return cast(Iterable[Cell], self.cells)

    def _mark_shared_edges(self) -> None:
        uses = Counter((node, cell.cell.level) for cell in self._cells() for node in cell.operands)
        for cell in self._cells():
            for edge, node in cell.edges_and_nodes():
                edge.shared = edge.plain and uses[node, cell.cell.level] > 1

    def _finished_nodes(self) -> list[list[int]]:
        """Per cell, the nodes that no later one takes, so that their memory is free for the next maps."""
        last = {node: index for index, cell in enumerate(self._cells()) for node in cell.operands}
        return [
            [node for node, at in last.items() if at == index and node not in self.output_nodes]
            for index in range(len(self.live))
        ]


class MergeNeck(Neck):
    """Any genotype with any recipe: `repeats` stacked copies, each with its own weights. See `Neck` for its maps.

    Args:
        genotype: the topology; its levels are the first output levels.
        in_channels: channels of each backbone level, fine to coarse.
        in_levels: levels of the backbone maps; must be the finest levels of the genotype. Its remaining, coarser ones
            are made from the last, as `recipe.extra_inputs` says.
        out_levels: levels of the outputs; those beyond the genotype's are made as `recipe.extra_outputs` says.
            None: the genotype's.

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
        out_levels: Sequence[int] | None = None,
    ) -> None:
        out_levels = tuple(genotype.levels if out_levels is None else out_levels)
        super().__init__(in_channels, in_levels, out_channels, out_levels)
        check_count("repeats", repeats, MAX_REPEATS)
        if out_levels[: len(genotype.levels)] != genotype.levels:
            raise ValueError(f"out_levels must begin with the genotype's levels {genotype.levels}, got {out_levels}")
        if len(self.in_levels) > len(genotype.levels):
            raise ValueError(f"in_levels {self.in_levels} are more than the genotype's levels {genotype.levels}")
        _check_size(genotype, out_channels, repeats, recipe or Recipe())
        self.genotype = genotype
        self.repeats = repeats
        self.checkpointing = False
        self.recipe = recipe or Recipe()
        self.stem = Stem(in_channels, out_channels, len(genotype.levels) - len(self.in_levels), self.recipe)
        widths = [self.stem.channels, *[(out_channels,) * len(genotype.levels)] * (repeats - 1)]
        pyramids = [Pyramid(genotype, width, out_channels, self.recipe) for width in widths]
        if set(pyramids[0].out_channels) != {out_channels}:
            raise ValueError("laterals='edges' needs a cell at every level, so that every output has out_channels")
        self.pyramids = nn.ModuleList(pyramids)
        num_extra = len(out_levels) - len(genotype.levels)
        self.extra = ExtraOutputs(in_channels[-1], out_channels, num_extra, self.recipe) if num_extra else None
        self.apply(partial(initialise, self.recipe))

    def arguments(self) -> dict[str, Any]:
        return {
            "genotype": self.genotype,
            "in_channels": self.in_channels,
            "in_levels": self.in_levels,
            "out_channels": self.out_channels,
            "repeats": self.repeats,
            "recipe": self.recipe,
            "out_levels": self.out_levels,
        }

    def forward(self, features: Mapping[str, Tensor], until: int | None = None) -> OrderedDict[str, Tensor]:
        """
        Args:
            until: repeats to compute; default all.

        Raises:
            ValueError: for maps that do not fit, or `until` out of 1..repeats.
        """
        return self._with_extra(features, self._stacked(features, until)[-1])

    def every_repeat(self, features: Mapping[str, Tensor], until: int | None = None) -> list[OrderedDict[str, Tensor]]:
        """The pyramid after each repeat, for heads on all of them; arguments and errors as of `forward`."""
        return [self._with_extra(features, maps) for maps in self._stacked(features, until)]

    def _stacked(self, features: Mapping[str, Tensor], until: int | None) -> list[list[Tensor]]:
        """Maps of the genotype's levels after each of the first repeats."""
        until = self.repeats if until is None else until
        if not 1 <= until <= self.repeats:
            raise ValueError(f"until must be in 1..{self.repeats}, got {until}")
        self.check_features(features)
        maps = self.stem(list(features.values()))
        stacked: list[list[Tensor]] = []
        for pyramid in islice(self.pyramids, until):
            maps = recomputed(pyramid, maps) if self.checkpointing and torch.is_grad_enabled() else pyramid(maps)
            stacked.append(maps)
        return stacked

    def _with_extra(self, features: Mapping[str, Tensor], maps: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
        if self.extra is None:
            return self.named(maps)
        return self.named([*maps, *self.extra(list(features.values())[-1], maps[-1])])


def _check_size(genotype: Genotype, channels: int, repeats: int, recipe: Recipe) -> None:
    """
    Raises:
        ValueError: for more inputs or parameters than `necks.bounds` allows.
    """
    first = len(genotype.levels)
    live = [node - first for node in genotype.live_nodes if node >= first]
    inputs = repeats * sum(len(genotype.cells[index].inputs) + len(genotype.dangling[index]) for index in live)
    if inputs > MAX_STACKED_INPUTS:
        raise ValueError(
            f"{repeats} repeats of this genotype's cells have {inputs:,} inputs, allowed are {MAX_STACKED_INPUTS:,}; "
            "take fewer repeats"
        )
    convs = repeats * sum(genotype.cells[index].transform != "none" for index in live)
    check_params(convs * channels * (channels + 9 if recipe.separable else 9 * channels))

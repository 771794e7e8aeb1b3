"""Neck that computes any genotype with any recipe."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from necks.blocks import initialise
from necks.bounds import MAX_STACKED_INPUTS, check_count, check_params
from necks.checkpointing import recomputed
from necks.contract import Neck
from necks.pyramid import Pyramid
from necks.recipe import Recipe
from necks.stem import ExtraOutputs, Stem
from search_space import MAX_REPEATS, Genotype


class MergeNeck(Neck):
    """Neck of any genotype with any recipe: `repeats` stacked copies, each with its own weights.

    `Neck` describes its inputs and outputs.

    Args:
        genotype: topology; its levels are the first output levels.
        in_channels: channels of each backbone map, fine to coarse.
        in_levels: levels of the backbone maps, which must be the finest levels of the genotype. The coarser levels of
            the genotype are made from the last backbone map, as `recipe.extra_inputs` says.
        out_levels: levels of the outputs. Levels beyond the genotype's are made as `recipe.extra_outputs` says. None:
            the genotype's levels.

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
        num_extra = len(genotype.levels) - len(self.in_levels)
        self.stem = Stem(in_channels, self.in_levels, out_channels, num_extra, self.recipe)
        widths = [self.stem.channels, *[(out_channels,) * len(genotype.levels)] * (repeats - 1)]
        pyramids = [Pyramid(genotype, width, out_channels, self.recipe) for width in widths]
        if set(pyramids[0].out_channels) != {out_channels}:
            raise ValueError("laterals='edges' needs a cell at every level, so that every output has out_channels")
        self.pyramids = nn.ModuleList(pyramids)
        beyond = out_levels[len(genotype.levels) :]
        self.extra = (
            ExtraOutputs(in_channels[-1], self.in_levels[-1], out_channels, beyond, self.recipe) if beyond else None
        )
        self.apply(partial(initialise, self.recipe))

    def forward(self, features: Mapping[str, Tensor], until: int | None = None) -> OrderedDict[str, Tensor]:
        """
        Args:
            until: repeats to compute; default all.

        Raises:
            ValueError: for maps that do not fit, or `until` out of 1..repeats.
        """
        for maps in self._stacked(features, until):
            last = maps
        return self._with_extra(features, last)

    def every_repeat(self, features: Mapping[str, Tensor], until: int | None = None) -> list[OrderedDict[str, Tensor]]:
        """Pyramids after each repeat, for heads on all repeats; arguments and errors as in `forward`."""
        return [self._with_extra(features, maps) for maps in list(self._stacked(features, until))]

    def _stacked(self, features: Mapping[str, Tensor], until: int | None) -> Iterator[list[Tensor]]:
        """Maps of the genotype's levels after each of the first repeats."""
        until = self.repeats if until is None else until
        if not 1 <= until <= self.repeats:
            raise ValueError(f"until must be in 1..{self.repeats}, got {until}")
        self.check_features(features)
        maps = self.stem(list(features.values()))
        for pyramid in islice(self.pyramids, until):
            maps = recomputed(pyramid, maps) if self.checkpointing and torch.is_grad_enabled() else pyramid(maps)
            yield maps

    def _with_extra(self, features: Mapping[str, Tensor], maps: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
        if self.extra is None:
            return self.named(maps)
        return self.named([*maps, *self.extra([list(features.values())[-1], maps[-1]])])


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

"""The neck of a candidate."""

from __future__ import annotations

from nas.proxy.config import NeckConfig
from necks import MergeNeck, Recipe
from search_space import Genotype


def candidate_neck(
    genotype: Genotype, in_channels: tuple[int, ...], in_levels: tuple[int, ...], config: NeckConfig
) -> MergeNeck:
    """A candidate as the configuration builds all of them."""
    recipe = Recipe(activation=config.activation, norm_momentum=config.norm_momentum, separable=config.separable)
    return MergeNeck(genotype, in_channels, in_levels, config.channels, config.repeats, recipe)

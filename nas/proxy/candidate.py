"""Necks as a proxy task builds them."""

from __future__ import annotations

from torch import nn

from nas.proxy.config import NeckConfig
from necks import MergeNeck, Neck, Recipe, StackingError, build_neck
from search_space import Genotype


def candidate_neck(
    genotype: Genotype, in_channels: tuple[int, ...], in_levels: tuple[int, ...], config: NeckConfig
) -> MergeNeck:
    """A candidate as the configuration builds all of them."""
    recipe = Recipe(activation=config.activation, norm_momentum=config.norm_momentum, separable=config.separable)
    return MergeNeck(genotype, in_channels, in_levels, config.channels, config.repeats, recipe)


def proxy_neck(
    topology: Genotype | str, in_channels: tuple[int, ...], in_levels: tuple[int, ...], config: NeckConfig
) -> Neck:
    """A candidate, or a neck of `necks.NECKS` by its name.

    The latter has its own conventions, but the levels, width and momentum of the configuration. One that cannot be
    stacked stands alone, whatever `config.repeats` is.

    Raises:
        ValueError: for a name that is unknown, or that has no neck of these levels and channels.
    """
    if isinstance(topology, Genotype):
        return candidate_neck(topology, in_channels, in_levels, config)
    neck = _named_neck(topology, in_channels, in_levels, config)
    for module in neck.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = config.norm_momentum
    return neck


def _named_neck(name: str, in_channels: tuple[int, ...], in_levels: tuple[int, ...], config: NeckConfig) -> Neck:
    def build(repeats: int) -> Neck:
        return build_neck(
            name,
            in_channels=in_channels,
            in_levels=in_levels,
            out_levels=config.levels,
            out_channels=config.channels,
            repeats=repeats,
        )

    try:
        return build(config.repeats)
    except StackingError:
        return build(1)

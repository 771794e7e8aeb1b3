"""Necks by name."""

from __future__ import annotations

from collections.abc import Sequence

from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import DEFAULT_LEVELS, Genotype, known_genotype


def build_neck(
    name_or_genotype: str | Genotype,
    *,
    in_channels: Sequence[int],
    in_levels: Sequence[int] = (3, 4, 5),
    out_levels: Sequence[int] | None = None,
    out_channels: int = 256,
    repeats: int = 1,
    recipe: Recipe | None = None,
) -> MergeNeck:
    """A neck from a known topology's name or from a genotype.

    Args:
        name_or_genotype: one of `search_space.KNOWN`, or a genotype.
        in_channels: channels of each backbone map, fine to coarse.
        in_levels: level of each backbone map.
        out_levels: levels of the outputs; default: P3..P7 for a name, its own for a genotype.

    Raises:
        ValueError: for an unknown name, or levels and channels that do not fit.
    """
    if isinstance(name_or_genotype, Genotype):
        genotype = name_or_genotype
    else:
        genotype = known_genotype(name_or_genotype, out_levels or DEFAULT_LEVELS)
    if out_levels is not None and tuple(out_levels) != genotype.levels:
        raise ValueError(f"out_levels are the genotype's levels {genotype.levels}, got {tuple(out_levels)}")
    return MergeNeck(genotype, in_channels, in_levels, out_channels, repeats, recipe)

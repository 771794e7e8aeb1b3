"""Necks by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from necks.asff import AsffNeck
from necks.balanced import BalancedNeck
from necks.contract import Neck
from necks.efm import ExactFusionNeck
from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import DEFAULT_LEVELS, KNOWN, Genotype, known_genotype

ON_FPN: dict[str, Callable[[Neck], Neck]] = {"balanced_fpn": BalancedNeck, "asff": AsffNeck}
"""Modules that refine the pyramid of another neck; by name, that of an FPN."""

MODULE_NECKS = (*ON_FPN, "efm")
"""Names of the necks that are no merge graphs."""


def build_neck(
    name_or_genotype: str | Genotype,
    *,
    in_channels: Sequence[int],
    in_levels: Sequence[int] = (3, 4, 5),
    out_levels: Sequence[int] | None = None,
    out_channels: int = 256,
    repeats: int = 1,
    recipe: Recipe | None = None,
) -> Neck:
    """A neck from a name or a genotype.

    Args:
        name_or_genotype: one of `search_space.KNOWN` or `MODULE_NECKS`, or a genotype.
        in_channels: channels of each backbone map, fine to coarse.
        in_levels: level of each backbone map.
        out_levels: levels of the outputs; default: P3..P7 for a name, its own for a genotype.
        repeats: stacked copies of the merge graph; of the FPN below, for those of `ON_FPN`; `efm` has none.

    Raises:
        ValueError: for an unknown name, or levels and channels that do not fit.
    """
    if name_or_genotype == "efm":
        if repeats != 1 or recipe is not None:
            raise ValueError("efm has neither repeats nor a recipe; leave them out")
        return ExactFusionNeck(in_channels, in_levels, out_channels, out_levels or DEFAULT_LEVELS)
    if isinstance(name_or_genotype, str) and name_or_genotype in ON_FPN:
        fpn = known_genotype("fpn", out_levels or DEFAULT_LEVELS)
        return ON_FPN[name_or_genotype](MergeNeck(fpn, in_channels, in_levels, out_channels, repeats, recipe))
    if isinstance(name_or_genotype, Genotype):
        genotype = name_or_genotype
    elif name_or_genotype in KNOWN:
        genotype = known_genotype(name_or_genotype, out_levels or DEFAULT_LEVELS)
    else:
        raise ValueError(f"unknown neck {name_or_genotype!r}; known are {', '.join((*KNOWN, *MODULE_NECKS))}")
    if out_levels is not None and tuple(out_levels) != genotype.levels:
        raise ValueError(f"out_levels are the genotype's levels {genotype.levels}, got {tuple(out_levels)}")
    return MergeNeck(genotype, in_channels, in_levels, out_channels, repeats, recipe)

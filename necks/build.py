"""Necks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from necks.bounds import built
from necks.contract import Neck
from necks.modules import MODULE_NECKS
from necks.public import PUBLIC
from necks.recipe import Recipe
from necks.request import Request
from search_space import KNOWN, Genotype
from search_space.references import is_reference


def _known(request: Request) -> Neck:
    return request.known(request.name)


NECKS: dict[str, Callable[..., Neck]] = {**dict.fromkeys(KNOWN, _known), **MODULE_NECKS, **PUBLIC}
"""Every name that `build_neck` takes."""


def build_neck(
    name_or_genotype: str | Genotype,
    *,
    in_channels: Sequence[int],
    in_levels: Sequence[int] = (3, 4, 5),
    out_levels: Sequence[int] | None = None,
    out_channels: int | None = None,
    repeats: int = 1,
    recipe: Recipe | None = None,
    **options: Any,
) -> Neck:
    """Build a neck from a name or a genotype.

    Args:
        name_or_genotype: one of `NECKS`, a genotype, or a reference (`my_necks:MyNeck`) to a subclass of `necks.Neck`
            or a function that returns a neck. The class or function is called with `in_channels`, `in_levels`, and with
            `out_channels` and `out_levels` if they are given. `name@implementation` follows all conventions of that
            public implementation, so that `necks.reference.load_reference` can load its weights.
        in_channels: channels of each backbone map, fine to coarse.
        in_levels: level of each backbone map.
        out_levels: levels of the outputs. Default: P3..P7 for a name, the genotype's levels for a genotype, the
            implementation's levels for `name@implementation`.
        out_channels: channels of the outputs. Default: 256, or the width of the named implementation.
        repeats: number of stacked copies of the merge cells; for `balanced_fpn` and `asff`, of the FPN inside.
        recipe: recipe of the merge cells; not for `name@implementation`, which has its own.
        options: options of the named neck, such as `extra="p6p7_c5"` for `fpn@torchvision`. The error for an unknown
            option lists the known ones.

    Raises:
        ValueError: for an unknown name or option, levels and channels that do not fit, or more of anything than
            `necks.bounds` allows.
    """
    name = "a genotype" if isinstance(name_or_genotype, Genotype) else name_or_genotype
    request = Request(
        name,
        tuple(in_channels),
        tuple(in_levels),
        None if out_levels is None else tuple(out_levels),
        out_channels,
        repeats,
        recipe,
    )
    widths = (*request.in_channels, *(() if out_channels is None else (out_channels,)))
    if isinstance(name_or_genotype, Genotype):
        _check_options(name, Request.of_genotype, options)
        return built(lambda: request.of_genotype(name_or_genotype), widths)
    if is_reference(name):
        return built(lambda: request.own(options), widths)
    if name not in NECKS:
        raise ValueError(f"unknown neck {name!r}; known are {', '.join(NECKS)}")
    builder = NECKS[name]
    _check_options(name, builder, options)
    return built(lambda: builder(request, **options), widths)


def _check_options(name: str, builder: Callable[..., Neck], options: dict[str, Any]) -> None:
    parameters = inspect.signature(builder).parameters.values()
    allowed = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(allowed)):
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(allowed) or 'none'}")

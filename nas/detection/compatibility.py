"""Check before any training that backbone and neck fit each other and the levels that they state."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nas.detection.backbone import Backbone
from nas.detection.meta import meta_copy
from necks import MergeNeck, Neck

SIDE = 512
"""Side in pixels of the image whose map shapes are compared; no values are computed."""

_backbone_maps: weakref.WeakKeyDictionary[Backbone, OrderedDict[str, Tensor]] = weakref.WeakKeyDictionary()
"""Maps of the backbones that were checked: a search builds one detector per candidate around the same backbone."""


def check_compatibility(backbone: Backbone, neck: Neck) -> None:
    """Compare the shapes of all maps with their levels: anchors and RoI pooling take a map of level l to have stride
    2^l, and heads take all of them to be `neck.out_channels` wide.

    Levels that the backbone has must have the size ceil(512 / 2^l) exactly; coarser ones need only shrink.

    Raises:
        ValueError: if the neck does not take the backbone's maps, or for a map of another size or width, with its
            level, what was expected and what was found.
    """
    if neck.in_channels != backbone.channels or neck.in_levels != backbone.levels:
        raise ValueError(
            f"the neck takes levels {neck.in_levels} with {neck.in_channels} channels, the backbone gives levels "
            f"{backbone.levels} with {backbone.channels}"
        )
    with torch.no_grad():
        if backbone not in _backbone_maps:
            maps = meta_copy(backbone)(torch.empty(1, 3, SIDE, SIDE, device="meta"))
            _check_maps("backbone", maps, backbone.levels, backbone.channels, len(backbone.levels))
            _backbone_maps[backbone] = maps
        pyramid = _first_pyramid(meta_copy(neck), _backbone_maps[backbone])
    _check_maps("neck", pyramid, neck.out_levels, (neck.out_channels,) * len(neck.out_levels), len(neck.in_levels))


def _first_pyramid(neck: Neck, maps: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """The neck's maps; those after the first repeat where it has several, which all have the same shapes."""
    return neck(maps, until=1) if isinstance(neck, MergeNeck) else neck(maps)


def _check_maps(
    giver: str, maps: Mapping[str, Tensor], levels: Sequence[int], channels: Sequence[int], num_exact: int
) -> None:
    """Args: num_exact: how many of the maps, from the finest, must have the size of their level exactly."""
    if len(maps) != len(levels):
        raise ValueError(f"the {giver} states the levels {tuple(levels)} but gives {len(maps)} maps: {', '.join(maps)}")
    finer = SIDE + 1
    for index, (level, width, x) in enumerate(zip(levels, channels, maps.values(), strict=True)):
        found = tuple(x.shape[1:])
        side = -(-SIDE // 2**level)
        fits = found[1:] == (side, side) if index < num_exact else max(found[1:]) < max(finer, 2)
        if found[0] != width or not fits:
            expected = f"{side} x {side}" if index < num_exact else f"smaller than {finer} x {finer}"
            raise ValueError(
                f"the {giver}'s map of level {level} must be {expected} with {width} channels for an image of {SIDE} x "
                f"{SIDE} px, found {found[1]} x {found[2]} with {found[0]}; the levels must be named in the order of "
                "the maps, fine to coarse, and a detector's maps must all be equally wide"
            )
        finer = max(found[1:])

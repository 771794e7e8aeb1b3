"""Base class of all necks: the attributes and maps that detectors and other necks rely on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from inspect import signature
from itertools import pairwise
from typing import Any, Self

from torch import Tensor, nn

from necks.bounds import check_whole
from necks.fused import fused
from necks.resample import laid_out
from search_space import MAX_CHANNELS, MAX_LEVEL
from search_space.bounds import is_whole


class Neck(nn.Module):
    """Base class of necks: a module that turns the feature maps of a backbone into a pyramid.

    Input: an ordered mapping of maps (N, in_channels[i], H_i, W_i), fine to coarse, one per level of `in_levels`. It is
    not changed. Output: an ordered dict `p3`, `p4`, ... of maps (N, level_channels[i], H_l, W_l), fine to coarse, one
    per level of `out_levels`. Any image size works: maps are merged at the size of their level.

    Attributes:
        in_channels, in_levels: channels and level of each input map, fine to coarse.
        out_channels: channels of every output map, as torchvision's detectors expect; if `level_channels` differ, those
            of the finest map.
        level_channels: channels of each output map, fine to coarse; all equal to `out_channels` except for YOLOv3.
        out_levels: levels of the output maps, fine to coarse.
        fused: True for a copy that `fuse` returned.
    """

    fused = False

    def __init__(
        self,
        in_channels: Sequence[int],
        in_levels: Sequence[int],
        out_channels: int | Sequence[int],
        out_levels: Sequence[int],
    ) -> None:
        super().__init__()
        widths = tuple(out_channels) if isinstance(out_channels, Sequence) else (out_channels,) * len(out_levels)
        check_maps(in_channels, in_levels, widths, out_levels)
        self.in_channels = tuple(in_channels)
        self.in_levels = tuple(in_levels)
        self.out_channels = widths[0]
        self.level_channels = widths
        self.out_levels = tuple(out_levels)
        self._out_names = tuple(f"p{level}" for level in out_levels)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, from which `necks.exported` builds an equal neck.

        They are read from the attributes of the same names. Override this method if the attributes have other names.
        """
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def check_features(self, features: Mapping[str, Tensor]) -> None:
        """
        Raises:
            ValueError: for maps in other number or width than the neck was built for, or not from fine to coarse.
        """
        if not isinstance(features, Mapping):
            raise ValueError(f"a neck takes a mapping of maps, fine to coarse, got a {type(features).__name__}")
        channels = tuple([x.shape[1] for x in features.values()])
        if channels != self.in_channels:
            raise ValueError(
                f"this neck takes {len(self.in_channels)} maps with {self.in_channels} channels (levels "
                f"{self.in_levels}, fine to coarse), got {len(channels)} with {channels}: {list(features)}"
            )
        heights = [x.shape[-2] for x in features.values()]
        if any(finer < coarser for finer, coarser in pairwise(heights)):
            raise ValueError(f"maps must run from fine to coarse, got heights {heights}: {list(features)}")

    def taken(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """The maps, checked and in the memory layout of `laid_out`.

        Raises:
            ValueError: as `check_features`.
        """
        self.check_features(features)
        return [laid_out(x) for x in features.values()]

    def fuse(self) -> Self:
        """Copy for inference, in evaluation mode, with specialised programs; see `necks.fused`.

        Its outputs equal those of this neck in evaluation mode up to rounding. It cannot be trained or saved.
        """
        made = fused(self)
        made.fused = True
        return made

    def named(self, maps: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
        """Output dict of maps that are given in the order of `out_levels`."""
        return OrderedDict(zip(self._out_names, maps, strict=True))


class PassThrough(Neck):
    """Neck that returns its inputs, so that a module which follows another neck can be used alone."""

    def __init__(self, in_channels: Sequence[int], in_levels: Sequence[int]) -> None:
        super().__init__(in_channels, in_levels, in_channels, in_levels)

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        self.check_features(features)
        return self.named(list(features.values()))


def check_maps(
    in_channels: Sequence[int], in_levels: Sequence[int], out_channels: Sequence[int], out_levels: Sequence[int]
) -> None:
    """
    Raises:
        ValueError: if channels and levels do not name the same maps, if the inputs are not the finest of the output
            levels, or if the levels beyond them have gaps; for levels beyond `MAX_LEVEL`, channels beyond
            `MAX_CHANNELS`, or what is no integer.
    """
    channels = (*in_channels, *out_channels)
    check_whole("levels", (*in_levels, *out_levels), 0, MAX_LEVEL)
    check_whole("channels", [width for width in channels if not is_whole(width) or width > 0], 1, MAX_CHANNELS)
    if len(in_channels) != len(in_levels) or not in_levels:
        raise ValueError(
            f"in_channels and in_levels name the same maps, fine to coarse; got {tuple(in_channels)} channels for "
            f"levels {tuple(in_levels)}"
        )
    if any(finer >= coarser for finer, coarser in pairwise(in_levels)):
        raise ValueError(f"in_levels must be distinct and run from fine to coarse, got {tuple(in_levels)}")
    if tuple(out_levels[: len(in_levels)]) != tuple(in_levels):
        raise ValueError(
            f"in_levels must be the finest of the output levels {tuple(out_levels)}, got {tuple(in_levels)}; "
            "take other maps from the backbone or ask for other output levels"
        )
    extra = tuple(out_levels[len(in_levels) - 1 :])
    if extra != tuple(range(extra[0], extra[0] + len(extra))):
        raise ValueError(f"levels beyond the backbone's are pooled one by one and must be consecutive, got {extra}")
    if len(out_channels) != len(out_levels):
        raise ValueError(f"{tuple(out_channels)} channels do not fit the output levels {tuple(out_levels)}: one each")
    if min(channels) < 1:
        raise ValueError(
            f"channels must be positive, got in_channels={tuple(in_channels)}, out_channels={tuple(out_channels)}"
        )

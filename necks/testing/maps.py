"""Backbone maps and the comparison of pyramids."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from necks.contract import Neck

pytest.register_assert_rewrite("necks.testing.suite")  # asserts that show their values

SIZES = ((256, 256), (320, 192), (333, 500))
"""Images: square, oblong, odd."""

Maps = OrderedDict[str, Tensor]
Make = Callable[[], Neck]


def features(neck: Neck, size: tuple[int, int], *, round_up: bool = True, batch: int = 2) -> Maps:
    """Backbone maps of an image; sides are halved upwards, as padded convolutions do, or downwards."""
    maps = OrderedDict()
    for level, channels in zip(neck.in_levels, neck.in_channels, strict=True):
        sides = [-(-side // 2**level) if round_up else side // 2**level for side in size]
        maps[f"c{level}"] = torch.randn(batch, channels, *sides)
    return maps


@torch.no_grad()
def outputs(neck: Callable[[Maps], Maps], maps: Maps) -> Maps:
    """Maps that a neck, compiled or exported or as it is, computes without gradients."""
    return neck(maps)


def assert_close(ours: Maps, theirs: Maps, tolerance: float) -> None:
    """Check that maps have the same names and differ by at most `tolerance` of the largest value of each."""
    assert list(ours) == list(theirs)
    for x, y in zip(ours.values(), theirs.values(), strict=True):
        difference, largest = (x.float() - y.float()).abs().max(), y.abs().max().float()
        assert difference <= tolerance * largest

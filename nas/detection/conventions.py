"""Differences between public RetinaNets that weights do not show: rounding of anchors, groups of norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from nas.detection.config import NORM_GROUPS, HeadConfig

ConventionName = Literal["nas_fpn", "torchvision", "mmdet"]


@dataclass(frozen=True)
class Convention:
    """
    Args:
        norm_groups: groups of the GroupNorms in a head that has norms.
        whole_sizes: whether anchor sizes are cut off to whole pixels.
        round_corners: whether the corners of anchors around the origin are rounded to whole pixels.
    """

    norm_groups: int
    whole_sizes: bool
    round_corners: bool


CONVENTIONS: dict[str, Convention] = {
    "nas_fpn": Convention(NORM_GROUPS, whole_sizes=False, round_corners=True),
    "torchvision": Convention(32, whole_sizes=True, round_corners=True),
    "mmdet": Convention(32, whole_sizes=False, round_corners=False),
}
OWN: ConventionName = "nas_fpn"
"""Convention of detectors that are trained here."""


def find_convention(name: str) -> ConventionName:
    """
    Raises:
        ValueError: for an unknown name.
    """
    for known in get_args(ConventionName):
        if name == known:
            return known
    raise ValueError(f"unknown convention {name!r}; known are {', '.join(CONVENTIONS)}")


class ExactAnchors(AnchorGenerator):
    """torchvision's generator, but anchors keep their fractions of a pixel, as mmdetection's."""

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """(R * S, 4) corners around the origin, the sizes of each ratio (height over width) together."""
        halves = [
            (0.5 * scale / math.sqrt(ratio), 0.5 * scale * math.sqrt(ratio))
            for ratio in aspect_ratios
            for scale in scales
        ]
        return torch.tensor([(-x, -y, x, y) for x, y in halves], dtype=dtype, device=device)


def build_anchors(levels: tuple[int, ...], head: HeadConfig, convention: ConventionName = OWN) -> AnchorGenerator:
    """Anchors for maps of the given levels: `octaves` sizes times `ratios` at every place."""
    rule = CONVENTIONS[convention]
    sizes = tuple(
        tuple(_size(head.anchor_scale * 2 ** (level + octave / head.octaves), rule) for octave in range(head.octaves))
        for level in levels
    )
    make = AnchorGenerator if rule.round_corners else ExactAnchors
    return make(sizes, (head.ratios,) * len(levels))


def _size(exact: float, rule: Convention) -> float:
    return math.floor(exact) if rule.whole_sizes else exact

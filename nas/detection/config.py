"""Configurations of backbone and head; without torch, so that reading a run directory is quick."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MAX_HEAD_CONVS = 4
NORM_GROUPS = 8


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BackboneConfig:
    name: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "efficientnet_lite0"] = "resnet10"
    """`resnet10` has one basic block per stage: the backbone of NAS-FPN's proxy task."""

    weights: str = "none"
    """`none` (random), `imagenet` (torchvision's download; for efficientnet_lite0 those of its package), or the
    path of a state dict."""

    frozen: bool = False
    """A frozen backbone runs once over the data and its features are cached."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class HeadConfig:
    convs: int = Field(default=4, ge=0, le=MAX_HEAD_CONVS)
    """3x3 convolutions per branch before the prediction; RetinaNet has 4."""

    norm: bool = False
    """GroupNorm after each of them (8 groups); plain RetinaNet has none."""

    anchor_scale: float = Field(default=4.0, gt=0)
    """Side of a level's smallest anchor over its stride; RetinaNet has 4 (32 px at P3)."""

    octaves: int = Field(default=3, ge=1)
    """Anchor sizes per level, at 2^(i / octaves)."""

    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Anchor heights over widths."""

    score_threshold: float = Field(default=0.05, ge=0, lt=1)
    nms_threshold: float = Field(default=0.5, gt=0, le=1)
    max_detections: int = Field(default=100, ge=1)

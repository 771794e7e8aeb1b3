"""Configurations of backbone and heads; without torch, so that reading a run directory is quick."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_PROPOSALS, MAX_SHAPES, Float, Int

MAX_HEAD_CONVS = 4
DEVICES = r"^(auto|cpu|(cuda|xpu|mps)(:\d+)?)$"
"""Names of devices. In PyTorch, AMD's GPUs are `cuda`, Intel's are `xpu` and Apple's are `mps`."""

NORM_GROUPS = 8
BACKBONES = ("resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "efficientnet_lite0")
FOREIGN_BACKBONE = re.compile(r"(torchvision/\w+|timm/\w[\w.\-]*)", re.ASCII)
Ratio = Annotated[Float, Field(gt=0)]
LEVELS = range(1, 7)
"""Levels for which a backbone can have a map; level l has stride 2^l."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BackboneConfig:
    name: str = "resnet10"
    """One of `BACKBONES`, `torchvision/<name>` for any classification model of torchvision, or `timm/<name>` for any
    model of timm (pip install 'nas-fpn[timm]'). `resnet10` has one basic block per stage; it is the backbone of
    NAS-FPN's proxy task."""

    weights: str = "none"
    """Weights at the start: `none` (random), `imagenet`, or the path of a state dict of the whole model. `imagenet`
    downloads torchvision's or timm's weights; for efficientnet_lite0 it takes those of a package if that is
    installed."""

    frozen: bool = False
    """True to leave the backbone untrained. Its features are then computed once and cached."""

    levels: tuple[Int, ...] = (3, 4, 5)
    """Levels of the maps that the backbone returns, fine to coarse. Faster R-CNN usually takes (2, 3, 4, 5)."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in BACKBONES and not FOREIGN_BACKBONE.fullmatch(name):
            raise ValueError(
                f"unknown backbone {name!r}; take one of {', '.join(BACKBONES)}, or torchvision/<model>, or "
                "timm/<model>, for example torchvision/mobilenet_v3_large or timm/convnext_tiny"
            )
        return name

    @field_validator("levels")
    @classmethod
    def _ascending(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or tuple(sorted({*levels} & {*LEVELS})) != levels:
            raise ValueError(
                f"levels must ascend and lie in {LEVELS[0]}..{LEVELS[-1]}, got {levels}; for example (3, 4, 5)"
            )
        return levels


def absolute_weights(config: BackboneConfig) -> BackboneConfig:
    """The same backbone for processes that run in another directory."""
    if config.weights in ("none", "imagenet"):
        return config
    return replace(config, weights=str(Path(config.weights).expanduser().resolve()))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class HeadConfig:
    convs: Int = Field(default=4, ge=0, le=MAX_HEAD_CONVS)
    """3x3 convolutions per branch before the prediction; RetinaNet has 4."""

    norm: bool = False
    """True for GroupNorm (8 groups) after each of these convolutions; plain RetinaNet has none."""

    anchor_scale: Float = Field(default=4.0, gt=0)
    """Side of the smallest anchor of a level, as a multiple of its stride; RetinaNet has 4 (32 px at P3)."""

    octaves: Int = Field(default=3, ge=1, le=MAX_SHAPES)
    """Number of anchor sizes per level: 2^(i / octaves) times the smallest, for i from 0."""

    ratios: tuple[Ratio, ...] = Field(default=(0.5, 1.0, 2.0), min_length=1, max_length=MAX_SHAPES)
    """Anchor heights over widths."""

    score_threshold: Float = Field(default=0.05, ge=0, lt=1)
    nms_threshold: Float = Field(default=0.5, gt=0, le=1)
    max_detections: Int = Field(default=100, ge=1, le=MAX_PROPOSALS)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TwoStageConfig:
    """Settings of Faster R-CNN. The defaults are those of torchvision's with FPN."""

    anchor_scale: Float = Field(default=8.0, gt=0)
    """Side of the anchors of a level, as a multiple of its stride: 32 px at P2."""

    ratios: tuple[Ratio, ...] = Field(default=(0.5, 1.0, 2.0), min_length=1, max_length=MAX_SHAPES)
    """Anchor heights over widths."""

    rpn_nms_threshold: Float = Field(default=0.7, gt=0, le=1)
    train_proposals: Int = Field(default=2000, ge=1, le=MAX_PROPOSALS)
    """Largest number of proposals per image in training."""

    test_proposals: Int = Field(default=1000, ge=1, le=MAX_PROPOSALS)
    """Largest number of proposals per image in inference."""

    score_threshold: Float = Field(default=0.05, ge=0, lt=1)
    nms_threshold: Float = Field(default=0.5, gt=0, le=1)
    max_detections: Int = Field(default=100, ge=1, le=MAX_PROPOSALS)

"""A torchvision RetinaNet around any backbone and any neck."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead

from nas.detection.backbone import Backbone
from nas.detection.compatibility import check_compatibility
from nas.detection.config import HeadConfig
from nas.detection.conventions import CONVENTIONS, OWN, ConventionName, build_anchors
from necks import Neck


class BackboneWithNeck(nn.Module):
    """Backbone for torchvision's detectors: images in, the neck's ordered dict of maps out."""

    def __init__(self, body: Backbone, neck: Neck) -> None:
        super().__init__()
        self.body = body
        self.neck = neck
        self.out_channels = neck.out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.neck(self.body(images))


def build_detector(
    backbone: Backbone,
    neck: Neck,
    num_classes: int,
    head: HeadConfig | None = None,
    image_size: int = 640,
    convention: ConventionName = OWN,
) -> RetinaNet:
    """RetinaNet with anchors and head made for the neck's levels, which are checked by the shapes of its maps.

    Args:
        num_classes: classes without background; labels run from 0.
        image_size: images are resized so that both sides fit into this many pixels.
        convention: whose anchors and norms the head has; others than our own are for converted weights.

    Raises:
        ValueError: as `check_compatibility`.
    """
    head = head or HeadConfig()
    check_compatibility(backbone, neck)
    anchors = build_anchors(neck.out_levels, head, convention)
    module = build_head(neck.out_channels, anchors.num_anchors_per_location()[0], num_classes, head, convention)
    wrapped = BackboneWithNeck(backbone, neck)
    return RetinaNet(
        wrapped, num_classes, anchor_generator=anchors, head=module, **common_options(backbone, head, image_size)
    )


def common_options(backbone: Backbone, head: HeadConfig, image_size: int) -> dict[str, Any]:
    """Arguments of torchvision's RetinaNet for images and thresholds."""
    return {
        "min_size": image_size,
        "max_size": image_size,
        "image_mean": list(backbone.mean),
        "image_std": list(backbone.std),
        "score_thresh": head.score_threshold,
        "nms_thresh": head.nms_threshold,
        "detections_per_img": head.max_detections,
    }


def build_head(
    channels: int, num_anchors: int, num_classes: int, config: HeadConfig, convention: ConventionName = OWN
) -> RetinaNetHead:
    """torchvision's head with `convs` of its four convolutions per branch."""
    groups = CONVENTIONS[convention].norm_groups
    norm = partial(nn.GroupNorm, groups) if config.norm else None
    if config.norm and channels % groups:
        raise ValueError(f"a head with norm needs channels divisible by {groups}, got {channels}")
    head = RetinaNetHead(channels, num_anchors, num_classes, norm_layer=norm)
    for branch in (head.classification_head, head.regression_head):
        branch.conv = branch.conv[: config.convs]
    return head


def grid_anchors(generator: AnchorGenerator, sizes: list[tuple[int, int]], image_size: tuple[int, int]) -> list[Tensor]:
    """Anchors (x1, y1, x2, y2) in pixels, one (A_l, 4) tensor per level, for maps of the given sizes (H, W)."""
    strides = [[torch.tensor(image_size[0] // height), torch.tensor(image_size[1] // width)] for height, width in sizes]
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    boxes = generator.grid_anchors([list(size) for size in sizes], strides)
    return list(boxes)

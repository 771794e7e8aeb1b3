"""A torchvision Faster R-CNN around any backbone and any neck.

Shapes: N images, S the side of their squares, n boxes of an image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, remove_small_boxes

from nas.detection.backbone import Backbone
from nas.detection.compatibility import check_compatibility
from nas.detection.config import TwoStageConfig
from nas.detection.detector import BackboneWithNeck
from necks import Neck

Detector: TypeAlias = RetinaNet | FasterRCNN

ROI_SIZE, ROI_SAMPLES = 7, 2
"""Side of a region's pooled map and samples per bin and axis: torchvision's."""

SMALLEST = 1e-2
"""Boxes with a shorter side in pixels are dropped, as torchvision does."""

FIRST_LABEL = 1
"""Label of the first class in torchvision's Faster R-CNN; 0 is the background."""


def build_faster_rcnn(
    backbone: Backbone, neck: Neck, num_classes: int, config: TwoStageConfig | None = None, image_size: int = 640
) -> FasterRCNN:
    """Faster R-CNN with anchors and RoI pooling made for the neck's levels, as torchvision's own (arXiv 1612.03144).

    One anchor size per level. Regions are pooled from the levels that the backbone has (`neck.in_levels`, usually
    P2..P5); the coarser ones serve the region proposals alone.

    Args:
        num_classes: classes without background, which is added as class 0: as in torchvision, labels run from 1.
        image_size: images are resized so that both sides fit into this many pixels.

    Raises:
        ValueError: for levels with gaps, and as `check_compatibility`.
    """
    config = config or TwoStageConfig()
    check_compatibility(backbone, neck)
    if neck.in_levels != tuple(range(neck.in_levels[0], neck.in_levels[0] + len(neck.in_levels))):
        raise ValueError(
            "regions are pooled from the level that fits their size, so the backbone's levels must be consecutive, "
            f"got {neck.in_levels}; take for example (2, 3, 4, 5)"
        )
    sizes = tuple((config.anchor_scale * 2**level,) for level in neck.out_levels)
    return FasterRCNN(
        BackboneWithNeck(backbone, neck),
        num_classes + 1,
        min_size=image_size,
        max_size=image_size,
        image_mean=list(backbone.mean),
        image_std=list(backbone.std),
        rpn_anchor_generator=AnchorGenerator(sizes, (config.ratios,) * len(sizes)),
        rpn_nms_thresh=config.rpn_nms_threshold,
        rpn_post_nms_top_n_train=config.train_proposals,
        rpn_post_nms_top_n_test=config.test_proposals,
        box_roi_pool=MultiScaleRoIAlign([f"p{level}" for level in neck.in_levels], ROI_SIZE, ROI_SAMPLES),
        box_score_thresh=config.score_threshold,
        box_nms_thresh=config.nms_threshold,
        box_detections_per_img=config.max_detections,
    )


class TwoStagePart(nn.Module):
    """From square inputs to the four losses in training mode, and to detections otherwise.

    Args:
        pyramid: the neck, or backbone and neck together.
        size: S; the whole square counts as image.
    """

    def __init__(self, pyramid: nn.Module, detector: FasterRCNN, size: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.rpn = detector.rpn
        self.roi_heads = detector.roi_heads
        self._size = size

    def forward(self, inputs: Any, targets: list[dict[str, Tensor]] | None = None) -> Any:
        maps: OrderedDict[str, Tensor] = self.pyramid(inputs)
        count = len(next(iter(maps.values())))
        sizes = [(self._size, self._size)] * count
        images = ImageList(torch.empty(count, 3, self._size, self._size, device="meta"), sizes)
        proposals, rpn_losses = self.rpn(images, maps, targets)
        found, roi_losses = self.roi_heads(maps, proposals, sizes, targets)
        return {**rpn_losses, **roi_losses} if self.training else found


def two_stage_part(detector: FasterRCNN, size: int, *, frozen: bool) -> TwoStagePart:
    """All of the detector, or all but its backbone where that is frozen."""
    return TwoStagePart(detector.backbone.neck if frozen else detector.backbone, detector, size)


def target_of(boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Boxes (n, 4) in pixels of the square and classes (n,) from 0, as torchvision's Faster R-CNN wants them."""
    return {"boxes": boxes, "labels": labels + FIRST_LABEL}


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum of torchvision's four losses, in fp32."""
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def shown_detections(found: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """`boxes` (n, 4), `scores` (n,) and `labels` (n,) from 0 of one image, cut to what its square shows.

    Args:
        found: what `TwoStagePart` gives for it in evaluation mode.
        size: height and width that the image covers of the square.
    """
    boxes = clip_boxes_to_image(found["boxes"].float(), size)
    kept = remove_small_boxes(boxes, SMALLEST)
    return {
        "boxes": boxes[kept],
        "scores": found["scores"].float()[kept],
        "labels": found["labels"][kept] - FIRST_LABEL,
    }

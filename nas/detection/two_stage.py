"""A torchvision Faster R-CNN around any backbone and any neck."""

from __future__ import annotations

from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from nas.detection.backbone import Backbone
from nas.detection.compatibility import check_compatibility
from nas.detection.config import TwoStageConfig
from nas.detection.detector import BackboneWithNeck
from necks import Neck

ROI_SIZE, ROI_SAMPLES = 7, 2
"""Side of a region's pooled map and samples per bin and axis: torchvision's."""


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

"""Anchor targets, assigned once per image and kept: anchors and boxes do not change during a proxy task.

Shapes: N images, A anchors over all levels, P positives of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

BACKGROUND = -1
IGNORED = -2
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.4
BOX_CODER = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
"""RetinaNet's: no scaling of the four offsets."""


@dataclass(frozen=True)
class Targets:
    """What each anchor of one image, or of a batch, has to predict.

    Args:
        labels: (A,) or (N, A) int64 class of each anchor, `BACKGROUND` or `IGNORED`.
        offsets: (P, 4) box offsets of the positive anchors, in the order of `labels`' positives.
    """

    labels: Tensor
    offsets: Tensor


def assign(boxes: Tensor, labels: Tensor, anchors: Tensor) -> Targets:
    """RetinaNet's assignment: IoU of .5 or more, or the best anchor of a box; between .4 and .5 ignored.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels; may be empty.
        labels: (n,) classes from 0.
        anchors: (A, 4).
    """
    if not len(boxes):
        return Targets(torch.full((len(anchors),), BACKGROUND), torch.zeros(0, 4))
    matcher = Matcher(FOREGROUND_IOU, BACKGROUND_IOU, allow_low_quality_matches=True)
    matched = matcher(box_iou(boxes, anchors))
    positive = matched >= 0
    target = torch.where(positive, labels[matched.clamp(min=0)], matched)
    offsets = BOX_CODER.encode_single(boxes[matched[positive]], anchors[positive])
    return Targets(target, offsets)


def stack(targets: Sequence[Targets]) -> Targets:
    """A batch: labels (N, A), offsets of all positives, image by image."""
    return Targets(torch.stack([t.labels for t in targets]), torch.cat([t.offsets for t in targets]))

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
    """Targets of the anchors of one image; those neither positive nor ignored are background.

    Args:
        positive: (P,) int64 indices of the anchors that stand for a box, ascending.
        labels: (P,) int64 their classes.
        offsets: (P, 4) their box offsets.
        ignored: int64 indices of the anchors that are neither positive nor background.
    """

    positive: Tensor
    labels: Tensor
    offsets: Tensor
    ignored: Tensor


@dataclass(frozen=True)
class BatchTargets:
    """Targets of all anchors of a batch.

    Args:
        labels: (N, A) int64 class of each anchor, `BACKGROUND` or `IGNORED`.
        offsets: box offsets of the positive anchors, image by image in the order of `labels`.
    """

    labels: Tensor
    offsets: Tensor

    def to(self, device: torch.device) -> BatchTargets:
        """The same on a device."""
        return BatchTargets(self.labels.to(device), self.offsets.to(device))


def assign(boxes: Tensor, labels: Tensor, anchors: Tensor) -> Targets:
    """RetinaNet's assignment: IoU of .5 or more, or the best anchor of a box; between .4 and .5 ignored.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels; may be empty.
        labels: (n,) classes from 0.
        anchors: (A, 4).
    """
    if not len(boxes):
        nothing = torch.zeros(0, dtype=torch.int64)
        return Targets(nothing, nothing, torch.zeros(0, 4), nothing)
    matcher = Matcher(FOREGROUND_IOU, BACKGROUND_IOU, allow_low_quality_matches=True)
    matched = matcher(box_iou(boxes, anchors))
    (positive,) = torch.where(matched >= 0)
    (ignored,) = torch.where(matched == Matcher.BETWEEN_THRESHOLDS)
    box = matched[positive]
    return Targets(positive, labels[box], BOX_CODER.encode_single(boxes[box], anchors[positive]), ignored)


def stack(targets: Sequence[Targets], num_anchors: int) -> BatchTargets:
    """The targets of a batch, on the CPU like its parts."""
    labels = torch.full((len(targets) * num_anchors,), BACKGROUND)
    labels[torch.cat([target.ignored + row * num_anchors for row, target in enumerate(targets)])] = IGNORED
    positive = torch.cat([target.positive + row * num_anchors for row, target in enumerate(targets)])
    labels[positive] = torch.cat([target.labels for target in targets])
    return BatchTargets(labels.view(len(targets), num_anchors), torch.cat([target.offsets for target in targets]))

"""Objectives of a full training: targets and loss of each kind of detector.

Shapes: N images, S the side of the training images, A anchors over all levels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet

from nas.detection.detector import grid_anchors
from nas.detection.learning import trained_part
from nas.detection.loss import batch_loss
from nas.detection.meta import meta_copy
from nas.detection.targets import BatchTargets, Targets, assign, stack
from nas.detection.two_stage import Detector, target_of, total_loss, two_stage_part
from nas.training.config import TrainConfig


class Objective(Protocol):
    """Targets and loss of one kind of detector; goes to the processes that load images."""

    def part(self, detector: Any) -> nn.Module:
        """All of the detector that is trained."""

    def target(self, boxes: Tensor, labels: Tensor) -> Any:
        """Targets of one image, from boxes (n, 4) in pixels and classes (n,) from 0."""

    def stacked(self, targets: Sequence[Any]) -> Any:
        """Targets of a batch."""

    def loss(self, part: nn.Module, inputs: Tensor, targets: Any) -> Tensor:
        """Scalar, for inputs (N, 3, S, S) on the part's device and stacked targets on the CPU."""


class OneStage:
    """Focal and box loss of a RetinaNet, averaged over the exits of an anytime one.

    Args:
        anchors: (A, 4), for images of side S.
    """

    def __init__(self, anchors: Tensor, config: TrainConfig) -> None:
        self._anchors = anchors
        self._alpha, self._gamma = config.focal_alpha, config.focal_gamma

    def part(self, detector: RetinaNet) -> nn.Module:
        return trained_part(detector, frozen=False)

    def target(self, boxes: Tensor, labels: Tensor) -> Targets:
        return assign(boxes, labels, self._anchors)

    def stacked(self, targets: Sequence[Targets]) -> BatchTargets:
        return stack(targets, len(self._anchors))

    def loss(self, part: nn.Module, inputs: Tensor, targets: BatchTargets) -> Tensor:
        outputs = part(inputs)
        there = targets.to(inputs.device)
        every = outputs if isinstance(outputs, list) else [outputs]
        return torch.stack([batch_loss(one, there, alpha=self._alpha, gamma=self._gamma) for one in every]).mean()


class TwoStage:
    """Sum of a Faster R-CNN's four losses."""

    def __init__(self, config: TrainConfig) -> None:
        self._size = config.image_size

    def part(self, detector: FasterRCNN) -> nn.Module:
        return two_stage_part(detector, self._size, frozen=False)

    def target(self, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return target_of(boxes, labels)

    def stacked(self, targets: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        return list(targets)

    def loss(self, part: nn.Module, inputs: Tensor, targets: Sequence[dict[str, Tensor]]) -> Tensor:
        there = [{name: value.to(inputs.device) for name, value in target.items()} for target in targets]
        return total_loss(part(inputs, there))


def objective_of(detector: Detector, config: TrainConfig) -> Objective:
    """Objective of a detector of either kind."""
    if isinstance(detector, FasterRCNN):
        return TwoStage(config)
    return OneStage(torch.cat(anchors_of(detector, config.image_size)), config)


def anchors_of(detector: RetinaNet, size: int) -> list[Tensor]:
    """Anchors of each level, (A_l, 4), for square images of that side."""
    with torch.no_grad():
        maps = meta_copy(detector.backbone)(torch.empty(1, 3, size, size, device="meta"))
    sizes = [(x.shape[-2], x.shape[-1]) for x in maps.values()]
    return grid_anchors(detector.anchor_generator, sizes, (size, size))

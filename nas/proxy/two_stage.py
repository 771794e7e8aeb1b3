"""Faster R-CNN as the detector of a proxy task.

Shapes: N images, S the side of their squares, n boxes of an image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from nas.data.evaluate import Detections, coco_ap
from nas.data.letterboxed import Letterboxed
from nas.detection.learning import autocast
from nas.proxy.config import ProxyConfig
from nas.proxy.inputs import Inputs
from nas.proxy.training import Training

SMALLEST = 1e-2
"""Boxes with a shorter side in pixels are dropped, as torchvision does."""


class TwoStagePart(nn.Module):
    """From inputs to losses in training mode, and to detections otherwise.

    Args:
        pyramid: the neck, or backbone and neck together.
        size: S; the whole square counts as image, and detections are cut to what it shows afterwards.
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


def two_stage_part(detector: FasterRCNN, config: ProxyConfig) -> TwoStagePart:
    """All of the detector that is trained, as `config` says."""
    pyramid = detector.backbone.neck if config.backbone.frozen else detector.backbone
    return TwoStagePart(pyramid, detector, config.image_size)


class TwoStageTraining(Training):
    """The short training of a Faster R-CNN; its loss is the sum of torchvision's four."""

    def _part_of(self, detector: nn.Module) -> nn.Module:
        assert isinstance(detector, FasterRCNN)
        return two_stage_part(detector, self.config)

    def _loss_of(self, indices: list[int]) -> Tensor:
        inputs = self._inputs.batch(indices, self.device)
        targets = [_target(self._targets.images, index, self.device) for index in indices]
        self._phases.begin("forward and backward")
        with autocast(self.config.precision, self.device):
            losses: dict[str, Tensor] = self._part(inputs, targets)
        return torch.stack([loss.float() for loss in losses.values()]).sum()


def score_two_stage(
    detector: FasterRCNN, inputs: Inputs, images: Letterboxed, config: ProxyConfig, device: torch.device
) -> dict[str, float]:
    """AP and its parts in percent, as `nas.data.evaluate.coco_ap` gives them; the detector stays as it was."""
    mode = detector.training
    detector.eval()
    part = two_stage_part(detector, config).eval()
    found: dict[int, Detections] = {}
    for start in range(0, len(inputs), config.eval_batch_size):
        indices = list(range(start, min(start + config.eval_batch_size, len(inputs))))
        with torch.inference_mode(), autocast(config.precision, device):
            results = part(inputs.batch(indices, device))
        for index, result in zip(indices, results, strict=True):
            found[images.split.image_ids[index]] = images.detections(index, _shown(result, images.size_of(index)))
    detector.train(mode)
    return coco_ap(images.split, found, scorer=config.scorer)


def _target(images: Letterboxed, index: int, device: torch.device) -> dict[str, Tensor]:
    """Boxes (n, 4) in pixels of the square, and labels from 1, as torchvision wants them."""
    boxes, labels = images.target(index)
    return {"boxes": boxes.to(device), "labels": labels.to(device) + 1}


def _shown(found: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """Detections cut to the part of the square that shows the image, with labels from 0."""
    boxes = clip_boxes_to_image(found["boxes"].float(), size)
    kept = remove_small_boxes(boxes, SMALLEST)
    return {"boxes": boxes[kept], "scores": found["scores"].float()[kept], "labels": found["labels"][kept] - 1}

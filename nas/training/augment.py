"""Training images: scale jitter, flip, a square crop, and the detector's targets.

Shapes: S the side of the square.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from nas.data.coco import CocoSplit
from nas.training.config import TrainConfig
from nas.training.objective import Objective

MIN_SIDE = 1.0
"""Pixels that a side of a box must have after the crop to be a target."""


class TrainingImages(Dataset[tuple[Tensor, Any]]):
    """A split as it is trained on, drawn anew at every use with torch's generator.

    An item is an image, uint8 (3, S, S), and its targets. The image's longer side is S times the jitter;
    what is larger is cropped at a random place, what is smaller is put at a random place on black.

    Args:
        objective: what it says the targets are.
    """

    def __init__(self, split: CocoSplit, config: TrainConfig, objective: Objective) -> None:
        size = config.image_size
        self.split = split
        self._objective = objective
        self._transform = v2.Compose(
            [
                v2.ScaleJitter((size, size), config.scale_jitter, antialias=True),
                v2.RandomCrop((size, size), pad_if_needed=True, fill=0),
                v2.RandomHorizontalFlip(0.5 if config.flip else 0.0),
                v2.SanitizeBoundingBoxes(min_size=MIN_SIDE),
            ]
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, boxes, labels = self.transformed(index)
        return image, self._objective.target(boxes, labels)

    def transformed(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image, boxes (n, 4) in its pixels and labels (n,)."""
        image, target = self.split[index]
        boxes: Any = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=tuple(image.shape[-2:]))
        found = self._transform({"image": tv_tensors.Image(image), "boxes": boxes, "labels": target["labels"]})
        return found["image"].as_subclass(Tensor), found["boxes"].as_subclass(Tensor), found["labels"]

    def collate(self, items: list[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """Images (N, 3, S, S) and the targets of a batch."""
        images, targets = zip(*items, strict=True)
        return torch.stack(images), self._objective.stacked(targets)

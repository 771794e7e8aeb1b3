"""Images scaled into a square, as they are and mirrored.

Shapes: N images, S the side of the square that images are padded to.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections


class Letterboxed(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A split at one size: image (3, S, S) uint8, boxes (n, 4) in its pixels, labels (n,).

    Images are scaled by one factor so that the longer side is S, and padded with zeros at the right and bottom.

    Args:
        mirrored: whether every image follows once more, flipped left to right: image i again as i + N.

    Attributes:
        num_images: N.
    """

    def __init__(self, split: CocoSplit, size: int, *, mirrored: bool = False) -> None:
        self.split = split
        self.size = size
        self.num_images = len(split)
        self.views = 2 if mirrored else 1

    def __len__(self) -> int:
        return self.views * self.num_images

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, _ = self.split[index % self.num_images]
        height, width = self.size_of(index)
        if self.scale(index) != 1:
            image = F.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)[0]
            image = image.round().clamp(0, 255).to(torch.uint8)
        if index >= self.num_images:
            image = image.flip(-1)
        image = F.pad(image, (0, self.size - width, 0, self.size - height))
        return image, *self.target(index)

    def target(self, index: int) -> tuple[Tensor, Tensor]:
        """Boxes and labels of an image, without reading it."""
        target = self.split.target(index % self.num_images)
        boxes = target["boxes"] * self.scale(index)
        if index >= self.num_images:
            x1, y1, x2, y2 = boxes.unbind(1)
            width = self.size_of(index)[1]
            boxes = torch.stack((width - x2, y1, width - x1, y2), dim=1)
        return boxes, target["labels"]

    def scale(self, index: int) -> float:
        """Pixels here per pixel of the original image."""
        info = self._info(index)
        return self.size / max(info["height"], info["width"])

    def size_of(self, index: int) -> tuple[int, int]:
        """Height and width that the image covers of the square."""
        info = self._info(index)
        scale = self.scale(index)
        return max(1, round(info["height"] * scale)), max(1, round(info["width"] * scale))

    def detections(self, index: int, found: Mapping[str, Tensor]) -> Detections:
        """Detections in an item, in pixels of the image as stored.

        Args:
            found: `boxes` (n, 4) in pixels here, `scores` and `labels` (n,).
        """
        boxes = found["boxes"].cpu() / self.scale(index)
        return Detections(boxes, found["scores"].cpu(), found["labels"].cpu())

    def _info(self, index: int) -> dict[str, int]:
        info: dict[str, int] = self.split.coco.imgs[self.split.image_ids[index % self.num_images]]
        return info

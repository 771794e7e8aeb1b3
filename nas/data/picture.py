"""A sheet of annotated images, to look at a data set with one's own eyes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import resize
from torchvision.utils import draw_bounding_boxes, make_grid, save_image

from nas.data.coco import CocoSplit

_CELL = 384  # side of one picture on the sheet, in pixels


def contact_sheet(split: CocoSplit, path: Path, count: int = 12) -> None:
    """Write the split's first `count` images with their boxes and class names as one picture, four a row."""
    cells = [_annotated(split, index) for index in range(min(count, len(split)))]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(make_grid(torch.stack(cells), nrow=4), path)


def _annotated(split: CocoSplit, index: int) -> Tensor:
    """float32 (3, _CELL, _CELL) in 0..1; the image is stretched to the square."""
    image, target = split[index]
    height, width = image.shape[-2:]
    boxes = target["boxes"] * torch.tensor([_CELL / width, _CELL / height] * 2)
    names = [split.classes[label] for label in target["labels"].tolist()]
    image = resize(image, [_CELL, _CELL])
    return (draw_bounding_boxes(image, boxes, names, colors="yellow") if names else image) / 255

"""Images at a proxy's size, for a backbone that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from nas.data.letterboxed import Letterboxed
from nas.data.read_ahead import read_ahead
from nas.detection.backbone import Backbone, normalise


class ImageInputs:
    """Images, read and normalised at every use: for a backbone that is trained.

    Args:
        loaders: processes that read them ahead.
    """

    def __init__(self, images: Letterboxed, backbone: Backbone, layout: torch.memory_format, loaders: int = 0) -> None:
        self.images = images
        self.backbone = backbone
        self.layout = layout
        self.loaders = loaders

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, order: Sequence[list[int]], device: torch.device) -> Iterator[Tensor]:
        pinned = device.type == "cuda"
        for images in read_ahead(self.images, order, self.loaders, pinned=pinned):
            there = images.to(device, non_blocking=pinned)
            yield normalise(there, self.backbone).contiguous(memory_format=self.layout)

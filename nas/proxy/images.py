"""Images at a proxy's size, for a backbone that is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.data.letterboxed import Letterboxed
from nas.detection.backbone import Backbone, normalise


class ImageInputs:
    """Images, read and normalised at every use: for a backbone that is trained."""

    def __init__(self, images: Letterboxed, backbone: Backbone, layout: torch.memory_format) -> None:
        self.images = images
        self.backbone = backbone
        self.layout = layout

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: list[int], device: torch.device) -> Tensor:
        images = torch.stack([self.images[index][0] for index in indices]).to(device)
        return normalise(images, self.backbone).contiguous(memory_format=self.layout)

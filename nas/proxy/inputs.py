"""What a proxy task trains on: backbone features cached once, or images for a backbone that learns.

Shapes: N images, S the side of the square that images are padded to.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from nas.data.coco import CocoSplit, digest
from nas.detection.backbone import Backbone, weights_digest
from nas.detection.targets import Targets, assign

_log = logging.getLogger(__name__)

CACHE_DIR = ".cache"
FEATURE_BATCH = 4
"""On a CPU small batches are three times as fast: their buffers stay in the cache and in the allocator."""


class Inputs(Protocol):
    """Inputs of the trained part of a detector, by position in the split."""

    def __len__(self) -> int: ...

    def batch(self, indices: list[int], device: torch.device) -> Any:
        """What `Trainee.forward` takes for these images."""
        ...


class Letterboxed(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A split at the proxy's size: image (3, S, S) uint8, boxes (n, 4) in its pixels, labels (n,).

    Images are scaled by one factor so that the longer side is S, and padded with zeros at the right and bottom.
    """

    def __init__(self, split: CocoSplit, size: int) -> None:
        self.split = split
        self.size = size

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, target = self.split[index]
        scale = self.scale(index)
        height, width = self.size_of(index)
        if scale != 1:
            image = F.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)[0]
            image = image.round().clamp(0, 255).to(torch.uint8)
        image = F.pad(image, (0, self.size - width, 0, self.size - height))
        return image, target["boxes"] * scale, target["labels"]

    def scale(self, index: int) -> float:
        """Pixels here per pixel of the original image."""
        info = self.split.coco.imgs[self.split.image_ids[index]]
        return self.size / max(info["height"], info["width"])

    def size_of(self, index: int) -> tuple[int, int]:
        """Height and width that the image covers of the square."""
        info = self.split.coco.imgs[self.split.image_ids[index]]
        scale = self.scale(index)
        return max(1, round(info["height"] * scale)), max(1, round(info["width"] * scale))


class ImageInputs:
    """Images, read and normalised at every use: for a backbone that is trained."""

    def __init__(self, images: Letterboxed, backbone: Backbone) -> None:
        self.images = images
        self.backbone = backbone

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: list[int], device: torch.device) -> Tensor:
        images = torch.stack([self.images[index][0] for index in indices]).to(device)
        return normalise(images, self.backbone)


class FeatureInputs:
    """Maps of a frozen backbone, held in half precision."""

    def __init__(self, features: dict[str, Tensor]) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(next(iter(self.features.values())))

    def batch(self, indices: list[int], device: torch.device) -> OrderedDict[str, Tensor]:
        return OrderedDict(
            (name, maps[indices].to(device).float().contiguous(memory_format=torch.channels_last))
            for name, maps in self.features.items()
        )


def normalise(images: Tensor, backbone: Backbone) -> Tensor:
    """uint8 images (N, 3, H, W) to what the backbone was trained on."""
    mean = images.new_tensor(backbone.mean, dtype=torch.float32).view(3, 1, 1)
    std = images.new_tensor(backbone.std, dtype=torch.float32).view(3, 1, 1)
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def cached_features(images: Letterboxed, backbone: Backbone, root: Path, device: torch.device) -> FeatureInputs:
    """Features of every image, from the cache under `root`, or computed and kept there for all other workers.

    A file's name holds everything that its content depends on: split, image size, architecture and weights.
    Two processes at once compute it once; a killed one leaves nothing that would be read.
    """
    name = f"features-{digest(images.split)}-{weights_digest(backbone)}-{images.size}.safetensors"
    path = root / CACHE_DIR / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _log.info(
                "computing the backbone's features of %d images, once; they are kept in %s", len(images), path.parent
            )
            partial = path.with_suffix(f".{os.getpid()}.partial")
            save_file(_extract(images, backbone, device), str(partial))
            partial.replace(path)
    loaded = load_file(str(path))
    return FeatureInputs({name: loaded[name] for name in sorted(loaded)})


def _extract(images: Letterboxed, backbone: Backbone, device: torch.device) -> dict[str, Tensor]:
    """Backbone maps of every image. Uses every CPU core: whoever else needs these features waits for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        return _run_backbone(images, backbone.to(device).eval(), device)
    finally:
        torch.set_num_threads(threads)


def _run_backbone(images: Letterboxed, backbone: Backbone, device: torch.device) -> dict[str, Tensor]:
    backbone = backbone.to(memory_format=torch.channels_last)
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(images), FEATURE_BATCH):
        batch = torch.stack([images[i][0] for i in range(start, min(start + FEATURE_BATCH, len(images)))])
        with torch.inference_mode():
            for name, x in backbone(normalise(batch.to(device), backbone)).items():
                parts.setdefault(name, []).append(x.half().cpu())
    return {name: torch.cat(maps).contiguous() for name, maps in parts.items()}


def assign_all(images: Letterboxed, anchors: Tensor) -> list[Targets]:
    """Targets of every image of a split; boxes are read from the annotations alone."""
    targets = []
    for index in range(len(images)):
        target = images.split.target(index)
        targets.append(assign(target["boxes"] * images.scale(index), target["labels"], anchors))
    return targets

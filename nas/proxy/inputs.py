"""What a proxy task trains on: backbone features cached once, or images for a backbone that learns.

Shapes: N images, S the side of the square that images are padded to.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from nas.data.coco import CocoSplit, digest
from nas.detection.backbone import Backbone, weights_digest
from nas.detection.targets import BatchTargets, Targets, assign, stack

_log = logging.getLogger(__name__)

CACHE_DIR = ".cache"
FEATURE_BATCH = 4
"""On a CPU small batches are three times as fast: their buffers stay in the cache and in the allocator."""


class Inputs(Protocol):
    """Inputs of the trained part of a detector, by position in the split."""

    def __len__(self) -> int: ...

    def batch(self, indices: list[int], device: torch.device) -> Any:
        """What the trained part of the detector takes for these images: maps or images."""
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
    """Maps of a frozen backbone in half precision, in files that all workers of a machine share the memory of."""

    def __init__(self, directory: Path) -> None:
        paths = sorted(directory.glob("*.npy"))
        self.maps = {path.stem: np.load(path, mmap_mode="r") for path in paths}

    def __len__(self) -> int:
        return len(next(iter(self.maps.values())))

    def batch(self, indices: list[int], device: torch.device) -> OrderedDict[str, Tensor]:
        parts = {name: torch.from_numpy(maps[indices]) for name, maps in self.maps.items()}
        return OrderedDict(
            (name, part.to(device).float().contiguous(memory_format=torch.channels_last))
            for name, part in parts.items()
        )


def normalise(images: Tensor, backbone: Backbone) -> Tensor:
    """uint8 images (N, 3, H, W) to what the backbone was trained on."""
    mean = images.new_tensor(backbone.mean, dtype=torch.float32).view(3, 1, 1)
    std = images.new_tensor(backbone.std, dtype=torch.float32).view(3, 1, 1)
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def cached_features(images: Letterboxed, backbone: Backbone, root: Path, device: torch.device) -> FeatureInputs:
    """Features of every image, from the cache under `root`, or computed and kept there for all other workers.

    A directory's name holds everything that its content depends on: annotations, images, their size here, and the
    backbone's architecture and weights. Two processes at once compute it once; a killed one leaves nothing that is
    read.
    """
    path = root / CACHE_DIR / f"features-{digest(images.split)}-{weights_digest(backbone)}-{images.size}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _log.info(
                "computing the backbone's features of %d images, once; they are kept in %s", len(images), path.parent
            )
            partial = path.with_name(f"{path.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _extract(images, backbone, device, partial)
            partial.replace(path)
    return FeatureInputs(path)


def _extract(images: Letterboxed, backbone: Backbone, device: torch.device, directory: Path) -> None:
    """Write one file per map. Uses every CPU core: whoever else needs these features waits for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    backbone = backbone.to(device).to(memory_format=torch.channels_last).eval()
    files: dict[str, np.memmap[Any, np.dtype[np.float16]]] = {}
    for start in range(0, len(images), FEATURE_BATCH):
        batch = torch.stack([images[i][0] for i in range(start, min(start + FEATURE_BATCH, len(images)))])
        with torch.inference_mode():
            maps = backbone(normalise(batch.to(device), backbone))
        for name, x in maps.items():
            if name not in files:
                shape = (len(images), *x.shape[1:])
                files[name] = open_memmap(directory / f"{name}.npy", mode="w+", dtype=np.float16, shape=shape)
            files[name][start : start + len(x)] = x.half().cpu().numpy()
    torch.set_num_threads(threads)
    for file in files.values():
        file.flush()


class TargetCache:
    """Targets by position in the split, assigned when first asked for and then kept."""

    def __init__(self, images: Letterboxed, anchors: Tensor) -> None:
        self.images = images
        self.anchors = anchors
        self._kept: dict[int, Targets] = {}

    def batch(self, indices: Sequence[int]) -> BatchTargets:
        return stack([self._get(index) for index in indices], len(self.anchors))

    def _get(self, index: int) -> Targets:
        if index not in self._kept:
            target = self.images.split.target(index)
            boxes = target["boxes"] * self.images.scale(index)
            self._kept[index] = assign(boxes, target["labels"], self.anchors)
        return self._kept[index]

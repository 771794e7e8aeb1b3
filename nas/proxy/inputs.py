"""Data of a training: inputs of the part that learns, and targets of its anchors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nas.data.letterboxed import Letterboxed
from nas.detection.padded import PaddedTargets, pad
from nas.detection.targets import BatchTargets, Targets, assign, stack


class Inputs(Protocol):
    """Inputs of the trained part of a detector, by position in `Letterboxed`."""

    def __len__(self) -> int: ...

    def batches(self, order: Sequence[list[int]], device: torch.device) -> Iterator[Any]:
        """Inputs of the trained part of the detector, maps or images, for batches of these positions, one by one."""
        ...


class ResidentInputs(Inputs, Protocol):
    """Inputs that all lie on one device, and can be chosen there."""

    @property
    def device(self) -> torch.device: ...

    def gather(self, chosen: Tensor) -> OrderedDict[str, Tensor]:
        """One of `batches`, for int64 positions (n,) on the device; the host reads none of them."""
        ...


class TargetCache:
    """Targets by position in `Letterboxed`, assigned when first asked for and then kept.

    Args:
        anchors: (A, 4), at the proxy's size.
        keep: False to assign them anew every time.
    """

    def __init__(self, images: Letterboxed, anchors: Tensor, *, keep: bool = True) -> None:
        self.images = images
        self.anchors = anchors
        self.keep = keep
        self._kept: dict[int, Targets] = {}
        self._padded: dict[torch.device, PaddedTargets] = {}

    def batch(self, indices: Sequence[int]) -> BatchTargets:
        return stack([self._get(index) for index in indices], len(self.anchors))

    def padded(self, device: torch.device) -> PaddedTargets:
        """Targets of all images on a device, assigned and moved there when first asked for and then kept."""
        if device not in self._padded:
            every = [self._get(index) for index in range(len(self.images))]
            self._padded[device] = pad(every, len(self.anchors)).to(device)
        return self._padded[device]

    def _get(self, index: int) -> Targets:
        targets = self._kept.get(index)
        if targets is None:
            targets = assign(*self.images.target(index), self.anchors)
            if self.keep:
                self._kept[index] = targets
        return targets

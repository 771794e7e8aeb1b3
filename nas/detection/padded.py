"""Anchor targets and RetinaNet's loss in shapes that do not depend on the data, so that a CUDA graph can hold them.

Shapes: M images that are kept, N images of a batch, A anchors over all levels, K classes, P most positive and I most
ignored anchors of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from nas.detection.targets import BACKGROUND, IGNORED, Targets


@dataclass(frozen=True)
class PaddedTargets:
    """Targets of several images, all padded to one length.

    Args:
        positive: (M, P) int64 indices of positive anchors; padded with A, which no anchor has.
        labels: (M, P) int64 their classes.
        offsets: (M, P, 4) their box offsets.
        ignored: (M, I) int64 indices of anchors that are neither positive nor background; padded with A.
    """

    positive: Tensor
    labels: Tensor
    offsets: Tensor
    ignored: Tensor

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._tensors())

    def of(self, images: Tensor) -> PaddedTargets:
        """Those of a batch.

        Args:
            images: (N,) int64 positions among the M, on the same device.
        """
        return self._mapped(lambda tensor: tensor.index_select(0, images))

    def to(self, device: torch.device) -> PaddedTargets:
        """The same on a device."""
        return self._mapped(lambda tensor: tensor.to(device))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> PaddedTargets:
        return PaddedTargets(*map(change, self._tensors()))

    def _tensors(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


def pad(targets: Sequence[Targets], num_anchors: int) -> PaddedTargets:
    """The targets of M images, on the CPU like its parts."""
    return PaddedTargets(
        _stacked([each.positive for each in targets], num_anchors),
        _stacked([each.labels for each in targets], 0),
        _stacked([each.offsets for each in targets], 0),
        _stacked([each.ignored for each in targets], num_anchors),
    )


def padded_loss(outputs: Mapping[str, Tensor], targets: PaddedTargets, *, alpha: float, gamma: float) -> Tensor:
    """The same as `nas.detection.loss.batch_loss` up to rounding, without a shape that depends on the targets.

    Args:
        outputs: of the head, `cls_logits` (N, A, K) and `bbox_regression` (N, A, 4).
        targets: of the N images.
    """
    logits, offsets = outputs["cls_logits"].float(), outputs["bbox_regression"].float()
    count, num_anchors, num_classes = logits.shape
    labels = targets.labels.new_full((count, num_anchors + 1), BACKGROUND)
    labels.scatter_(1, targets.ignored, IGNORED)
    labels = labels.scatter(1, targets.positive, targets.labels)[:, :num_anchors]
    real = targets.positive < num_anchors
    num_positive = real.sum().clamp(min=1)
    classes = (labels.unsqueeze(-1) == torch.arange(num_classes, device=logits.device)).to(logits.dtype)
    focal = sigmoid_focal_loss(logits, classes, alpha=alpha, gamma=gamma) * (labels != IGNORED).unsqueeze(-1)
    places = targets.positive.clamp(max=num_anchors - 1).unsqueeze(-1).expand(-1, -1, 4)
    box = (offsets.gather(1, places) - targets.offsets).abs() * real.unsqueeze(-1)
    return focal.sum() / num_positive + box.sum() / num_positive


def _stacked(tensors: Sequence[Tensor], filling: int) -> Tensor:
    """(M, longest, ...); at least one wide, so that no shape is empty."""
    longest = max([1, *(len(tensor) for tensor in tensors)])
    stacked = tensors[0].new_full((len(tensors), longest, *tensors[0].shape[1:]), filling)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[: len(tensor)] = tensor
    return stacked

"""RetinaNet's loss over a whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from nas.detection.targets import IGNORED, BatchTargets


def batch_loss(outputs: Mapping[str, Tensor], targets: BatchTargets, *, alpha: float, gamma: float) -> Tensor:
    """Sum of both losses of a head's outputs, `cls_logits` and `bbox_regression`, computed in single precision."""
    logits, offsets = outputs["cls_logits"].float(), outputs["bbox_regression"].float()
    focal, box = retinanet_loss(logits, offsets, targets, alpha=alpha, gamma=gamma)
    return focal + box


def retinanet_loss(
    logits: Tensor, offsets: Tensor, targets: BatchTargets, *, alpha: float = 0.25, gamma: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Focal loss and L1 box loss, each summed and divided by the number of positives in the batch.

    As in RetinaNet (arXiv 1708.02002); torchvision divides per image instead, then averages.

    Args:
        logits: (N, A, K) class logits.
        offsets: (N, A, 4) predicted box offsets.
        targets: of the batch, labels (N, A).
    """
    positive = targets.labels >= 0
    num_positive = positive.sum().clamp(min=1)
    considered = targets.labels != IGNORED
    classes = F.one_hot(targets.labels.clamp(min=0), logits.shape[-1]).to(logits.dtype) * positive.unsqueeze(-1)
    focal = sigmoid_focal_loss(logits, classes, alpha=alpha, gamma=gamma) * considered.unsqueeze(-1)
    box = F.l1_loss(offsets[positive], targets.offsets.to(offsets.dtype), reduction="sum")
    return focal.sum() / num_positive, box / num_positive

"""Boxes from a RetinaNet head's outputs, for a whole batch at once.

Shapes: N images, L levels, A_l anchors of a level, K classes, n candidates of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet
from torchvision.ops import batched_nms

from nas.detection.targets import BOX_CODER

Found = dict[str, Tensor]
"""`boxes` (n, 4), `scores` (n,) descending and `labels` (n,) of one image."""


def detections(
    detector: RetinaNet, logits: Tensor, offsets: Tensor, anchors: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
) -> list[Found]:
    """Result of torchvision's `RetinaNet.postprocess_detections`, without its loops over images; its tensors are
    on the CPU.

    Args:
        detector: has the thresholds and limits.
        logits: (N, A, K), A the anchors of all levels.
        offsets: (N, A, 4).
        anchors: per level, (A_l, 4).
        sizes: height and width of each image; boxes are clipped to it.
    """
    per_level = [len(level) for level in anchors]
    parts = [
        _level_candidates(detector, *level)
        for level in zip(logits.split(per_level, 1), offsets.split(per_level, 1), anchors, strict=True)
    ]
    boxes, scores, labels = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    boxes = _clipped(boxes, sizes)
    image, place = torch.where(scores > detector.score_thresh)
    boxes, scores, labels = boxes[image, place], scores[image, place], labels[image, place]
    # Doubles: torchvision moves the boxes of each group apart, of a large batch by more than floats can resolve.
    kept = batched_nms(boxes.double(), scores.double(), image * logits.shape[-1] + labels, detector.nms_thresh)
    image, boxes, scores, labels = (x[kept].cpu() for x in (image, boxes, scores, labels))
    results = []
    for index in range(len(sizes)):
        (own,) = torch.where(image == index)
        own = own[: detector.detections_per_img]
        results.append({"boxes": boxes[own], "scores": scores[own], "labels": labels[own]})
    return results


def _level_candidates(
    detector: RetinaNet, logits: Tensor, offsets: Tensor, anchors: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, n, 4), scores and labels (N, n) of the surest candidates of one level."""
    num_classes = logits.shape[-1]
    scores, places = logits.flatten(1).topk(min(detector.topk_candidates, logits[0].numel()), dim=1)
    anchor, labels = places // num_classes, places % num_classes
    chosen = offsets.gather(1, anchor.unsqueeze(-1).expand(-1, -1, 4))
    boxes = BOX_CODER.decode_single(chosen.flatten(0, 1), anchors[anchor].flatten(0, 1))
    return boxes.view_as(chosen), scores.sigmoid(), labels


def _clipped(boxes: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Boxes (N, n, 4) within their images."""
    limits = boxes.new_tensor([(width, height, width, height) for height, width in sizes])
    return boxes.clamp(min=0).minimum(limits.unsqueeze(1))

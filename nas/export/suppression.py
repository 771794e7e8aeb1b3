"""A whole detector with suppression inside, for ONNX: images in, boxes with scores and labels out.

Shapes: N images of H x W pixels, A_l anchors of a level, K classes, n candidates of an image, D detections of an image.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import RetinaNet
from torchvision.ops import batched_nms

from nas.detection.targets import BOX_CODER
from nas.export.graphs import DetectorGraph, Graph

SUPPRESSING_FILE = "detector_nms.onnx"
OUTPUTS = ("boxes", "scores", "labels", "count")


@torch.library.custom_op("nas_fpn::kept", mutates_args=())
def kept(boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, threshold: float, overlap: float) -> Tensor:
    """Candidates (N, n) that are surer than `threshold` and overlap no surer one of their class by more than `overlap`.

    It is one operation so that ONNX's own can stand for it (`kept_in_onnx`).

    Args:
        boxes: (N, n, 4).
        scores, labels: (N, n).
    """
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    for image in range(len(scores)):
        (sure,) = torch.where(scores[image] > threshold)
        own = batched_nms(boxes[image, sure].double(), scores[image, sure].double(), labels[image, sure], overlap)
        chosen[image, sure[own]] = True
    return chosen


@kept.register_fake
def _(boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, threshold: float, overlap: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def kept_in_onnx() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Translation of `kept` for `torch.onnx.export`: NonMaxSuppression with the candidates of each class apart."""
    import onnxscript

    op: Any = onnxscript.opset18

    def number(value: int) -> Any:
        return op.Constant(value_ints=[value])

    def translated(boxes: Any, scores: Any, labels: Any, num_classes: int, threshold: float, overlap: float) -> Any:
        classes = op.Constant(value_ints=list(range(num_classes)))
        is_class = op.Equal(op.Unsqueeze(labels, number(1)), op.Unsqueeze(classes, number(1)))
        zero, one = op.Constant(value_float=0.0), op.Constant(value_float=1.0)
        by_class = op.Where(is_class, op.Unsqueeze(scores, number(1)), zero)
        limits = op.Constant(value_floats=[overlap]), op.Constant(value_floats=[threshold])
        places = op.NonMaxSuppression(boxes, by_class, op.Shape(scores, start=1, end=2), *limits)
        image_and_candidate = op.Gather(places, op.Constant(value_ints=[0, 2]), axis=1)
        ones = op.Expand(one, op.Shape(image_and_candidate, start=0, end=1))
        none = op.Expand(zero, op.Shape(scores))
        return op.Greater(op.ScatterND(none, image_and_candidate, ones), zero)

    return {torch.ops.nas_fpn.kept.default: translated}


class SuppressingDetector(DetectorGraph):
    """As `DetectorGraph`, but with torchvision's choice of detections after it.

    Gives `boxes` (N, D, 4), x1 y1 x2 y2 in pixels, cut to the image, `scores` (N, D), best first, `labels` (N, D) from
    0 on, and `count` (N,): the first so many of each image's D are detections, what follows them has the score 0. D is
    the detector's most detections of an image, or all candidates where these are fewer.
    """

    def __init__(self, detector: RetinaNet) -> None:
        super().__init__(detector)
        self.threshold, self.overlap = detector.score_thresh, detector.nms_thresh
        self.candidates, self.most = detector.topk_candidates, detector.detections_per_img

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps, logits, offsets = self.outputs(images)
        parts, start = [], 0
        for level, x in enumerate(maps):
            anchors = self.anchors(images, x, level)
            size = anchors.shape[0]
            parts.append(self._candidates(logits.narrow(1, start, size), offsets.narrow(1, start, size), anchors))
            start = start + size
        boxes, scores, labels = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
        boxes = _cut(boxes, images)
        chosen = torch.ops.nas_fpn.kept(boxes, scores, labels, logits.shape[-1], self.threshold, self.overlap)
        best, places = torch.where(chosen, scores, 0.0).topk(min(self.most, scores.shape[1]), dim=1)
        return OrderedDict(
            boxes=boxes.gather(1, places.unsqueeze(-1).expand(-1, -1, 4)),
            scores=best,
            labels=labels.gather(1, places),
            count=(best > 0).sum(1),
        )

    def _candidates(self, logits: Tensor, offsets: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, n, 4), scores and labels (N, n) of the surest candidates of one level.

        There are as many at every size of image, as some runtimes ask for; those of a small map end with scores of 0.
        """
        num_classes = logits.shape[-1]
        flat = F.pad(logits.flatten(1), (0, self.candidates), value=-torch.inf)
        best, places = flat.topk(self.candidates, dim=1)
        labels = places % num_classes
        anchor = (places // num_classes).clamp(max=anchors.shape[0] - 1)
        chosen = offsets.gather(1, anchor.unsqueeze(-1).expand(-1, -1, 4))
        boxes = BOX_CODER.decode_single(chosen.flatten(0, 1), anchors[anchor].flatten(0, 1))
        return boxes.view_as(chosen), best.sigmoid(), labels


def _cut(boxes: Tensor, images: Tensor) -> Tensor:
    x, y = boxes[..., 0::2].clamp(0, images.shape[-1]), boxes[..., 1::2].clamp(0, images.shape[-2])
    return torch.stack((x, y), dim=-1).flatten(-2)


def suppressing_graph(detector: RetinaNet) -> Graph:
    top = detector.backbone.neck.out_levels[-1]
    return Graph(SuppressingDetector(detector).eval(), ("images",), OUTPUTS, (3,), (), top)


def detections_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Largest difference between detections and the nearest of the other side; infinite where a class differs.

    One in fifty may have none, since rounding decides between candidates that are equally sure. Boxes count relative to
    the largest number in them.

    Args:
        ours, theirs: tensors of `OUTPUTS`.
    """
    worst = 0.0
    for boxes, scores, labels, count, *others in zip(*ours, *theirs, strict=True):
        one = boxes[:count], scores[:count], labels[:count]
        other = tuple(tensor[: others[3]] for tensor in others[:3])
        if len(one[0]) or len(other[0]):
            worst = max(worst, _largest(one, other))
    return worst


def _largest(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    if not (len(one[0]) and len(other[0])):
        return math.inf
    scale = max(float(one[0].abs().max()), 1.0)
    differences = (one[0][:, None] - other[0][None]).abs().amax(-1) / scale
    differences = differences.maximum((one[1][:, None] - other[1][None]).abs())
    differences = torch.where(one[2][:, None] == other[2][None], differences, math.inf)
    nearest = [differences.amin(1), differences.amin(0)]
    return max(float(each.sort().values[: len(each) - len(each) // 50].max()) for each in nearest)

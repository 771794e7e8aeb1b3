"""COCO AP of a trained detector on a split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet

from nas.data.evaluate import Detections, coco_ap
from nas.data.letterboxed import Letterboxed
from nas.detection.learning import autocast, trained_part
from nas.detection.postprocess import Found, detections
from nas.proxy.config import ProxyConfig
from nas.proxy.inputs import Inputs


def score(
    detector: RetinaNet,
    inputs: Inputs,
    images: Letterboxed,
    anchors: list[Tensor],
    config: ProxyConfig,
    device: torch.device,
) -> dict[str, float]:
    """AP and its parts in percent, as `nas.data.evaluate.coco_ap` gives them; the detector stays as it was.

    Args:
        inputs: of the split, in the split's order.
        images: the split at the proxy's size.
        anchors: per level, (A_l, 4), at the proxy's size.
    """
    mode = detector.training
    detector.eval()
    forward = trained_part(detector, frozen=config.backbone.frozen)
    found: dict[int, Detections] = {}
    for start in range(0, len(inputs), config.eval_batch_size):
        indices = list(range(start, min(start + config.eval_batch_size, len(inputs))))
        with torch.inference_mode():
            with autocast(config.precision, device):
                outputs = forward(inputs.batch(indices, device))
            results = _detect(detector, outputs, anchors, [images.size_of(index) for index in indices], config)
        for index, result in zip(indices, results, strict=True):
            found[images.split.image_ids[index]] = images.detections(index, result)
    detector.train(mode)
    return coco_ap(images.split, found, scorer=config.scorer)


def _detect(
    detector: RetinaNet,
    outputs: Mapping[str, Tensor],
    anchors: list[Tensor],
    sizes: list[tuple[int, int]],
    config: ProxyConfig,
) -> list[Found]:
    """Threshold, top candidates per level, box decoding, NMS per class."""
    outputs = {name: output.float() for name, output in outputs.items()}
    if config.postprocess == "batch":
        return detections(detector, outputs["cls_logits"], outputs["bbox_regression"], anchors, sizes)
    per_level = [len(level) for level in anchors]
    split = {name: list(output.split(per_level, dim=1)) for name, output in outputs.items()}
    found: list[Found] = detector.postprocess_detections(split, [anchors] * len(sizes), sizes)
    return found

"""COCO AP of a trained detector on a split."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler
from torchvision.models.detection import FasterRCNN

from nas.data.evaluate import Detections, coco_ap
from nas.data.letterboxed import Letterboxed
from nas.detection.learning import autocast, trained_part
from nas.detection.postprocess import Found, detections
from nas.detection.two_stage import Detector, shown_detections, two_stage_part
from nas.proxy.config import ProxyConfig
from nas.proxy.inputs import Inputs


def score(
    detector: Detector,
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
    frozen = config.backbone.frozen
    part: nn.Module = (
        two_stage_part(detector, config.image_size, frozen=frozen)
        if isinstance(detector, FasterRCNN)
        else trained_part(detector, frozen=frozen)
    ).eval()
    found: dict[int, Detections] = {}
    order = list(BatchSampler(range(len(inputs)), config.eval_batch_size, drop_last=False))
    for indices, batch in zip(order, inputs.batches(order, device), strict=True):
        with torch.inference_mode():
            with autocast(config.precision, device):
                outputs = part(batch)
            results = _detect(detector, outputs, anchors, [images.size_of(index) for index in indices], config)
        for index, result in zip(indices, results, strict=True):
            found[images.split.image_ids[index]] = images.detections(index, result)
    detector.train(mode)
    return coco_ap(images.split, found, scorer=config.scorer)


def _detect(
    detector: Detector,
    outputs: Any,
    anchors: list[Tensor],
    sizes: list[tuple[int, int]],
    config: ProxyConfig,
) -> list[Found]:
    """Detections of a batch; of a RetinaNet's outputs: threshold, top candidates per level, box decoding, NMS per
    class."""
    if isinstance(detector, FasterRCNN):
        return [shown_detections(found, size) for found, size in zip(outputs, sizes, strict=True)]
    outputs = {name: output.float() for name, output in outputs.items()}
    if config.postprocess == "batch":
        return detections(detector, outputs["cls_logits"], outputs["bbox_regression"], anchors, sizes)
    per_level = [len(level) for level in anchors]
    split = {name: list(output.split(per_level, dim=1)) for name, output in outputs.items()}
    found: list[Found] = detector.postprocess_detections(split, [anchors] * len(sizes), sizes)
    return found

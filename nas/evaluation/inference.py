"""Detections in images, after one exit or several.

Shapes: N images, S the side of the square that images are padded to, A_l anchors of a level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections
from nas.data.letterboxed import Letterboxed
from nas.detection.anytime import AnytimeRetinaNet
from nas.detection.backbone import normalise
from nas.detection.detector import grid_anchors
from nas.detection.postprocess import Found, detections
from nas.detection.two_stage import FIRST_LABEL, Detector, shown_detections, two_stage_part

Exits = Sequence[int]
"""Repeats of the neck after which an anytime detector stops; one entry, of no meaning, for any other."""


def find_letterboxed(
    detector: Detector,
    split: CocoSplit,
    size: int,
    exits: Exits,
    batch_size: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[dict[int, Detections]]:
    """For every exit, image id -> detections, of images scaled and padded as in training here (`Letterboxed`).

    Whatever several exits share is computed once per batch.

    Args:
        detector: in evaluation mode, on the device to use.
        size: S.
        advance: is told after every batch how many images it had.
    """
    images = Letterboxed(split, size)
    found: list[dict[int, Detections]] = [{} for _ in exits]
    for start in range(0, len(images), batch_size):
        indices = range(start, min(start + batch_size, len(images)))
        pixels = torch.stack([images[index][0] for index in indices]).to(_device(detector))
        sizes = [images.size_of(index) for index in indices]
        with torch.inference_mode():
            batch = normalise(pixels, detector.backbone.body)
            for place, results in enumerate(_every_exit(detector, batch, size, sizes, exits)):
                for index, result in zip(indices, results, strict=True):
                    found[place][split.image_ids[index]] = images.detections(index, result)
        advance(len(indices))
    return found


def find_one_by_one(
    detector: Detector, split: CocoSplit, exits: Exits, advance: Callable[[int], None]
) -> list[dict[int, Detections]]:
    """As `find_letterboxed`, but images are scaled and padded by the detector's own forward pass, torchvision's, each
    by itself so that it does not matter which others are looked at."""
    found: list[dict[int, Detections]] = [{} for _ in exits]
    first = FIRST_LABEL if isinstance(detector, FasterRCNN) else 0
    for index, image_id in enumerate(split.image_ids):
        pixels = split[index][0].to(_device(detector)).float() / 255
        for place, repeats in enumerate(exits):
            if isinstance(detector, AnytimeRetinaNet):
                detector.exit_after = repeats
            with torch.inference_mode():
                result = detector([pixels])[0]
            boxes, scores, labels = (result[name].cpu() for name in ("boxes", "scores", "labels"))
            found[place][image_id] = Detections(boxes, scores, labels - first)
        advance(1)
    return found


def _every_exit(
    detector: Detector, batch: Tensor, size: int, sizes: list[tuple[int, int]], exits: Exits
) -> Iterator[list[Found]]:
    """Detections in a batch after each exit.

    Args:
        sizes: height and width that each image covers of its square.
    """
    if isinstance(detector, FasterRCNN):
        part = two_stage_part(detector, size, frozen=False).eval()
        yield [shown_detections(found, shown) for found, shown in zip(part(batch), sizes, strict=True)]
        return
    for maps, head in _exits(detector, batch, exits):
        yield _detect(detector, head, maps, size, sizes)


def _exits(detector: RetinaNet, batch: Tensor, exits: Exits) -> list[tuple[list[Tensor], nn.Module]]:
    """Maps and the head that takes them, for every exit."""
    if not isinstance(detector, AnytimeRetinaNet):
        return [(list(detector.backbone(batch).values()), detector.head)]
    pyramids = detector.backbone.neck.every_repeat(detector.backbone.body(batch), max(exits))
    return [(list(pyramids[repeats - 1].values()), detector.head.heads[repeats - 1]) for repeats in exits]


def _detect(
    detector: RetinaNet, head: nn.Module, maps: list[Tensor], size: int, sizes: list[tuple[int, int]]
) -> list[Found]:
    outputs = {name: output.float() for name, output in head(maps).items()}
    shapes = [(x.shape[-2], x.shape[-1]) for x in maps]
    anchors = [level.to(maps[0].device) for level in grid_anchors(detector.anchor_generator, shapes, (size, size))]
    return detections(detector, outputs["cls_logits"], outputs["bbox_regression"], anchors, sizes)


def _device(detector: Detector) -> torch.device:
    return next(detector.parameters()).device

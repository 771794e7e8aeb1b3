"""AP of a detector in training, each process looking at its share of the images."""

from __future__ import annotations

from typing import Any

from torch import distributed as dist

from nas.data.coco import CocoSplit
from nas.data.evaluate import coco_ap
from nas.detection.learning import autocast
from nas.detection.two_stage import Detector
from nas.evaluation.evaluate import choose_exits
from nas.evaluation.inference import find_letterboxed
from nas.training.config import TrainConfig


def validate(detector: Detector, split: CocoSplit, config: TrainConfig, rank: int, world: int) -> dict[str, float]:
    """AP and its parts in percent, after the last exit; empty in all processes but the first. The detector is left in
    evaluation mode.
    """
    detector.eval()
    own = split.subset(split.image_ids[rank::world])
    exits = choose_exits(detector, None, every=False)
    with autocast(config.precision, next(detector.parameters()).device):
        (found,) = find_letterboxed(detector, own, config.image_size, exits, config.eval_batch_size)
    every: list[Any] = [found]
    if world > 1:
        every = [None] * world
        dist.all_gather_object(every, found)
    if rank:
        return {}
    return coco_ap(split, {image: one for part in every for image, one in part.items()}, scorer=config.scorer)

"""One candidate trained the plain way: what the proxy task is compared with.

A process of its own, torchvision's RetinaNet with its transform, per-image loss and post-processing, PyTorch's default
loaders, a backbone that is trained, pycocotools. Data, neck, head, steps, batch size and optimizer are those of the
proxy task, but for the backbone's learning rate, which is a tenth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.signs import search
from nas.data.coco import CocoSplit, open_splits
from nas.data.evaluate import Detections, coco_ap
from nas.detection.backbone import build_backbone
from nas.detection.detector import build_detector
from nas.proxy.candidate import candidate_neck
from nas.proxy.training import lr_share
from nas.search.config import data_of
from search_space import known_genotype

BACKBONE_LR_SHARE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("neck")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=search().proxy.steps)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    config = search()
    proxy = replace(config.proxy, steps=arguments.steps)
    splits = open_splits(data_of(config))
    backbone = build_backbone(replace(proxy.backbone, frozen=False))
    neck = candidate_neck(known_genotype(arguments.neck), backbone.channels, backbone.levels, proxy.neck)
    detector = build_detector(backbone, neck, len(splits.train.classes), proxy.head, proxy.image_size)
    start = time.perf_counter()
    loss = train(detector, splits.train, proxy)
    trained = time.perf_counter()
    metrics = evaluate(detector, splits.reward)
    seconds = {"train_seconds": trained - start, "eval_seconds": time.perf_counter() - trained}
    json.dump({**metrics, **seconds, "loss": loss}, sys.stdout)


def train(detector: Any, split: CocoSplit, proxy: Any) -> float:
    """Returns the loss of the last step."""
    body = {id(parameter) for parameter in detector.backbone.body.parameters()}
    groups = [
        {"params": [p for p in detector.parameters() if id(p) not in body], "lr": proxy.optimizer.lr},
        {"params": list(detector.backbone.body.parameters()), "lr": BACKBONE_LR_SHARE * proxy.optimizer.lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=proxy.optimizer.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_share(proxy.optimizer, step, proxy.steps))
    loader = DataLoader(split, proxy.batch_size, shuffle=True, drop_last=True, collate_fn=collate)
    detector.train()
    loss = torch.tensor(0.0)
    for images, targets in islice(chain.from_iterable(repeat(loader)), proxy.steps):
        loss = sum(detector(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), proxy.optimizer.clip_norm)
        optimizer.step()
        schedule.step()
    return loss.item()


@torch.no_grad()
def evaluate(detector: Any, split: CocoSplit) -> dict[str, float]:
    detector.eval()
    found = {}
    for index, (images, _) in enumerate(DataLoader(split, batch_size=1, collate_fn=collate)):
        (result,) = detector(images)
        found[split.image_ids[index]] = Detections(result["boxes"], result["scores"], result["labels"])
    return coco_ap(split, found)


def collate(samples: list[tuple[Tensor, dict[str, Any]]]) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Images as torchvision's detectors take them, with values from 0 to 1."""
    return [image.float() / 255 for image, _ in samples], [dict(target) for _, target in samples]


if __name__ == "__main__":
    main()

"""AP of a detector that finds just what there is to find."""

from __future__ import annotations

import pytest
import torch

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections, coco_ap

SCORERS = ("pycocotools", "faster_coco_eval")


def assert_perfect(split: CocoSplit) -> None:
    """Every class that can be scored has an AP of 100 at every size, by both scorers; targets are what is scored."""
    found = {}
    for index, image in enumerate(split.image_ids):
        truth = [item for item in split.coco.imgToAnns.get(image, []) if not item.get("iscrowd", 0)]
        boxes = torch.tensor([item["bbox"] for item in truth], dtype=torch.float64).reshape(len(truth), 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([split.category_ids.index(item["category_id"]) for item in truth])
        found[image] = Detections(boxes, torch.ones(len(truth)), labels)
        info, target = split.coco.imgs[image], split.target(index)
        inside = boxes.clamp(min=0).minimum(torch.tensor([info["width"], info["height"]] * 2))
        assert target["boxes"].tolist() == inside.float().tolist()
        assert (target["boxes"][:, 2:] > target["boxes"][:, :2]).all()
        assert target["labels"].tolist() == labels.tolist()
    first, second = (coco_ap(split, found, scorer=scorer) for scorer in SCORERS)
    assert first == pytest.approx(second, abs=1e-9)
    assert "AP" in first
    assert first == pytest.approx(dict.fromkeys(first, 100), abs=1e-9)

"""AP of a detector that finds just what there is to find."""

from __future__ import annotations

import pytest
import torch

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections, coco_ap

SCORERS = ("pycocotools", "faster_coco_eval")


def assert_perfect(split: CocoSplit) -> None:
    """Every class that can be scored has an AP of 100 at every size, by both scorers."""
    targets = [split.target(index) for index in range(len(split))]
    found = {
        target["image_id"]: Detections(target["boxes"], torch.ones(len(target["labels"])), target["labels"])
        for target in targets
    }
    first, second = (coco_ap(split, found, scorer=scorer) for scorer in SCORERS)
    assert first == pytest.approx(second, abs=1e-9)
    assert "AP" in first
    assert first == pytest.approx(dict.fromkeys(first, 100), abs=1e-9)

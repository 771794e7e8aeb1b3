"""A small untrained detector that finds much in any image."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.saved import DetectorSpec, build_from_spec, save_detector
from necks import build_neck
from necks.exported import neck_to_dict

SIDE = 128
IDS = {17: "dog", 3: "cat"}
"""Category ids, not in their order."""


def spec_of(anytime: bool) -> DetectorSpec:
    neck = build_neck("nas_fpn" if anytime else "fpn", in_channels=(128, 256, 512), out_channels=16, repeats=2)
    return DetectorSpec(
        backbone=BackboneConfig(name="resnet10"),
        neck=neck_to_dict(neck),
        head=HeadConfig(convs=1, octaves=1, score_threshold=0.2, max_detections=30),
        image_size=SIDE,
        classes=tuple(IDS.values()),
        category_ids=tuple(IDS),
        anytime=anytime,
    )


def save_busy_detector(directory: Path, *, anytime: bool = False) -> None:
    torch.manual_seed(3)
    spec = spec_of(anytime)
    detector = build_from_spec(spec)
    for name, value in detector.head.named_parameters():
        if "cls_logits" in name:
            torch.nn.init.normal_(value, std=0.05 if value.dim() > 1 else 0.0)
    save_detector(detector.state_dict(), spec, directory)

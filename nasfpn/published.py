"""Published figures of NAS-FPN and its control, and what the same detectors cost as they are built here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.cost import Cost, detector_cost
from nas.detection.detector import build_detector
from necks import build_neck

CLASSES = 90
"""Classes of COCO as the papers count them: by its category ids."""


@dataclass(frozen=True)
class Published:
    """A detector of the literature.

    Args:
        params, macs: in millions and billions (multiply-adds), the head included.
        ap: on COCO test-dev.
        experiment: function of `experiments.coco` that trains it; empty if there is none.

    Sources: EfficientDet (arXiv 1911.09070) as published at CVPR 2020, and for the first entry the model zoo of
    tensorflow/tpu, whose parameters and multiply-adds have one more digit.
    """

    label: str
    backbone: str
    neck: str
    repeats: int
    channels: int
    size: int
    params: float
    macs: float
    ap: float
    experiment: str = ""


PUBLISHED = (
    Published("R-50 NAS-FPN 7@256", "resnet50", "nas_fpn", 7, 256, 640, 60.3, 140.6, 39.9, "nas_fpn"),
    Published("R-50 NAS-FPN 7@256", "resnet50", "nas_fpn", 7, 256, 1024, 60, 360, 44.2, "nas_fpn_1024"),
    Published("R-50 NAS-FPN 7@256", "resnet50", "nas_fpn", 7, 256, 1280, 60, 563, 44.8, "nas_fpn_1280"),
    Published("R-50 NAS-FPN 7@384", "resnet50", "nas_fpn", 7, 384, 1280, 104, 1043, 45.4, "nas_fpn_384"),
    Published("RetinaNet R-50 FPN", "resnet50", "fpn", 1, 256, 640, 34, 97, 37.0, "retinanet"),
    Published("RetinaNet R-101 FPN", "resnet101", "fpn", 1, 256, 640, 53, 127, 37.9, "retinanet_101"),
    Published("RetinaNet R-50 FPN", "resnet50", "fpn", 1, 256, 1024, 34, 248, 40.1),
    Published("RetinaNet R-101 FPN", "resnet101", "fpn", 1, 256, 1024, 53, 326, 41.1),
)


@cache
def built_cost(entry: Published) -> Cost:
    """Parameters and multiply-adds of the detector for one square image."""
    backbone = build_backbone(BackboneConfig(name=entry.backbone))
    neck = build_neck(entry.neck, in_channels=backbone.channels, out_channels=entry.channels, repeats=entry.repeats)
    detector = build_detector(backbone, neck, CLASSES, image_size=entry.size)
    return detector_cost(detector, (entry.size, entry.size))


def deviation(built: float, published: float) -> float:
    """Share by which what is built differs from what was published."""
    return built / published - 1

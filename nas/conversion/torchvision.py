"""torchvision's RetinaNet (`retinanet_resnet50_fpn`, `retinanet_resnet50_fpn_v2`) around any of its ResNets."""

from __future__ import annotations

from nas.conversion.parts import (
    Categories,
    ConversionError,
    State,
    check_boxes,
    chosen_classes,
    count,
    needed,
    outputs_per_anchor,
    resnet_of,
)
from nas.conversion.plan import CHANNELS, Plan
from nas.detection.config import BackboneConfig, HeadConfig
from necks import build_neck
from necks.reference.names import Source, Sources

BODY, FPN, HEAD = "backbone.body.", "backbone.fpn.", "head."
CLASSES, BOXES = f"{HEAD}classification_head", f"{HEAD}regression_head"
MAX_DETECTIONS = 300
ADVICE = "take the state dict of torchvision.models.detection.retinanet_resnet50_fpn, or name another --source"


def torchvision_plan(state: State, categories: Categories) -> Plan:
    """
    Raises:
        ConversionError: for other detectors, or other categories.
    """
    logits = needed(state, f"{CLASSES}.cls_logits.weight", ADVICE)
    check_boxes(needed(state, f"{BOXES}.bbox_reg.weight", ADVICE), f"{BOXES}.bbox_reg")
    p6 = needed(state, f"{FPN}extra_blocks.p6.weight", ADVICE)
    backbone = resnet_of(state, BODY)
    width = logits.shape[1]
    neck = build_neck(
        "fpn@torchvision",
        in_channels=CHANNELS[backbone],
        out_channels=width,
        extra="p6p7_p5" if p6.shape[1] == width else "p6p7_c5",
        norm="batch" if f"{FPN}inner_blocks.0.1.weight" in state else None,
    )
    norm = f"{CLASSES}.conv.0.1.weight" in state
    convs = count(state, rf"{CLASSES}\.conv\.(\d+)\.0\.") or (count(state, rf"{CLASSES}\.conv\.(\d+)\.") + 1) // 2
    classes = outputs_per_anchor(logits, f"{CLASSES}.cls_logits")
    return Plan(
        backbone=BackboneConfig(name=backbone),
        neck=neck,
        head=HeadConfig(convs=convs, norm=norm, max_detections=MAX_DETECTIONS),
        convention="torchvision",
        body_prefix=BODY,
        neck_prefix=FPN,
        neck_source="torchvision",
        head_sources=_head(convs, norm, _rows(classes, categories), classes),
    )


def _rows(classes: int, categories: Categories) -> tuple[int, ...]:
    """Output of each category. torchvision's own training program takes category ids as labels, gaps included.

    Raises:
        ConversionError: if that is not so, and there are not as many outputs as categories.
    """
    if classes == max(categories.ids, default=-1) + 1:
        return categories.ids
    if classes == len(categories.ids):
        return tuple(range(classes))
    raise ConversionError(
        f"the detector has {classes} outputs per anchor, the annotations {len(categories.ids)} categories with ids up "
        f"to {max(categories.ids, default=None)}; there must be as many outputs as categories, or one for every id "
        "from 0 to the largest"
    )


def _head(convs: int, norm: bool, rows: tuple[int, ...], classes: int) -> Sources:
    choose = chosen_classes(rows, classes)
    sources: Sources = {}
    for part in ("weight", "bias"):
        sources[f"{CLASSES}.cls_logits.{part}"] = Source((f"{CLASSES}.cls_logits.{part}",), choose)
        sources[f"{BOXES}.bbox_reg.{part}"] = Source((f"{BOXES}.bbox_reg.{part}",))
        for branch in (CLASSES, BOXES):
            for index in range(convs):
                new = f"{branch}.conv.{index}"
                if norm:
                    sources[f"{new}.1.{part}"] = Source((f"{new}.1.{part}",))
                if not norm or part == "weight":
                    before_013 = f"{branch}.conv.{2 * index}.{part}"
                    sources[f"{new}.0.{part}"] = Source((f"{new}.0.{part}", before_013))
    return sources

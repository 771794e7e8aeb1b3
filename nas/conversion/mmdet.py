"""mmdetection's RetinaNet: ResNet, FPN or PAFPN or NASFPN, RetinaHead."""

from __future__ import annotations

from typing import Any

from nas.conversion.parts import (
    Categories,
    ConversionError,
    State,
    check_boxes,
    count,
    needed,
    outputs_per_anchor,
    resnet_of,
)
from nas.conversion.plan import CHANNELS, Plan
from nas.detection.config import BackboneConfig, HeadConfig
from necks import Neck, build_neck
from necks.reference.names import Source, Sources

BODY, NECK, HEAD = "backbone.", "neck.", "bbox_head."
LEVELS = (3, 4, 5, 6, 7)
NORMS = {"bn": "batch", "gn": "group"}
ADVICE = "take the state dict of an mmdetection RetinaNet with RetinaHead, or name another --source"


def mmdet_plan(state: State, categories: Categories, *, extra_relu: bool = False) -> Plan:
    """
    Args:
        extra_relu: whether the neck was configured with `relu_before_extra_convs`, which weights do not show.

    Raises:
        ConversionError: for other detectors, or another number of categories.
    """
    _check_head(state)
    logits = needed(state, f"{HEAD}retina_cls.weight", ADVICE)
    check_boxes(needed(state, f"{HEAD}retina_reg.weight", ADVICE), f"{HEAD}retina_reg")
    classes = outputs_per_anchor(logits, f"{HEAD}retina_cls")
    if classes != len(categories.ids):
        raise ConversionError(
            f"the detector has {classes} classes, but the annotations have {len(categories.ids)} categories; give "
            "an annotation file with those that it was trained on"
        )
    backbone = resnet_of(state, BODY)
    convs = count(state, rf"{HEAD}cls_convs\.(\d+)\.conv\.")
    norm = f"{HEAD}cls_convs.0.gn.weight" in state
    return Plan(
        backbone=BackboneConfig(name=backbone),
        neck=_neck(state, CHANNELS[backbone], extra_relu),
        head=HeadConfig(convs=convs, norm=norm),
        convention="mmdet",
        body_prefix=BODY,
        neck_prefix=NECK,
        neck_source="mmdet",
        head_sources=_head(convs, norm),
    )


def _check_head(state: State) -> None:
    """
    Raises:
        ConversionError: for heads that are no plain RetinaHead, with what they are.
    """
    if f"{HEAD}cls_convs.0.0.conv.weight" in state:
        raise ConversionError(
            "the head is RetinaSepBNHead, which has batch norms of its own at every level; heads here have none "
            "(RetinaHead), so it cannot be converted. Its neck can: "
            "necks.reference.load_reference(neck, state, 'mmdet')"
        )
    if f"{HEAD}cls_convs.0.bn.weight" in state:
        raise ConversionError("the head has batch norms; heads here have none, or GroupNorm (norm_cfg type='GN')")
    heads = sorted({name.split(".")[0] for name in state if name.split(".")[0].endswith("_head")})
    if heads not in ([], ["bbox_head"]):
        raise ConversionError(f"the detector has {', '.join(heads)}; only one-stage RetinaNets can be converted")


def _neck(state: State, in_channels: tuple[int, ...], extra_relu: bool) -> Neck:
    """
    Raises:
        ConversionError: for necks other than FPN, PAFPN and NASFPN on C3..C5.
    """
    laterals = count(state, rf"{NECK}lateral_convs\.(\d+)\.")
    if laterals != len(in_channels):
        raise ConversionError(
            f"the neck has {laterals} lateral_convs; those of FPN, PAFPN and NASFPN with start_level=1 are "
            f"{len(in_channels)} (C3..C5)"
        )
    lateral = needed(state, f"{NECK}lateral_convs.0.conv.weight", ADVICE)
    options: dict[str, Any] = {"in_channels": in_channels, "out_channels": len(lateral), "out_levels": LEVELS}
    stages = count(state, rf"{NECK}fpn_stages\.(\d+)\.")
    if stages:
        norm = _norm(state, f"{NECK}lateral_convs.0")
        return build_neck("nas_fpn@mmdet", repeats=stages, norm=norm, **options)
    norm = _norm(state, f"{NECK}fpn_convs.0")
    on_lateral = norm is None or _norm(state, f"{NECK}lateral_convs.0") is not None
    return build_neck(
        "pafpn@mmdet" if f"{NECK}pafpn_convs.0.conv.weight" in state else "fpn@mmdet",
        extra=_extra(state, in_channels[-1]),
        extra_relu=extra_relu,
        norm=norm,
        norm_on_lateral=on_lateral,
        **options,
    )


def _norm(state: State, unit: str) -> str | None:
    return next((norm for name, norm in NORMS.items() if f"{unit}.{name}.weight" in state), None)


def _extra(state: State, c5: int) -> str:
    """How P6 and P7 are made. `on_lateral`, which nothing here has, looks like `on_output`; it is rare."""
    p6 = state.get(f"{NECK}fpn_convs.3.conv.weight")
    if p6 is None:
        return "max_pool"
    return "p6p7_c5" if p6.shape[1] == c5 else "p6p7_p5"


def _head(convs: int, norm: bool) -> Sources:
    """Anchors and classes have our order there, and boxes our coding (x, y, log w, log h; standard deviations of 1).

    A box larger than its anchor by more than 1000 / 16 is cut off by both; one smaller by as much only there.
    """
    sources: Sources = {}
    branches = (("classification_head", "cls_convs", "cls_logits"), ("regression_head", "reg_convs", "bbox_reg"))
    for part in ("weight", "bias"):
        for ours, convolutions, last in branches:
            theirs = "retina_cls" if last == "cls_logits" else "retina_reg"
            sources[f"head.{ours}.{last}.{part}"] = Source((f"{HEAD}{theirs}.{part}",))
            for index in range(convs):
                unit, there = f"head.{ours}.conv.{index}", f"{HEAD}{convolutions}.{index}"
                if norm:
                    sources[f"{unit}.1.{part}"] = Source((f"{there}.gn.{part}",))
                if not norm or part == "weight":
                    sources[f"{unit}.0.{part}"] = Source((f"{there}.conv.{part}",))
    return sources

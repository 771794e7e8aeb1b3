"""A public detector's state dict as a saved detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchvision.models.detection import RetinaNet

from nas.conversion.effdet import effdet_plan
from nas.conversion.mmdet import mmdet_plan
from nas.conversion.parts import OUR_EPS, Categories, ConversionError, State, with_norm_eps
from nas.conversion.plan import Plan
from nas.conversion.torchvision import torchvision_plan
from nas.data.config import DataError
from nas.data.instances import read_instances
from nas.detection.checkpoint import state_dict_of
from nas.detection.saved import DetectorSpec, build_from_spec
from necks.exported import neck_to_dict
from necks.reference import SOURCES, WeightsError
from necks.reference.load import load_strictly
from necks.reference.names import Sources, moved, same_tail

DETECTOR_SOURCES = ("mmdet", "torchvision", "effdet")


def convert(
    content: Mapping[str, Any],
    source: str,
    categories: Categories,
    image_size: int,
    *,
    norm_eps: float = OUR_EPS,
    extra_relu: bool = False,
) -> tuple[RetinaNet, DetectorSpec]:
    """The detector with a public implementation's weights, in evaluation mode, and what it is made of.

    Args:
        content: as `nas.detection.checkpoint.read_checkpoint` gives it.
        source: one of `DETECTOR_SOURCES`.
        categories: in the order of its outputs.
        norm_eps: of the backbone's batch norms there; torchvision's first COCO weights have 0.
        extra_relu: for mmdetection's `relu_before_extra_convs`.

    Raises:
        ConversionError: if the detector has parts that none here has, with what differs.
        CheckpointError: if there is no state dict.
    """
    state = state_dict_of(content, "this file")
    _check_recorded(content, categories)
    if extra_relu and source != "mmdet":
        raise ConversionError(f"relu_before_extra_convs is an option of mmdetection's necks, not of {source}'s")
    try:
        plan = _plan(state, source, categories, extra_relu)
        spec = DetectorSpec(
            backbone=plan.backbone,
            neck=neck_to_dict(plan.neck),
            head=plan.head,
            image_size=image_size,
            classes=categories.names,
            category_ids=categories.ids,
            convention=plan.convention,
        )
        detector = build_from_spec(spec)
        load_strictly(
            detector,
            _sources(detector, plan),
            with_norm_eps(state, plan.body_prefix, norm_eps),
            f"that of a {source} RetinaNet ({plan.backbone.name}, {type(plan.neck).__name__})",
        )
    except WeightsError as error:
        raise ConversionError(str(error)) from error
    return detector.eval(), spec


def read_categories(annotations: Path, source: str) -> Categories:
    """Categories of a COCO file in the order in which `source` numbers them: mmdetection goes by their order in the
    file, all others by their ids.

    Raises:
        DataError: if the file cannot be read or has no categories, or they repeat an id.
    """
    content, _ = read_instances(annotations)
    try:
        found = [(int(entry["id"]), str(entry["name"])) for entry in content["categories"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{annotations} has malformed categories ({error!r}); each needs an id and a name") from error
    if not found or len({key for key, _ in found}) < len(found):
        raise DataError(f"{annotations} must have categories, each with an id of its own, got {found[:5]}")
    ids, names = zip(*(found if source == "mmdet" else sorted(found)), strict=True)
    return Categories(ids, names)


def _plan(state: State, source: str, categories: Categories, extra_relu: bool) -> Plan:
    if source == "mmdet":
        return mmdet_plan(state, categories, extra_relu=extra_relu)
    if source == "torchvision":
        return torchvision_plan(state, categories)
    if source == "effdet":
        return effdet_plan(state, categories)
    raise ConversionError(f"unknown source {source!r}; known are {', '.join(DETECTOR_SOURCES)}")


def _sources(detector: RetinaNet, plan: Plan) -> Sources:
    body = same_tail(detector.backbone.body, {"body.layers": (plan.body_prefix.rstrip("."),)})
    neck = SOURCES[plan.neck_source](detector.backbone.neck)
    return {
        **moved(body, "backbone.body.", ""),
        **moved(neck, "backbone.neck.", plan.neck_prefix),
        **plan.head_sources,
    }


def _check_recorded(content: Mapping[str, Any], categories: Categories) -> None:
    """Check the metadata that mmdetection keeps beside the weights.

    Raises:
        ConversionError: if the classes have other names or another order, or the ResNet is of Caffe's kind.
    """
    meta = content.get("meta")
    if not isinstance(meta, Mapping):
        return
    described = str(meta.get("config") or meta.get("cfg") or "")
    if "style='caffe'" in described or 'style="caffe"' in described:
        raise ConversionError(
            "the backbone has style='caffe' (strides and colours of Caffe's ResNets); only style='pytorch' can be "
            "converted"
        )
    inner = meta.get("dataset_meta")
    names = meta.get("CLASSES") or (
        inner.get("CLASSES") or inner.get("classes") if isinstance(inner, Mapping) else None
    )
    if isinstance(names, list | tuple) and tuple(map(str, names)) != categories.names:
        raise ConversionError(
            f"the checkpoint names its classes {list(names)[:8]}, the annotations {list(categories.names)[:8]}; give "
            "an annotation file with the same names in the same order"
        )

"""Detectors as plain files: their description as JSON, weights as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from nas.configuration import from_dict, to_dict
from nas.detection.anytime import build_anytime_detector
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig, HeadConfig, TwoStageConfig
from nas.detection.conventions import OWN, ConventionName, find_convention
from nas.detection.detector import build_detector
from nas.detection.two_stage import Detector, build_faster_rcnn
from nas.errors import UserError
from necks.exported import DIGEST, neck_from_dict
from necks.files import read_tensors, write_tensors
from search_space.files import is_there, read_json

DETECTOR_FILE = "detector.json"
WEIGHTS_FILE = "detector.safetensors"
FORMAT_VERSION = 1
MAX_IMAGE_SIZE = 2**14
"""Longer side of images in pixels; anchors of a larger one would take gigabytes."""


class DetectorError(UserError):
    """Files that are no detector, or weights of another one; the message says what was found and what to do."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DetectorSpec:
    """All that a detector is built from but its weights.

    Args:
        backbone: its `weights` and `frozen` are left out of the files.
        neck: as `necks.exported.neck_to_dict` gives it.
        image_size: images are scaled so that the longer side has this many pixels.
        classes: names, in the order of the labels.
        category_ids: of the data set that it was trained on, in the same order.
        anytime: whether it has a head after every repeat of the neck.
        convention: whose anchors and norms the head has; files from before there was a choice leave it out.
        two_stage: of a Faster R-CNN, which has no use for `head`; None for a RetinaNet, whose files leave it out.
    """

    backbone: BackboneConfig
    neck: dict[str, Any]
    head: HeadConfig
    image_size: Annotated[StrictInt, Field(ge=1, le=MAX_IMAGE_SIZE)]
    classes: tuple[StrictStr, ...] = Field(min_length=1)
    category_ids: tuple[StrictInt, ...]
    anytime: StrictBool = False
    convention: ConventionName = OWN
    two_stage: TwoStageConfig | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.anytime and self.convention != OWN:
            raise ValueError(f"anytime detectors have the convention {OWN!r}, got {self.convention!r}")
        if self.two_stage is not None and (self.anytime or self.convention != OWN):
            raise ValueError(f"a detector with two_stage is not anytime and has the convention {OWN!r}")
        if len(set(self.category_ids)) != len(self.classes) or len(self.category_ids) != len(self.classes):
            raise ValueError(
                f"each of the {len(self.classes)} classes needs a category id of its own, got {self.category_ids!r:.80}"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = to_dict(replace(self, backbone=replace(self.backbone, weights="none", frozen=False)))
        if self.two_stage is None:
            del plain["two_stage"]
        return {"format": FORMAT_VERSION, **plain, "neck": dict(self.neck)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DetectorSpec:
        """Read what `to_dict` gave.

        Raises:
            DetectorError: for another format, what is missing, unknown or cannot be, or a backbone that would read
                weights from elsewhere.
        """
        fields = {name: value for name, value in data.items() if name != DIGEST}
        if (version := fields.pop("format", None)) != FORMAT_VERSION:
            raise DetectorError(f"format {version!r}; this version reads format {FORMAT_VERSION}")
        try:
            find_convention(fields.get("convention", OWN))
            spec = from_dict(cls, fields)
        except ValueError as error:
            raise DetectorError(f"no description of a detector: {error}") from error
        if (spec.backbone.weights, spec.backbone.frozen) != ("none", False):
            raise DetectorError(
                "the backbone's weights are in the file beside this one: backbone.weights must be 'none' and "
                f"backbone.frozen false, got {spec.backbone.weights!r:.80} and {spec.backbone.frozen}"
            )
        return spec


def build_from_spec(spec: DetectorSpec) -> Detector:
    """The detector with fresh weights, those that `spec.backbone` names included.

    Raises:
        DetectorError: if the parts do not fit each other.
        BackboneError: as `build_backbone`.
    """
    build = build_anytime_detector if spec.anytime else partial(build_detector, convention=spec.convention)
    try:
        neck = neck_from_dict(dict(spec.neck))
        parts = build_backbone(spec.backbone), neck, len(spec.classes)
        if spec.two_stage is not None:
            return build_faster_rcnn(*parts, spec.two_stage, spec.image_size)
        return build(*parts, spec.head, spec.image_size)
    except ValueError as error:
        raise DetectorError(str(error)) from error


def save_detector(weights: Mapping[str, Tensor], spec: DetectorSpec, directory: Path) -> None:
    """Write `detector.json` and `detector.safetensors`.

    Args:
        weights: the state dict of a detector that `build_from_spec` made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    digest = write_tensors(directory / WEIGHTS_FILE, weights)
    text = json.dumps({**spec.to_dict(), DIGEST: digest}, indent=2) + "\n"
    (directory / DETECTOR_FILE).write_text(text, encoding="utf-8")


def load_detector(directory: Path) -> tuple[Detector, DetectorSpec]:
    """Load a detector that `save_detector` wrote, with its weights, in evaluation mode, on the CPU.

    Memory is allocated only after the weights were found.

    Raises:
        DetectorError: if a file is missing or damaged, or the weights belong to another detector or are not finite.
    """
    spec, digest = _read(directory)
    path = directory / DETECTOR_FILE
    try:
        with torch.device("meta"):
            like = build_from_spec(spec).state_dict()
    except (UserError, RuntimeError) as error:
        raise DetectorError(f"{path}: {error}") from error
    weights = read_tensors(directory / WEIGHTS_FILE, DetectorError, like=like, digest=digest, owner="detector")
    detector = build_from_spec(spec)
    detector.load_state_dict(weights)
    return detector.eval(), spec


def read_spec(directory: Path) -> DetectorSpec:
    """
    Raises:
        DetectorError: as `load_detector`.
    """
    return _read(directory)[0]


def _read(directory: Path) -> tuple[DetectorSpec, str | None]:
    """The description, and the SHA-256 of the weights' file where it says that."""
    missing = [name for name in (DETECTOR_FILE, WEIGHTS_FILE) if not is_there(directory / name)]
    if missing:
        raise DetectorError(f"{directory} is not a saved detector: {', '.join(missing)} missing; see nasfpn train")
    path = directory / DETECTOR_FILE
    data = read_json(path, DetectorError)
    try:
        return DetectorSpec.from_dict(data), str(data[DIGEST]) if DIGEST in data else None
    except DetectorError as error:
        raise DetectorError(f"{path}: {error}") from error

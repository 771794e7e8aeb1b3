"""A detector as plain files: what it is made of as JSON, weights as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models.detection import RetinaNet

from nas.configuration import ConfigError, from_dict, to_dict
from nas.detection.anytime import build_anytime_detector
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.conventions import OWN, ConventionName, find_convention
from nas.detection.detector import build_detector
from nas.errors import UserError
from necks.exported import neck_from_dict
from necks.finite import WeightsNotFiniteError, require_finite

DETECTOR_FILE = "detector.json"
WEIGHTS_FILE = "detector.safetensors"
FORMAT_VERSION = 1

SHOWN_NAMES = 8


class DetectorError(UserError):
    """Files that are no detector, or weights of another one; the message says what was found and what to do."""


@dataclass(frozen=True, kw_only=True)
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
    """

    backbone: BackboneConfig
    neck: Mapping[str, Any]
    head: HeadConfig
    image_size: int
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    anytime: bool = False
    convention: ConventionName = OWN

    def __post_init__(self) -> None:
        if self.anytime and self.convention != OWN:
            raise DetectorError(f"anytime detectors have the convention {OWN!r}, got {self.convention!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "format": FORMAT_VERSION,
            "backbone": to_dict(replace(self.backbone, weights="none", frozen=False)),
            "neck": dict(self.neck),
            "head": to_dict(self.head),
            "image_size": self.image_size,
            "classes": list(self.classes),
            "category_ids": list(self.category_ids),
            "anytime": self.anytime,
            "convention": self.convention,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DetectorSpec:
        """Read what `to_dict` gave.

        Raises:
            DetectorError: for another format, or what is missing or cannot be.
        """
        if data.get("format") != FORMAT_VERSION:
            raise DetectorError(f"format {data.get('format')!r}; this version reads format {FORMAT_VERSION}")
        try:
            return cls(
                backbone=from_dict(BackboneConfig, data["backbone"]),
                neck=dict(data["neck"]),
                head=from_dict(HeadConfig, data["head"]),
                image_size=int(data["image_size"]),
                classes=tuple(map(str, data["classes"])),
                category_ids=tuple(map(int, data["category_ids"])),
                anytime=bool(data["anytime"]),
                convention=find_convention(data.get("convention", OWN)),
            )
        except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
            raise DetectorError(f"no description of a detector: {error!r}") from error


def build_from_spec(spec: DetectorSpec) -> RetinaNet:
    """The detector with fresh weights, those that `spec.backbone` names included.

    Raises:
        DetectorError: if the parts do not fit each other.
        BackboneError: as `build_backbone`.
    """
    build = build_anytime_detector if spec.anytime else partial(build_detector, convention=spec.convention)
    try:
        neck = neck_from_dict(dict(spec.neck))
        return build(build_backbone(spec.backbone), neck, len(spec.classes), spec.head, spec.image_size)
    except ValueError as error:
        raise DetectorError(str(error)) from error


def save_detector(weights: Mapping[str, Tensor], spec: DetectorSpec, directory: Path) -> None:
    """Write `detector.json` and `detector.safetensors`.

    Args:
        weights: the state dict of a detector that `build_from_spec` made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DETECTOR_FILE).write_text(json.dumps(spec.to_dict(), indent=2) + "\n")
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    save_file(plain, str(directory / WEIGHTS_FILE))


def load_detector(directory: Path) -> tuple[RetinaNet, DetectorSpec]:
    """The detector that `save_detector` wrote, with its weights, in evaluation mode, on the CPU.

    Raises:
        DetectorError: if a file is missing or damaged, or the weights are those of another detector or not finite.
    """
    spec = read_spec(directory)
    detector = build_from_spec(spec)
    path = directory / WEIGHTS_FILE
    try:
        weights = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise DetectorError(f"{path} cannot be read ({error}); it may have been cut off: copy it again") from error
    try:
        require_finite(weights, str(path))
    except WeightsNotFiniteError as error:
        raise DetectorError(str(error)) from error
    load_weights(detector, weights, str(path))
    return detector.eval(), spec


def read_spec(directory: Path) -> DetectorSpec:
    """
    Raises:
        DetectorError: as `load_detector`.
    """
    missing = [name for name in (DETECTOR_FILE, WEIGHTS_FILE) if not (directory / name).is_file()]
    if missing:
        raise DetectorError(f"{directory} is no saved detector: {', '.join(missing)} missing; see nasfpn train")
    path = directory / DETECTOR_FILE
    try:
        return DetectorSpec.from_dict(json.loads(path.read_text()))
    except (ValueError, AttributeError, DetectorError) as error:
        raise DetectorError(f"{path}: {error}") from error


def load_weights(detector: RetinaNet, weights: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict, all of it.

    Args:
        source: what to call it in errors.

    Raises:
        DetectorError: with the names that are missing, left over or of another shape; nothing is loaded then.
    """
    wanted = detector.state_dict()
    problems = {
        "missing": [name for name in wanted if name not in weights],
        "unknown": [name for name in weights if name not in wanted],
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} for {tuple(wanted[name].shape)}"
            for name in wanted
            if name in weights and weights[name].shape != wanted[name].shape
        ],
    }
    if any(problems.values()):
        lists = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names)
        raise DetectorError(f"{source} holds the weights of another detector ({lists})")
    detector.load_state_dict(dict(weights))


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")

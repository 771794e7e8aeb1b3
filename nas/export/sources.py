"""Source of an export: a trial of a run, an exported neck, or a saved detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torchvision.models.detection import FasterRCNN, RetinaNet

from nas.detection.saved import DETECTOR_FILE, DetectorSpec, load_detector, save_detector
from nas.detection.two_stage import Detector
from nas.export.errors import ExportError
from nas.export.markdown import code, escaped
from necks import Neck, load_exported, save_exported
from necks.exported import NECK_FILE
from search_space.files import is_there


@dataclass(frozen=True)
class Source:
    """A trained neck, with the detector around it where that is known.

    Args:
        origin: where it comes from, as Markdown for the model card.
        facts: what else the model card says of it, as Markdown: name -> text, such as `AP` or `data`.
    """

    neck: Neck
    origin: str
    detector: Detector | None = None
    spec: DetectorSpec | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def retinanet(self) -> RetinaNet | None:
        """Detector that is written whole as a graph; a Faster R-CNN is not, its steps depend on the data."""
        return None if isinstance(self.detector, FasterRCNN) else self.detector


def save_plain(source: Source, output: Path) -> None:
    """Write the plain files of a neck or a detector, from what was loaded alone: nothing is copied."""
    if source.detector is None:
        save_exported(source.neck, output)
    else:
        assert source.spec is not None
        save_detector(source.detector.state_dict(), source.spec, output)


def is_exported_neck(directory: Path) -> bool:
    return is_there(directory / NECK_FILE)


def is_detector(directory: Path) -> bool:
    return is_there(directory / DETECTOR_FILE)


def neck_source(directory: Path, name: str | None = None) -> Source:
    """An exported neck.

    Args:
        name: what it is called; by default the directory's name.

    Raises:
        ExportError: if its files are damaged.
    """
    return Source(read_neck(directory), f"exported neck {code(name or directory.name)}")


def read_neck(directory: Path) -> Neck:
    """The neck in a directory that `nasfpn export` wrote.

    Raises:
        ExportError: if its files are damaged.
    """
    try:
        return load_exported(directory)
    except ValueError as error:
        raise ExportError(f"{directory} cannot be read as an exported neck: {error}") from error


def detector_source(directory: Path, name: str | None = None) -> Source:
    """A saved detector.

    Args:
        name: what it is called; by default the directory's name.

    Raises:
        DetectorError: if its files are damaged.
    """
    detector, spec = load_detector(directory)
    facts = {
        "backbone": escaped(spec.backbone.name),
        "classes": escaped(f"{len(spec.classes)}: {', '.join(spec.classes)}"),
        "image size": f"the longer side {spec.image_size} px",
        "head": _head(spec),
    }
    neck = detector.backbone.neck
    assert isinstance(neck, Neck)
    return Source(neck, f"saved detector {code(name or directory.name)}", detector, spec, facts)


def _head(spec: DetectorSpec) -> str:
    if spec.two_stage is not None:
        return f"two stages, {spec.two_stage.test_proposals} proposals"
    return f"{spec.head.convs} convolutions per branch" + (", one head per repeat" if spec.anytime else "")

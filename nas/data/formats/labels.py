"""Boxes of labels in other formats, read by supervision."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.data.config import DataError
from nas.data.formats.layout import Labelled
from nas.errors import UserError, first_line

FORMATS = ("yolo", "voc")
AT_ONCE = 64
"""Images that are read together: supervision makes masks of labels that are polygons, and keeps them."""


@dataclass(frozen=True)
class Boxes:
    """Objects of one image.

    Args:
        corners: x1 y1 x2 y2 in pixels of the upright image.
        classes: name of each one's class.
        known: names of all classes of YOLO's data set in order; for Pascal VOC those that were met.
    """

    corners: Sequence[Sequence[float]]
    classes: Sequence[str]
    known: Sequence[str]


def read_labels(name: str, images: Sequence[Labelled], description: Path | None) -> Iterator[tuple[Labelled, Boxes]]:
    """The boxes of each image, in order; of oriented boxes and polygons those around them.

    Args:
        name: of `FORMATS`.
        description: YOLO's YAML file.

    Raises:
        DataError: for labels or images that cannot be read.
        UserError: if supervision is not installed.
    """
    for start in range(0, len(images), AT_ONCE):
        some = images[start : start + AT_ONCE]
        with TemporaryDirectory(prefix="nasfpn-") as directory:
            yield from _read(name, some, description, Path(directory))


def _read(
    name: str, images: Sequence[Labelled], description: Path | None, directory: Path
) -> Iterator[tuple[Labelled, Boxes]]:
    """The library reads one directory of images and one of labels: links to these images, numbered."""
    stems = {f"{number:06d}": each for number, each in enumerate(images)}
    for stem, each in stems.items():
        (directory / f"{stem}{each.image.suffix.lower()}").symlink_to(each.image.absolute())
        if each.labels.is_file():
            shutil.copyfile(each.labels, directory / f"{stem}{each.labels.suffix}")
    try:
        found = _data_set(name, directory, description)
    except (ValueError, OSError, SyntaxError, KeyError, IndexError) as error:
        raise DataError(_without(first_line(error), directory, stems)) from error
    boxes = {Path(path).stem: detections for path, detections in found.annotations.items()}
    for stem, each in stems.items():
        yield each, _boxes(boxes.get(stem), found.classes)


def _data_set(name: str, directory: Path, description: Path | None) -> Any:
    supervision = library()
    if name == "yolo":
        return supervision.DetectionDataset.from_yolo(str(directory), str(directory), str(description))
    return supervision.DetectionDataset.from_pascal_voc(str(directory), str(directory))


def library() -> Any:
    """
    Raises:
        UserError: if supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise UserError(f"reading other formats needs supervision ({error}): pip install 'nas-fpn[convert]'") from error
    return supervision


def _boxes(found: Any, classes: Sequence[str]) -> Boxes:
    if found is None or not len(found):
        return Boxes((), (), classes)
    return Boxes(found.xyxy.astype(float).tolist(), [classes[int(label)] for label in found.class_id], classes)


def _without(message: str, directory: Path, stems: dict[str, Labelled]) -> str:
    """The message with the files' own names."""
    for stem, each in stems.items():
        for suffix, path in ((each.labels.suffix, each.labels), (each.image.suffix.lower(), each.image)):
            message = message.replace(str(directory / f"{stem}{suffix}"), str(path))
    return f"the labels cannot be read: {message}"

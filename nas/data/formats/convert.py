"""Conversion of data sets in other formats to COCO format."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.data.config import DataConfig, DataError
from nas.data.formats.labels import FORMATS, Boxes, library, read_labels
from nas.data.formats.layout import Labelled, Layout
from nas.data.formats.voc import voc_layout
from nas.data.formats.yolo import yolo_layout
from nas.data.image_files import UnreadableImageError, upright_size

SLACK = 1.0
"""Pixels by which rounding may lead a box out of its image; it is cut off there."""
HELD_OUT = 10
"""One image in so many is held out for the reward where there is no split for it."""


def convert_data(
    name: str, source: Path, output: Path, told: Callable[[int, int], None] = lambda done, all: None
) -> DataConfig:
    """Convert a data set to COCO format: write `annotations/instances_*.json` and the images.

    Images are hard links where the disk allows it, and copies otherwise. The splits become train, reward (`val`
    elsewhere) and test. Images without labels are kept, without boxes. Classes keep their names. Their ids start at 1,
    in YOLO's order, or in alphabetical order for Pascal VOC.

    Args:
        name: one of `FORMATS`.
        source: directory of the data set, or YOLO's YAML file.
        output: new or empty directory.
        told: function that is called with the number of finished images and of all images.

    Returns:
        Configuration of the new data set, without the splits that the source does not have.

    Raises:
        DataError: for data that cannot be read, or an output directory that is not empty.
        UserError: if supervision is not installed.
    """
    if name not in FORMATS:
        raise DataError(f"unknown format {name!r:.80}; known are {', '.join(FORMATS)}")
    library()
    layout = yolo_layout(source) if name == "yolo" else voc_layout(source)
    read = _read(name, layout, told)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not empty; give --output a new or empty directory")
    classes = _classes(layout, read)
    for role, images in read.items():
        _write(output, role, images, classes)
    held_out = None if "reward" in read else max(1, len(read["train"]) // HELD_OUT)
    config = DataConfig(root=str(output))
    return DataConfig(
        root=str(output),
        reward=config.reward if held_out is None else None,
        test=config.test if "test" in read else None,
        holdout=held_out or 0,
    )


Read = list[tuple[Labelled, Boxes]]


def _read(name: str, layout: Layout, told: Callable[[int, int], None]) -> dict[str, Read]:
    every, done = sum(map(len, layout.splits.values())), 0
    read: dict[str, Read] = {}
    for role, images in layout.splits.items():
        read[role] = []
        for one in read_labels(name, images, layout.description):
            read[role].append(one)
            told(done := done + 1, every)
    return read


def _classes(layout: Layout, read: dict[str, Read]) -> dict[str, int]:
    """Name -> id."""
    known = [boxes.known for images in read.values() for _, boxes in images]
    names = known[0] if layout.description is not None else sorted({name for some in known for name in some})
    if len(set(names)) < len(names):
        raise DataError(f"{layout.description} names a class twice; give each class its own name")
    return {name: number for number, name in enumerate(names, start=1)}


def _write(output: Path, role: str, images: Read, classes: dict[str, int]) -> None:
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": key, "name": name} for name, key in classes.items()],
    }
    for number, (image, boxes) in enumerate(images, start=1):
        width, height = _size(image.image)
        content["images"].append({"id": number, "file_name": image.name, "width": width, "height": height})
        for corners, name in zip(boxes.corners, boxes.classes, strict=True):
            entry = _annotation(corners, width, height)
            numbers = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": classes[name]}
            content["annotations"].append({**numbers, **entry})
        _place(image.image, output / role / image.name)
    annotations = output / "annotations" / f"instances_{role}.json"
    annotations.parent.mkdir(parents=True, exist_ok=True)
    annotations.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _size(image: Path) -> tuple[int, int]:
    try:
        return upright_size(image)
    except UnreadableImageError as error:
        raise DataError(f"{image} {error}; mend it, or take it out of the data set") from error


def _annotation(corners: Sequence[float], width: int, height: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (
        round(_inside(value, limit), 3) for value, limit in zip(corners, (width, height) * 2, strict=True)
    )
    box = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
    return {"bbox": box, "area": round(box[2] * box[3], 3), "iscrowd": 0}


def _inside(value: float, limit: int) -> float:
    """A coordinate within the image, if it is off by rounding alone; the check reports what lies further out."""
    nearest = min(max(value, 0.0), float(limit))
    return nearest if abs(value - nearest) <= SLACK else value


def _place(image: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(image.resolve(), target)
    except OSError:
        shutil.copyfile(image, target)

"""Entries of a COCO instances file that are not well-formed, each field checked by name."""

from __future__ import annotations

import math
from typing import Any

NEEDED = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
"""Lists of the file -> fields that each of their entries must have."""
_IDS = ("id", "image_id", "category_id")
_FLAGS = ("iscrowd", "ignore")
MAX_ID = 2**53
"""Largest id: some scorers keep ids as floats."""
MAX_NAME = 255
"""Bytes of a file's name that file systems take."""
MAX_SIDE = 100_000
"""Largest side of an image and largest number of a box, in pixels: COCO's scorers know no areas beyond its square."""


def first_fault(content: dict[str, Any]) -> str | None:
    """The first entry that is not well-formed, and why; None if all are."""
    for section in NEEDED:
        for index, entry in enumerate(content[section]):
            if fault := fault_of(section, entry):
                return f"{section}[{index}] {fault}"
    return None


def fault_of(section: str, entry: Any) -> str | None:
    """Fault of an entry of one of the lists in `NEEDED`; None if it has none."""
    if not isinstance(entry, dict):
        return f"must be an object, but is {entry!r:.40}"
    missing = [key for key in NEEDED[section] if key not in entry]
    if missing:
        return f"(id {entry.get('id')!r:.40}) lacks {', '.join(missing)}"
    for key in NEEDED[section]:
        if fault := _fault_of_field(key, entry[key]):
            return fault if key in _IDS else f"(id {entry['id']}) {fault}"
    fault = _fault_of_optional(entry) if section == "annotations" else None
    return fault and f"(id {entry['id']}) {fault}"


def _fault_of_field(key: str, value: Any) -> str | None:
    """Fault of a required field's value; None if it has none."""
    if key in _IDS and not _is_whole(value, -MAX_ID, MAX_ID):
        return f"has {key} {value!r:.40}, but ids must be whole numbers (of 2^53 at most)"
    if key in ("width", "height") and not _is_whole(value, 1, MAX_SIDE):
        return f"has {key} {value!r:.40}, but it must be a whole number of pixels, 1..{MAX_SIDE}"
    if key in ("file_name", "name") and not (isinstance(value, str) and value):
        return f"has {key} {value!r:.40}, but it must be a text"
    if key == "file_name" and any(len(part.encode(errors="replace")) > MAX_NAME for part in value.split("/")):
        return f"has file_name {value!r:.40}, which is too long for a file"
    if key == "bbox" and not _is_box(value):
        return f"has bbox {value!r:.60}, but it must be four finite numbers x, y, width, height, none beyond {MAX_SIDE}"
    return None


def _fault_of_optional(annotation: dict[str, Any]) -> str | None:
    """Faults in the optional fields of an annotation."""
    for key in _FLAGS:
        if not _is_whole(annotation.get(key, 0), 0, 1):
            return f"has {key} {annotation[key]!r:.40}, but it must be 0 or 1"
    area = annotation.get("area", 0)
    if not (_is_number(area) and 0 <= area <= MAX_SIDE**2):
        return f"has area {area!r:.40}, but it must be a number of pixels, 0..{MAX_SIDE**2}"
    return None


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(_is_number(x) and abs(x) <= MAX_SIDE for x in value)

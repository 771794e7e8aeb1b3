"""Entries of a COCO instances file, their fields read as what they plainly mean.

Written once here, so that the check, training and every scorer see the same numbers. `null` is a field that is absent,
`"128"` and `128.0` are 128 where a whole number belongs, `true` is 1 in `iscrowd`, and
`ignore: 1` is `iscrowd: 1`. What means nothing is left as it is:
`nas.data.annotations` reports it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{0,30})?([eE][+-]?\d{1,3})?", re.ASCII)
_MAX_EXACT = 2**53
"""Whole numbers up to here are exact as floats."""


def normalised(content: dict[str, Any]) -> dict[str, Any]:
    """The file's content with normal entries; lists of other things are left as they are.

    Args:
        content: parsed JSON with COCO's lists; it is not changed.
    """
    read = {section: [_entry(each, readers) for each in content[section]] for section, readers in _ALL}
    return {**content, **read, "annotations": [_with_crowd(entry) for entry in read["annotations"]]}


def _entry(entry: Any, readers: dict[str, Callable[[Any], Any]]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        name: readers[name](value) if name in readers else value for name, value in entry.items() if value is not None
    }


def _with_crowd(annotation: Any) -> Any:
    """`ignore`, the older word of mmdetection for what is neither to be found nor a mistake, as `iscrowd`."""
    if isinstance(annotation, dict) and annotation.get("ignore") == 1 and annotation.get("iscrowd", 0) == 0:
        return {**annotation, "iscrowd": 1}
    return annotation


def _number(value: Any) -> Any:
    """A number from a number or its text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return _whole(float(value)) if any(mark in value for mark in ".eE") else int(value)
    return value


def _whole(value: Any) -> Any:
    """An integer from one, from a whole float or from the text of either."""
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) <= _MAX_EXACT:
        return int(value)
    return value


def _flag(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else _whole(value)


def _box(value: Any) -> Any:
    return [_number(side) for side in value] if isinstance(value, list) else value


_ALL: tuple[tuple[str, dict[str, Callable[[Any], Any]]], ...] = (
    ("images", {"id": _whole, "width": _whole, "height": _whole}),
    (
        "annotations",
        {
            "id": _whole,
            "image_id": _whole,
            "category_id": _whole,
            "bbox": _box,
            "area": _number,
            "iscrowd": _flag,
            "ignore": _flag,
        },
    ),
    ("categories", {"id": _whole}),
)

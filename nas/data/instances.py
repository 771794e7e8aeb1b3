"""COCO instances files: read, checked for what would break a scorer, and indexed by pycocotools."""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from nas.data.boxes import is_visible
from nas.data.config import DataError
from nas.data.entry_faults import NEEDED, first_fault
from nas.data.normal_entries import normalised
from search_space.files import FileError, parse_json, read_bytes


def read_instances(path: Path) -> tuple[dict[str, Any], bytes]:
    """The content of a COCO instances file with `normalised` entries, and its bytes.

    Raises:
        DataError: if it is missing, is no JSON or lacks one of COCO's lists.
    """
    try:
        raw = read_bytes(path)
        content = parse_json(raw.removeprefix(codecs.BOM_UTF8), str(path))
    except FileError as error:
        raise DataError(f"annotation file {error}; its path is set in the data, see `nasfpn data check`") from error
    missing = [key for key in NEEDED if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise DataError(
            f"annotation file {path} is not a COCO instances file: it needs the lists {', '.join(NEEDED)}, but "
            f"has no {', '.join(missing)}; run `nasfpn data check`"
        )
    return normalised(content), raw


def index_instances(content: dict[str, Any], path: Path) -> Any:
    """pycocotools' index of what can be trained and scored on.

    Left out are boxes without any area in their image, which nothing can find, and annotations of images that are not
    listed.

    Args:
        content: as `read_instances` gives it; it is not changed.
        path: of the file, for messages.

    Raises:
        DataError: for an entry that is not well-formed, or has a category that is not listed.
    """
    if fault := first_fault(content):
        raise DataError(f"{path} has malformed entries: {fault}; run `nasfpn data check`")
    categories = {entry["id"] for entry in content["categories"]}
    for entry in content["annotations"]:
        if entry["category_id"] not in categories:
            raise DataError(
                f"{path}: annotation {entry['id']} has category {entry['category_id']}, which is not among the "
                "categories; run `nasfpn data check`"
            )
    images = {entry["id"]: entry for entry in content["images"]}
    usable = [entry for entry in content["annotations"] if _is_usable(entry, images.get(entry["image_id"]))]
    return _indexed({**content, "annotations": usable})


def with_categories(coco: Any, keep: Collection[int]) -> Any:
    """pycocotools' index of the same images with some categories only, and their annotations."""
    content = coco.dataset
    annotations = [entry for entry in content["annotations"] if entry["category_id"] in keep]
    categories = [entry for entry in content["categories"] if entry["id"] in keep]
    return _indexed({**content, "annotations": annotations, "categories": categories})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pycocotools from printing."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _is_usable(annotation: dict[str, Any], image: dict[str, Any] | None) -> bool:
    if image is None:
        return False
    return annotation.get("iscrowd", 0) == 1 or is_visible(annotation["bbox"], image["width"], image["height"])


def _indexed(content: dict[str, Any]) -> Any:
    coco: Any = COCO()
    coco.dataset = content
    with quiet():
        coco.createIndex()
    return coco

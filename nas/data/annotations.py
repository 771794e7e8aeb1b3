"""Entries of a COCO instances file, checked one by one. Opens no image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.data.boxes import LEAST_SIDE, is_visible, reach_over
from nas.data.classes import Classes
from nas.data.entry_faults import fault_of
from nas.data.problems import Findings

_SLACK = 1.0  # pixels by which a box may reach over its image's edge without a warning: rounding


@dataclass(frozen=True)
class Annotations:
    """The entries of an instances file that are well-formed."""

    path: Path
    images: dict[int, dict[str, Any]]
    categories: dict[int, str]
    parents: frozenset[str]
    """Names that are the supercategory of a category."""
    boxes: tuple[dict[str, Any], ...]
    """Annotations that can be trained on: known image and category, no crowd, some area inside the image."""

    def counts(self, image_ids: Collection[int]) -> Counter[int]:
        """Number of boxes in these images, by category."""
        return Counter(entry["category_id"] for entry in self.boxes if entry["image_id"] in image_ids)


def check_annotations(path: Path, content: dict[str, Any], findings: Findings) -> Annotations:
    """Report what is wrong with the entries, and return those that are usable."""
    images = _unique(path, "images", content, findings)
    categories = _unique(path, "categories", content, findings)
    annotations = _unique(path, "annotations", content, findings)
    if not images:
        findings.error("no images", f"{path} lists no images; name another file in the data configuration")
    if not categories:
        findings.error("no categories", f"{path} lists no categories, so there is nothing to detect; add them")
    boxes = tuple(entry for entry in annotations.values() if _is_usable(path, entry, images, categories, findings))
    names = {key: entry["name"] for key, entry in categories.items()}
    _check_names(path, images, {key: names[key] for key in {entry["category_id"] for entry in boxes}}, findings)
    parents = {
        str(entry.get("supercategory")) for entry in categories.values() if entry["name"] != entry.get("supercategory")
    }
    return Annotations(path, images, names, frozenset(parents), boxes)


def learnable(
    found: Annotations, image_ids: Collection[int], chosen: Sequence[int], findings: Findings
) -> tuple[int, ...]:
    """Those of the categories that these images have usable boxes of; reports the others."""
    counts = found.counts(image_ids)
    for category in chosen:
        name = found.categories[category]
        if counts[category]:
            continue
        if name in found.parents:
            findings.warning(
                "supercategories",
                f"{found.path}: category {category} ({name!r}) is only the supercategory of others and is left out; "
                "nothing is to be done",
            )
        else:
            findings.warning(
                "empty class",
                f"{found.path}: category {category} ({name!r}) has no annotation in this split's images, so it is left "
                "out, neither trained nor scored; annotate some to have it",
            )
    classes = tuple(category for category in chosen if counts[category])
    if not classes and chosen:
        findings.error(
            "nothing to learn",
            f"{found.path}: no image to train on has a usable box of the categories, so nothing can be learned; "
            "annotate some",
        )
    return classes


def check_scored(found: Annotations, image_ids: Collection[int], classes: Classes, findings: Findings) -> None:
    """Report what cannot be scored in these images."""
    counts = found.counts(image_ids)
    for category, name in found.categories.items():
        at = f"{found.path}: category {category} ({name!r})"
        if category in classes.trained and not counts[category]:
            findings.warning(
                "empty class",
                f"{at} has no annotation in this split's images, so its AP is undefined and left out of the mean",
            )
        if counts[category] and category in classes.chosen and category not in classes.trained:
            findings.warning(
                "untrained class",
                f"{at} has {counts[category]} boxes here and none in the images to train on, so they are left out of "
                "the score; annotate some there",
            )


def check_scorable(found: Annotations, image_ids: Collection[int], classes: Classes, findings: Findings) -> None:
    """Report a split that scores candidates but holds no box of the classes at all."""
    counts = found.counts(image_ids)
    if classes.trained and not any(counts[category] for category in classes.trained):
        findings.error(
            "nothing to score",
            f"{found.path}: no image of this split has a usable box, so no candidate can be scored; annotate some",
        )


def _unique(path: Path, section: str, content: dict[str, Any], findings: Findings) -> dict[int, dict[str, Any]]:
    """Id -> entry of one list; malformed entries and repeated ids are reported and left out."""
    entries: dict[int, dict[str, Any]] = {}
    for index, entry in enumerate(content[section]):
        fault = fault_of(section, entry)
        if fault:
            findings.error(f"malformed {section}", f"{path}: {section}[{index}] {fault}; correct the entry")
        elif entry["id"] in entries:
            findings.error(
                f"repeated ids in {section}",
                f"{path}: {section}[{index}] repeats id {entry['id']}; ids must be unique, give it another",
            )
        else:
            entries[entry["id"]] = entry
    return entries


def _check_names(path: Path, images: dict[int, dict[str, Any]], categories: dict[int, str], findings: Findings) -> None:
    """Two images of one file count it twice; two categories of one name cannot be told apart in a report."""
    for name, count in Counter(entry["file_name"] for entry in images.values()).items():
        if count > 1:
            findings.warning("repeated files", f"{path}: {count} images share the file {name}; remove all but one")
    for name, count in Counter(categories.values()).items():
        if count > 1:
            findings.error("repeated names", f"{path}: {count} categories are named {name!r}; give each its own name")


def _is_usable(
    path: Path,
    entry: dict[str, Any],
    images: dict[int, dict[str, Any]],
    categories: dict[int, dict[str, Any]],
    findings: Findings,
) -> bool:
    """True if an annotation can be trained on; reports why not, unless it is a crowd."""
    at = f"{path}: annotation {entry['id']}"
    image = images.get(entry["image_id"])
    if image is None:
        findings.error("unknown images", f"{at} is on image {entry['image_id']}, which is not listed; remove it")
        return False
    if entry["category_id"] not in categories:
        findings.error(
            "unknown categories",
            f"{at} has category {entry['category_id']}, but the file defines {sorted(categories)[:20]}; correct it",
        )
        return False
    return _check_box(at, entry["bbox"], image, findings) and not entry.get("iscrowd", 0)


def _check_box(at: str, bbox: list[float], image: dict[str, Any], findings: Findings) -> bool:
    """True if a box has some area inside its image; reports what is wrong with it."""
    _, _, w, h = bbox
    if w < 0 or h < 0:
        findings.error(
            "negative sizes", f"{at} has bbox {bbox} of negative size; write x, y, width, height, not two corners"
        )
        return False
    if w < LEAST_SIDE or h < LEAST_SIDE:
        findings.warning("empty boxes", f"{at} has bbox {bbox} without area; it is left out, remove it")
        return False
    width, height = image["width"], image["height"]
    where = f"{at} has bbox {bbox} (x, y, width, height) on image {image['id']} of {width}x{height} pixels"
    if not is_visible(bbox, width, height):
        findings.error("boxes outside", f"{where}, wholly outside of it; are the numbers pixels of this image?")
        return False
    if reach_over(bbox, width, height) > _SLACK:
        findings.warning("boxes over the edge", f"{where}, beyond its edge; it is clipped for training, correct it")
    return True

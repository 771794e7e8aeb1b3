"""AP of a saved detector on any COCO-format split with its categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch

from nas.data.check import check_split
from nas.data.coco import CocoSplit
from nas.data.config import DataError, SplitConfig
from nas.data.evaluate import Detections, coco_ap, find_scorer
from nas.data.image_files import USUAL, Reading
from nas.detection.anytime import AnytimeRetinaNet
from nas.detection.cost import Cost, detector_cost
from nas.detection.saved import DetectorSpec
from nas.detection.two_stage import Detector
from nas.errors import UserError
from nas.evaluation.inference import find_letterboxed, find_one_by_one

Resize = Literal["letterbox", "torchvision"]
SCORERS = ("pycocotools", "faster_coco_eval")
STRIDE = 32
"""Sides of which the backbone's maps are exact fractions, which the places of anchors rest on."""
SHOWN_PROBLEMS = 5


class EvaluationError(UserError):
    """A detector and data that do not belong together, or settings that cannot be; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    Args:
        size: images are scaled so that the longer side has this many pixels.
        resize: `letterbox`: with antialiasing, and padded to a square with black, as all training here. `torchvision`:
            by the detector's own forward pass, image by image, as public detectors were trained.
        batch_size: images at once; of no meaning to `torchvision`.
        scorer: as of `coco_ap`.

    Raises:
        EvaluationError: for values that cannot be.
    """

    size: int
    resize: str = "letterbox"
    batch_size: int = 8
    scorer: str = "pycocotools"

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            raise EvaluationError(f"--resize is one of {', '.join(get_args(Resize))}, got {self.resize!r}")
        if self.scorer not in SCORERS:
            raise EvaluationError(f"--scorer is one of {', '.join(SCORERS)}, got {self.scorer!r}")
        if self.batch_size < 1:
            raise EvaluationError(f"--batch-size must be positive, got {self.batch_size}")
        if self.size < STRIDE or self.size % STRIDE:
            raise EvaluationError(f"--size must be a multiple of {STRIDE}, better of 128, got {self.size}")


@dataclass(frozen=True)
class ExitResult:
    """
    Args:
        repeats: of the neck before the exit; None for detectors that are not anytime.
        metrics: as `coco_ap` gives them.
        cost: of one square image; parameters are those of the whole detector.
        found: image id -> detections, labels as of the split.
    """

    repeats: int | None
    metrics: Mapping[str, float]
    cost: Cost
    found: Mapping[int, Detections]


def open_split(annotations: Path, images: Path, *, allow_outside: bool = False, reading: Reading = USUAL) -> CocoSplit:
    """A split that can be scored on, looked through before any work is done.

    Raises:
        EvaluationError: if the file or the folder is not there.
        DataError: with the first errors that `nasfpn data check` would list, or if there is no box to be found.
    """
    if not annotations.is_file():
        raise EvaluationError(f"there is no file {annotations}; give --annotations a COCO instances file")
    if not images.is_dir():
        raise EvaluationError(
            f"there is no folder {images}; give --images the folder that file names in {annotations} are relative to"
        )
    config = SplitConfig(annotations=str(annotations), images=str(images))
    problems = check_split(Path(), config, "test", allow_outside=allow_outside)
    errors = [problem.message for problem in problems if problem.severity == "error"]
    if errors:
        more = f"\n  ... and {len(errors) - SHOWN_PROBLEMS} more" if len(errors) > SHOWN_PROBLEMS else ""
        raise DataError("this data cannot be scored on:\n  " + "\n  ".join(errors[:SHOWN_PROBLEMS]) + more)
    split = CocoSplit(annotations, images, allow_outside=allow_outside, reading=reading)
    if all(entry.get("iscrowd", 0) for entry in split.coco.anns.values()):
        raise DataError(f"{annotations} holds no box but crowds, so AP is undefined; name annotations with boxes")
    return split


def for_detector(split: CocoSplit, spec: DetectorSpec) -> tuple[CocoSplit, dict[str, int]]:
    """The split with the detector's categories alone, and the names of the others with the number of their boxes.

    Raises:
        EvaluationError: if the data lacks one of the detector's categories, or has it under another name.
        DataError: if there is no box of the detector's categories.
    """
    boxes = split.boxes_of_categories()
    others = {
        name: boxes[key]
        for key, name in zip(split.category_ids, split.classes, strict=True)
        if key not in spec.category_ids
    }
    own = split.with_categories(spec.category_ids)
    check_categories(spec, own if own.category_ids else split)
    if not own.boxes_of_categories():
        raise DataError(f"{split.annotations} holds no box of the detector's categories, so AP is undefined")
    return own, others


def check_categories(spec: DetectorSpec, split: CocoSplit) -> None:
    """
    Raises:
        EvaluationError: unless detector and data have the same categories by id and name; lists what differs.
    """
    mine = dict(zip(spec.category_ids, spec.classes, strict=True))
    theirs = dict(zip(split.category_ids, split.classes, strict=True))
    differences = [f"{key}: only the detector has it ({name!r})" for key, name in mine.items() if key not in theirs]
    differences += [f"{key}: only the data has it ({name!r})" for key, name in theirs.items() if key not in mine]
    differences += [
        f"{key}: {name!r} to the detector, {theirs[key]!r} in the data"
        for key, name in mine.items()
        if theirs.get(key, name) != name
    ]
    if differences:
        raise EvaluationError(
            f"the categories of {split.annotations} are not the detector's:\n  "
            + "\n  ".join(sorted(differences, key=lambda line: int(line.split(":")[0])))
            + "\nscore on annotations with the categories that it was trained on"
        )


def choose_exits(detector: Detector, repeats: int | None, every: bool) -> tuple[int, ...]:
    """The exits to score: all of them, the one asked for, or the last.

    Raises:
        EvaluationError: for an exit that the detector does not have.
    """
    if not isinstance(detector, AnytimeRetinaNet):
        if every or repeats is not None:
            raise EvaluationError("this detector has no exits: it was not trained as an anytime one; leave --exit out")
        return (1,)
    last = len(detector.head.heads)
    if every and repeats is not None:
        raise EvaluationError("give --exit R or --exits, not both")
    if repeats is not None and not 1 <= repeats <= last:
        raise EvaluationError(f"--exit must be in 1..{last}, the repeats of this detector's neck, got {repeats}")
    return tuple(range(1, last + 1)) if every else (repeats or last,)


def evaluate(
    detector: Detector,
    spec: DetectorSpec,
    split: CocoSplit,
    settings: Settings,
    exits: tuple[int, ...],
    advance: Callable[[int], None] = lambda _: None,
) -> list[ExitResult]:
    """Score a detector, which stays in evaluation mode with `settings.size` as its size.

    Args:
        detector: as `load_detector` gives it, on the device to use.
        exits: from `choose_exits`.
        advance: is told how many images are done since it was told last.

    Raises:
        EvaluationError: if the categories differ.
        DataError: if an image cannot be read.
        UserError: if the scorer is not installed.
    """
    check_categories(spec, split)
    find_scorer(settings.scorer)
    results = []
    for repeats, found in zip(exits, find(detector, split, settings, exits, advance), strict=True):
        ordered = renumbered(found, spec, split)
        metrics = coco_ap(split, ordered, scorer=settings.scorer)
        named, cost = _cost(detector, repeats, settings.size)
        results.append(ExitResult(named, metrics, cost, ordered))
    return results


def find(
    detector: Detector,
    split: CocoSplit,
    settings: Settings,
    exits: tuple[int, ...],
    advance: Callable[[int], None] = lambda _: None,
) -> list[dict[int, Detections]]:
    """For every exit, image id -> detections with the detector's own labels; arguments as of `evaluate`."""
    detector.eval()
    detector.transform.min_size, detector.transform.max_size = (settings.size,), settings.size
    if settings.resize == "letterbox":
        return find_letterboxed(detector, split, settings.size, exits, settings.batch_size, advance)
    return find_one_by_one(detector, split, exits, advance)


def _cost(detector: Detector, repeats: int, size: int) -> tuple[int | None, Cost]:
    if not isinstance(detector, AnytimeRetinaNet):
        return None, detector_cost(detector, (size, size))
    before = detector.exit_after
    detector.exit_after = repeats
    cost = detector_cost(detector, (size, size))
    detector.exit_after = before
    return repeats, cost


def renumbered(found: Mapping[int, Detections], spec: DetectorSpec, split: CocoSplit) -> dict[int, Detections]:
    """Labels by the split's order of categories instead of the detector's."""
    order = torch.tensor([split.category_ids.index(key) for key in spec.category_ids])
    return {image: replace(one, labels=order[one.labels]) for image, one in found.items()}

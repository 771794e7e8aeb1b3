"""COCO's average precision of a detector's output on a split, by pycocotools or a faster equal of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from nas.data.coco import CocoSplit
from nas.data.config import DataError
from nas.data.instances import quiet
from nas.errors import UserError

RESULT_KEYS = ("image_id", "category_id", "bbox", "score")

_AREAS = {"AP": 0, "APs": 1, "APm": 2, "APl": 3}
_MAX_DETECTIONS = 100  # per image and class, the surest ones


@dataclass(frozen=True)
class Detections:
    """Detections in one image.

    Raises:
        ValueError: if the shapes do not belong together or a number is not finite.
    """

    boxes: Tensor
    """(n, 4), x1 y1 x2 y2 in pixels of the image as stored."""
    scores: Tensor
    """(n,), higher is surer."""
    labels: Tensor
    """(n,), 0 .. number of classes - 1, as in the split's targets."""

    def __post_init__(self) -> None:
        n = len(self.scores)
        shapes = tuple(self.boxes.shape), tuple(self.scores.shape), tuple(self.labels.shape)
        if shapes != ((n, 4), (n,), (n,)):
            raise ValueError(f"boxes (n, 4), scores (n,) and labels (n,) must share n, but got {shapes}")
        if not (self.boxes.isfinite().all() and self.scores.isfinite().all()):
            raise ValueError(
                f"boxes and scores must be finite, but of {n} detections some are not; the training has "
                "probably diverged: lower the learning rate"
            )


def coco_ap(split: CocoSplit, detections: Mapping[int, Detections], *, scorer: str = "pycocotools") -> dict[str, float]:
    """Average precision in percent, 0..100.

    Args:
        split: the ground truth; it is left as it is.
        detections: image id -> detections. Images without an entry count as images where nothing was found.
        scorer: `pycocotools` or `faster_coco_eval`; they agree to 1e-12, the second is several times as fast.

    Returns:
        `AP` (the mean over IoU 0.50:0.95), `AP50`, `AP75`, `APs`, `APm`, `APl` (by box area below 32^2, up to
        96^2, and above) and `AP/<class>`. Keys without any ground truth are left out, so all values are finite.

    Raises:
        ValueError: if a detection's image id or label does not belong to the split.
        DataError: if the split holds no box to be found.
        UserError: if the scorer is not installed.
    """
    truth = _truth(split)
    if not any(not item["iscrowd"] for item in truth["annotations"]):
        raise DataError(f"{split.annotations} holds no box for the {len(split)} images in use, so AP is undefined")
    found = coco_results(split, detections)
    make_coco, make_evaluation = find_scorer(scorer)
    with quiet():
        ground, guessed = _coco(make_coco, truth), _coco(make_coco, {**truth, "annotations": found})
        evaluation = make_evaluation(ground, guessed, "bbox")
        evaluation.params.maxDets = [_MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    return _summary(evaluation.eval["precision"], evaluation.params.catIds, split)


def _truth(split: CocoSplit) -> dict[str, Any]:
    """The split's annotations as a data set of its own, because COCOeval writes into what it is given.

    Ids are given anew from 1: COCOeval takes a match with annotation 0 for no match.
    """
    kept = [item for image in split.image_ids for item in split.coco.imgToAnns.get(image, [])]
    annotations = [
        {
            "id": number,
            "image_id": item["image_id"],
            "category_id": item["category_id"],
            "bbox": list(item["bbox"]),
            "area": item.get("area", item["bbox"][2] * item["bbox"][3]),
            "iscrowd": item.get("iscrowd", 0),
        }
        for number, item in enumerate(kept, start=1)
    ]
    return {
        "images": [{"id": image} for image in split.image_ids],
        "annotations": annotations,
        "categories": copy.deepcopy(list(split.coco.cats.values())),
    }


def coco_results(split: CocoSplit, detections: Mapping[int, Detections]) -> list[dict[str, Any]]:
    """Detections in COCO's result format, with what pycocotools adds to it on loading.

    Raises:
        ValueError: as `coco_ap`.
    """
    unknown = sorted(set(detections) - set(split.image_ids))
    if unknown:
        raise ValueError(f"detections must be of the split's images, but image ids {unknown[:5]} are not in it")
    results: list[dict[str, Any]] = []
    for image, found in detections.items():
        boxes, scores, labels = (part.detach().cpu().tolist() for part in (found.boxes, found.scores, found.labels))
        for (x1, y1, x2, y2), score, label in zip(boxes, scores, labels, strict=True):
            if not 0 <= label < len(split.classes):
                raise ValueError(f"labels must be in 0..{len(split.classes) - 1}, but image {image} got {label}")
            results.append(
                {
                    "id": len(results) + 1,
                    "image_id": image,
                    "category_id": split.category_ids[int(label)],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return results


def bare_results(split: CocoSplit, detections: Mapping[int, Detections]) -> list[dict[str, Any]]:
    """Detections in COCO's result format, as `coco_results` but with the format's own fields alone."""
    return [{key: entry[key] for key in RESULT_KEYS} for entry in coco_results(split, detections)]


def find_scorer(name: str) -> tuple[Callable[[], Any], Callable[..., Any]]:
    """Constructors of COCO's data sets and evaluations.

    Raises:
        UserError: if the scorer is not installed.
    """
    if name == "pycocotools":
        return COCO, COCOeval
    try:
        import faster_coco_eval
    except ImportError as error:
        raise UserError(
            f"scorer {name!r} is not installed ({error}): pip install 'nas-fpn[fast]', or set proxy.scorer to "
            "pycocotools"
        ) from error
    return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster


def _coco(make: Callable[[], Any], content: dict[str, Any]) -> Any:
    coco = make()
    coco.dataset = content
    coco.createIndex()
    return coco


def _summary(precision: NDArray[np.float64], categories: list[int], split: CocoSplit) -> dict[str, float]:
    """Means over COCOeval's precision, whose axes are IoU, recall, class, area range and number of detections."""
    values = {name: precision[..., area, -1] for name, area in _AREAS.items()}
    values["AP50"], values["AP75"] = precision[0, ..., 0, -1], precision[5, ..., 0, -1]
    names = dict(zip(split.category_ids, split.classes, strict=True))
    for index, category in enumerate(categories):
        values[f"AP/{names[category]}"] = precision[:, :, index, 0, -1]
    means = {name: _mean_percent(value) for name, value in values.items()}
    return {name: mean for name, mean in means.items() if not math.isnan(mean)}


def _mean_percent(precision: NDArray[np.float64]) -> float:
    """The mean in percent; entries of -1 stand for "no ground truth" and are left out."""
    valid = precision[precision > -1]
    return float(100 * valid.mean()) if valid.size else math.nan

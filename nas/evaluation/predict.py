"""Detections in images without annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nas.data.bare_images import BareImages, read_bare
from nas.data.evaluate import Detections, bare_results
from nas.data.image_files import USUAL, Reading, UnreadableImageError
from nas.detection.saved import DetectorSpec
from nas.detection.two_stage import Detector
from nas.evaluation.evaluate import Settings, choose_exits, find, renumbered


@dataclass(frozen=True)
class Predicted:
    """Image with its detections.

    Args:
        image_id: place of the image among all images, from 1.
        pixels: uint8 (3, H, W), upright; None for a file that is not an image.
        found: detections, best first; labels are in the order of category ids.
        results: the same detections in COCO's results format.
        error: reason why the image could not be read.
    """

    path: Path
    image_id: int
    pixels: Tensor | None = None
    found: Detections | None = None
    results: Sequence[dict[str, Any]] = ()
    error: str = ""


def predict(
    detector: Detector,
    spec: DetectorSpec,
    paths: Sequence[Path],
    settings: Settings,
    min_score: float,
    reading: Reading = USUAL,
) -> Iterator[Predicted]:
    """Detect objects in images. Yields the images in order; `settings.batch_size` images are in memory at once.

    Args:
        detector: detector from `load_detector`, on the device to use.
        min_score: lowest score of a detection that is kept.
        reading: settings for reading pixels.
    """
    for start in range(0, len(paths), settings.batch_size):
        batch = list(enumerate(paths[start : start + settings.batch_size], start + 1))
        read = [_read(path, image_id, reading) for image_id, path in batch]
        images = {one.image_id: (str(one.path), one.pixels) for one in read if one.pixels is not None}
        split = BareImages(images, dict(zip(spec.category_ids, spec.classes, strict=True)))
        found = _found(detector, spec, split, settings, min_score)
        for one in read:
            if one.pixels is None:
                yield one
            else:
                results = bare_results(split, {one.image_id: found[one.image_id]})
                yield Predicted(one.path, one.image_id, one.pixels, found[one.image_id], results)


def _read(path: Path, image_id: int, reading: Reading) -> Predicted:
    try:
        return Predicted(path, image_id, read_bare(path, reading))
    except UnreadableImageError as error:
        return Predicted(path, image_id, error=str(error))


def _found(
    detector: Detector, spec: DetectorSpec, split: BareImages, settings: Settings, min_score: float
) -> dict[int, Detections]:
    if not split.image_ids:
        return {}
    every = find(detector, split, settings, choose_exits(detector, None, False))[0]
    return {image: _best_first(one, min_score) for image, one in renumbered(every, spec, split).items()}


def _best_first(found: Detections, min_score: float) -> Detections:
    order = found.scores.argsort(descending=True, stable=True)
    order = order[found.scores[order] >= min_score]
    return Detections(found.boxes[order], found.scores[order], found.labels[order])

"""`nasfpn predict`: detections in images without annotations, drawn and as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.commands.given_detector import given_detector, made
from nas.data.bare_images import described, find_images
from nas.data.image_files import Reading
from nas.detection.saved import DetectorSpec
from nas.evaluation.evaluate import EvaluationError, Settings
from nas.evaluation.pictures import DPI, detections_on_image
from nas.evaluation.predict import Predicted, predict
from nas.terminal import console
from nas.text import NAME_LIMIT, plain

RESULTS_FILE = "detections.json"
IMAGES_FILE = "images.json"
PICTURES = "pictures"
JPEG = {"quality": 92}


def predict_images(
    model: str,
    places: Sequence[Path],
    out: Path,
    *,
    min_score: float,
    size: int | None,
    batch_size: int,
    resize: str,
    device: str,
    pictures: bool,
    reading: Reading,
) -> None:
    """Print a line per image, and write what was found; exit status 1 if some files could not be read."""
    detector, spec = given_detector(model, device)
    settings = Settings(size=size or spec.image_size, batch_size=batch_size, resize=resize)
    paths = find_images(places, without=out / PICTURES)
    made(out / PICTURES if pictures else out)
    classes = [name for _, name in sorted(zip(spec.category_ids, spec.classes, strict=True))]
    names = _picture_names(paths)
    images: dict[int, tuple[str, int, int]] = {}
    results: list[dict[str, Any]] = []
    for one in predict(detector, spec, paths, settings, min_score, reading):
        console.print(_line(one, classes), soft_wrap=True)
        if one.pixels is None or one.found is None:
            continue
        if pictures:
            figure = detections_on_image(one.pixels, classes, one.found)
            figure.savefig(out / PICTURES / names[one.path], dpi=DPI, pil_kwargs=JPEG)
        images[one.image_id] = str(one.path), one.pixels.shape[-1], one.pixels.shape[-2]
        results += one.results
    _write(out, images, results, spec)
    left_out = len(paths) - len(images)
    if left_out == len(paths):
        raise EvaluationError(f"none of the {left_out} files could be read as images, see above")
    console.print(
        f"{len(results)} detections with score >= {min_score:g} in {len(images)} images; everything is in {out}"
        + (f"; left out: {left_out} files that are no images" if left_out else ""),
        soft_wrap=True,
    )
    if left_out:
        sys.exit(1)


def _line(one: Predicted, classes: Sequence[str]) -> str:
    """Such as `street.jpg: 2 car (0.91), 1 person (0.40)`, each class with its best score."""
    if one.found is None:
        return f"{one.path} {one.error}"
    counts, best = Counter(one.found.labels.tolist()), dict[int, float]()
    for label, score in zip(one.found.labels.tolist(), one.found.scores.tolist(), strict=True):
        best.setdefault(label, score)
    parts = [f"{counts[label]} {plain(classes[label], NAME_LIMIT)} ({score:.2f})" for label, score in best.items()]
    return f"{one.path}: {', '.join(parts) or 'nothing'}"


def _picture_names(paths: Sequence[Path]) -> dict[Path, str]:
    """The image's own name, with a number where several have the same."""
    names: dict[Path, str] = {}
    used: Counter[str] = Counter()
    for path in paths:
        name = path.stem
        while name in used:
            used[path.stem] += 1
            name = f"{path.stem}-{used[path.stem]}"
        used[name] += 1
        names[path] = f"{name}.jpg"
    return names


def _write(
    out: Path, images: dict[int, tuple[str, int, int]], results: Sequence[dict[str, Any]], spec: DetectorSpec
) -> None:
    content = described(images, dict(zip(spec.category_ids, spec.classes, strict=True)))
    (out / IMAGES_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")
    (out / RESULTS_FILE).write_text(json.dumps(results) + "\n", encoding="utf-8")

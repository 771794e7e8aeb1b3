"""The embedded data set "signs": real digits on plates in real photographs, in COCO format.

The class of a plate (70..200 px) is the handwritten digit on the small tiles it carries; the class of a tile
(8..26 px) is the outline of the plate it lies on. So either class is decided at the other's scale, and a neck that
moves information both ways between scales is worth something by construction.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from pydantic import TypeAdapter

from nas.data.config import DataError, SignsConfig
from nas.data.drawing import draw
from nas.data.scene import CLASSES, Box, Plate, compose, meanings
from nas.data.sources import SPLITS, load_sources
from search_space.files import FileError, read_json

_log = logging.getLogger(__name__)

VERSION = 1
"""Raised whenever the same configuration gives other images or annotations than before."""

MANIFEST = "dataset.json"


def make_signs(root: Path, config: SignsConfig) -> None:
    """Write the data set to `root`, or do nothing if it is there already.

    The same configuration gives the same bytes. The directory appears complete or not at all, and several
    processes may call this at once.

    Raises:
        DataError: if `root` holds anything else, or scikit-learn or scikit-image is missing.
    """
    root = Path(root).absolute()
    if _is_made(root, config):  # asked without the lock, so that a read-only data set can be used
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if _is_made(root, config):
            return
        count = config.train + config.reward + config.test
        _log.info("making the embedded data set: %d images in %s", count, root)
        partial = root.parent / f".{root.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for index, split in enumerate(SPLITS):
            _write_split(partial, split, index, config)
        (partial / MANIFEST).write_text(json.dumps(_manifest(config), indent=2) + "\n")
        partial.rename(root)


def _manifest(config: SignsConfig) -> dict[str, Any]:
    return {
        "generator": "signs",
        "version": VERSION,
        "config": TypeAdapter(SignsConfig).dump_python(config, mode="json"),
    }


def _is_made(root: Path, config: SignsConfig) -> bool:
    """True if `root` holds exactly this data set, False if there is nothing; else a DataError."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    way_out = "choose another root, or delete that directory to have it made anew"
    try:
        found = read_json(root / MANIFEST)
    except FileError as error:
        raise DataError(
            f"{root} exists but holds no readable {MANIFEST} of the embedded data set; {way_out}"
        ) from error
    wanted = _manifest(config)
    if found != wanted:
        raise DataError(f"{root} holds another data set than asked for: {_difference(found, wanted)}; {way_out}")
    return True


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The fields in which two manifests differ, as text."""
    flat_found, flat_wanted = _flat(found), _flat(wanted)
    keys = sorted(key for key in flat_found | flat_wanted if flat_found.get(key) != flat_wanted.get(key))
    return ", ".join(f"{key} is {flat_found.get(key)} there, not {flat_wanted.get(key)}" for key in keys)


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    config = manifest.get("config")
    return {**manifest, "config": None, **(config if isinstance(config, dict) else {})}


def _write_split(root: Path, split: str, index: int, config: SignsConfig) -> None:
    """Images and annotation file of one split. Image k does not depend on how many images there are."""
    sources = load_sources(split)
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    pairs = meanings(np.random.default_rng([config.seed, index]))
    images, scenes = [], []
    for number in range(getattr(config, split)):
        rng = np.random.default_rng([config.seed, index, number])
        plates = compose(rng, config, pairs)
        name = f"{split}_{number + 1:05d}.png"
        draw(rng, config.image_size, plates, sources).save(
            root / split / name, compress_level=1, compress_type=zlib.Z_RLE
        )
        images.append({"id": number + 1, "file_name": name, "width": config.image_size, "height": config.image_size})
        scenes.append(plates)
    coco = {
        "info": {"description": f"signs, {split} split", "version": str(VERSION), "seed": config.seed},
        "licenses": [],
        "images": images,
        "annotations": _annotations(scenes),
        "categories": [
            {"id": number + 1, "name": name, "supercategory": name.split("_")[0]} for number, name in enumerate(CLASSES)
        ],
    }
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco) + "\n")


def _annotations(scenes: Sequence[Sequence[Plate]]) -> list[dict[str, Any]]:
    """COCO annotations of all scenes; `area` is the box's, so that AP by size treats all classes alike."""
    objects: list[tuple[int, int, Box]] = []
    for number, plates in enumerate(scenes):
        for plate in plates:
            objects.append((number + 1, plate.plate_class + 1, plate.box))
            objects.extend((number + 1, plate.tile_class + 1, tile) for tile in plate.tiles)
    return [
        {
            "id": number + 1,
            "image_id": image,
            "category_id": category,
            "bbox": [box.x, box.y, box.w, box.h],
            "area": box.w * box.h,
            "iscrowd": 0,
        }
        for number, (image, category, box) in enumerate(objects)
    ]

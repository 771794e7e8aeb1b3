"""Steps per second of COCO-sized proxy tasks: trained backbones, 512 px, three repeats of 256 channels; and the time
and disk that the features of a frozen backbone take on COCO's train2017.

Images are random JPEG files of COCO's usual size with as many boxes and classes as COCO has; they are read and scaled
as those of a search are, by loader processes if asked for. `--features` measures the features alone, which a CPU can
do, too; `--dry` is tiny, for a CPU.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from experiments.benchmarks.results import write_result
from experiments.coco import search
from nas.data.coco import open_splits
from nas.data.config import DataConfig, SplitConfig
from nas.data.letterboxed import Letterboxed
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.device import pick_device, synchronize
from nas.proxy.candidate import candidate_neck
from nas.proxy.config import ProxyConfig
from nas.proxy.features import cached_features
from nas.proxy.phases import Phases
from nas.proxy.task import ProxyTask
from search_space import known

CLASSES, BOXES = 80, 7
"""COCO has 80 classes and 7.3 boxes an image."""
WIDTH, HEIGHT = 640, 480
BACKBONES, BATCHES = ("resnet10", "resnet50"), (8, 16, 32, 64)
WARM_UP, STEPS = 3, 8
TRIAL_STEPS = 17_330
TRAIN2017 = 118_287
DISK = 100
"""GB that a subset of the features is to fit into."""
HEAD = (
    "| backbone | batch | s per step | images per s | reading, % | forward and backward, % | update, % "
    "| peak MiB | h of 17,330 steps |\n|---|---|---|---|---|---|---|---|---|"
)
FEATURE_HEAD = (
    f"| frozen backbone | images per s | MB per image | h of train2017 | GB of train2017 | images in {DISK} GB |\n"
    "|---|---|---|---|---|---|"
)

Row = dict[str, Any]


def write_images(root: Path, count: int) -> DataConfig:
    """A data set in COCO's format, of random images and boxes."""
    rng, pixels = random.Random(0), np.random.default_rng(0)
    (root / "images").mkdir(parents=True, exist_ok=True)
    images: list[Row] = []
    boxes: list[Row] = []
    for index in range(count):
        name = f"{index:06d}.jpg"
        small = pixels.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((WIDTH, HEIGHT)).save(root / "images" / name, quality=90)
        images.append({"id": index + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for _ in range(BOXES):
            w, h = rng.uniform(16, 300), rng.uniform(16, 300)
            box = [rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h), w, h]
            number = len(boxes) + 1
            kind = rng.randint(1, CLASSES)
            boxes.append(
                {"id": number, "image_id": index + 1, "category_id": kind, "bbox": box, "area": w * h, "iscrowd": 0}
            )
    categories = [{"id": index + 1, "name": f"class{index}"} for index in range(CLASSES)]
    path = root / "all.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    split = SplitConfig(annotations=path.name, images="images")
    return DataConfig(root=str(root), train=split, reward=split, test=None)


def rows(data: DataConfig, config: ProxyConfig, backbones: Sequence[str], batches: Sequence[int]) -> Iterator[Row]:
    """One row per backbone and batch; the reason in place of figures where a training fails."""
    for name in backbones:
        task = ProxyTask(replace(config, backbone=BackboneConfig(name=name)), data)
        for batch in batches:
            try:
                yield {"backbone": name, "batch": batch, **measured(task, batch)}
            except RuntimeError as error:
                yield {"backbone": name, "batch": batch, "error": str(error).partition("\n")[0]}


def measured(task: ProxyTask, batch: int) -> Row:
    """Seconds of a step of the NAS-FPN cell, and the shares of its phases."""
    task.config = replace(task.config, batch_size=batch)
    build = partial(candidate_neck, known.nas_fpn(), config=task.config.neck)
    phases = Phases(task.device)
    training = task.training(task.detector(build), 0, phases)
    if task.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    steps = training.steps()
    for _ in islice(steps, WARM_UP):
        synchronize(task.device)
    phases.seconds.clear()
    count = sum(1 for _ in islice(steps, STEPS))
    total = sum(phases.seconds.values())
    peak = torch.cuda.max_memory_allocated() / 2**20 if task.device.type == "cuda" else None
    return {"seconds": total / count, "steps": count, "phases": dict(phases.seconds), "peak_memory_mb": peak}


def feature_rows(data: DataConfig, config: ProxyConfig, backbones: Sequence[str]) -> Iterator[Row]:
    """Seconds and bytes of an image's features, written to disk as a search writes them."""
    images = Letterboxed(open_splits(data).train, config.image_size)
    device = pick_device(config.device)
    for name in backbones:
        backbone = build_backbone(BackboneConfig(name=name, frozen=True))
        start = time.perf_counter()
        with TemporaryDirectory() as folder:
            found = cached_features(images, backbone, Path(folder), device, loaders=config.loaders)
            seconds = time.perf_counter() - start
            size = sum(x.nbytes for x in found.maps.values())
        yield {"backbone": name, "seconds": seconds / len(images), "bytes": size / len(images)}


def table(found: Sequence[Row]) -> str:
    return "\n".join([HEAD, *map(_line, found)])


def feature_table(found: Sequence[Row]) -> str:
    lines = [
        f"| {row['backbone']} | {1 / row['seconds']:.1f} | {row['bytes'] / 1e6:.2f} "
        f"| {row['seconds'] * TRAIN2017 / 3600:.1f} | {row['bytes'] * TRAIN2017 / 1e9:.0f} "
        f"| {DISK * 1e9 / row['bytes']:,.0f} |"
        for row in found
    ]
    return "\n".join([FEATURE_HEAD, *lines])


def _line(row: Row) -> str:
    start = f"| {row['backbone']} | {row['batch']} |"
    if "error" in row:
        return f"{start} {row['error']} |" + " |" * 6
    total = sum(row["phases"].values())
    reading, update = (100 * row["phases"].get(name, 0) / total for name in ("inputs", "update"))
    peak = "-" if row["peak_memory_mb"] is None else f"{row['peak_memory_mb']:.0f}"
    return (
        f"{start} {row['seconds']:.3f} | {row['batch'] / row['seconds']:.0f} | {reading:.0f} "
        f"| {100 - reading - update:.0f} | {update:.0f} | {peak} | {row['seconds'] * TRIAL_STEPS / 3600:.1f} |"
    )


def settings(*, dry: bool) -> tuple[ProxyConfig, int, Sequence[str], Sequence[int]]:
    """Proxy task, number of images, backbones and batches."""
    config = replace(search().proxy, steps=TRIAL_STEPS)
    if not dry:
        return config, max(BATCHES), BACKBONES, BATCHES
    neck = replace(config.neck, channels=8, repeats=1)
    return replace(config, neck=neck, image_size=64, precision="fp32", device="cpu"), 4, ("resnet10",), (2,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="tiny, on the CPU; writes nothing")
    parser.add_argument("--features", action="store_true", help="the features of frozen backbones alone")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the trial")
    parser.add_argument("--loaders", type=int, default=0, help="processes that read images ahead")
    arguments = parser.parse_args()
    config, count, backbones, batches = settings(dry=arguments.dry)
    config = replace(config, threads=arguments.threads, loaders=arguments.loaders)
    with TemporaryDirectory() as folder:
        data = write_images(Path(folder), count)
        steps = [] if arguments.features else list(rows(data, config, backbones, batches))
        features = list(feature_rows(data, config, backbones))
    tables = [*([table(steps)] if steps else []), feature_table(features)]
    if arguments.dry:
        print("\n\n".join(tables))
        return
    name = "coco_features" if arguments.features else "coco_proxy"
    title = "Features of COCO" if arguments.features else "Steps of COCO-sized proxy tasks"
    print(write_result(name, title, "\n\n".join(tables), {"steps": steps, "features": features}))


if __name__ == "__main__":
    main()

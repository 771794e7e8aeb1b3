"""Damaged annotations, images, genotypes, configurations and checkpoints: each is used, or refused with a reason."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import coco, signs
from nas.configuration import from_dict, to_dict
from nas.data.check import check_data
from nas.data.coco import CocoSplit, open_splits
from nas.data.config import DataConfig, SplitConfig
from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.saved import DETECTOR_FILE, WEIGHTS_FILE, DetectorSpec, build_from_spec, load_detector, save_detector
from nas.errors import UserError
from nas.search.config import SearchConfig, build_space
from nas.search.proposing import build_controller
from nas.training.config import TrainConfig
from necks import build_neck
from necks.exported import neck_to_dict
from search_space import KNOWN, Genotype, GenotypeError, known_genotype
from tests.support.damage import damaged, torn
from tests.support.perfect import assert_perfect

FEW, MANY, MOST = range(100), range(2000), range(10_000)
"""Damaged inputs of each kind: in every run of the tests, and with `-m slow`, where those of plain data are `MOST`."""
MAX_SECONDS = 10
"""For any one input."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    (root / "images").mkdir()
    for number, (height, width) in enumerate(((20, 30), (24, 24), (16, 40)), start=1):
        pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
    boxes = [(1, [2, 3, 10, 8], 5), (1, [0, 0, 30, 20], 9), (2, [5.5, 1, 4, 20], 9), (3, [1, 1, 2, 2], 5)]
    content = {
        "info": {"description": "three pictures"},
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": height, "width": width}
            for number, (height, width) in enumerate(((20, 30), (24, 24), (16, 40)), start=1)
        ],
        "annotations": [
            {"id": k, "image_id": image, "bbox": box, "category_id": category, "area": 4, "iscrowd": k == 3}
            for k, (image, box, category) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    (root / "all.json").write_text(json.dumps(content))
    return root


def use_annotations(root: Path, seed: int, where: Path) -> None:
    rng = random.Random(seed)
    content = json.loads((root / "all.json").read_text())
    is_torn = rng.random() < 0.2
    text = json.dumps(content if is_torn else damaged(content, rng)).encode()
    (where / "damaged.json").write_bytes(torn(text, rng) if is_torn else text)
    split = SplitConfig(annotations=str(where / "damaged.json"), images="images")
    config = DataConfig(root=str(root), train=split, reward=split, test=None)
    problems = check_data(config)
    assert all("\n" not in str(problem) for problem in problems)
    if not any(problem.severity == "error" and problem.split == "reward" for problem in problems):
        assert_perfect(open_splits(config).reward)
    splits = open_splits(config)
    for index in range(len(splits.train)):
        image, target = splits.train[index]
        assert torch.isfinite(target["boxes"]).all()
        assert len(target["boxes"]) == 0 or target["boxes"].max() <= max(image.shape)


IMAGE_FORMATS = {
    ".png": ("RGB", "RGBA", "L", "LA", "P", "1"),
    ".jpg": ("RGB", "L", "CMYK"),
    ".gif": ("RGB", "P"),
    ".bmp": ("RGB", "L", "P"),
    ".webp": ("RGB", "RGBA"),
    ".tiff": ("RGB", "L", "CMYK"),
}


def use_image(root: Path, seed: int, where: Path) -> None:
    rng = random.Random(seed)
    suffix, modes = rng.choice(list(IMAGE_FORMATS.items()))
    with Image.open(root / "images" / "1.png") as image:
        image.convert(rng.choice(modes)).save(where / f"whole{suffix}")
    path = where / f"image{suffix}"
    path.write_bytes(torn((where / f"whole{suffix}").read_bytes(), rng))
    content = json.loads((root / "all.json").read_text())
    content["images"] = [{**content["images"][0], "file_name": path.name}]
    content["annotations"] = content["annotations"][:2]
    (where / "one.json").write_text(json.dumps(content))
    image, _ = CocoSplit(where / "one.json", where)[0]
    assert (image.shape, image.dtype) == ((3, 20, 30), torch.uint8)


def use_genotype(root: Path, seed: int, where: Path) -> None:
    rng = random.Random(seed)
    whole = known_genotype(rng.choice(list(KNOWN)))
    if rng.random() < 0.7:
        text = json.dumps(damaged(whole.to_dict(), rng))
    else:
        text = torn(whole.to_json().encode(), rng).decode(errors="replace")
    genotype = Genotype.from_json(text)
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype
    assert again.fingerprint == genotype.fingerprint
    assert again.to_json() == genotype.to_json()
    if genotype == whole:
        assert (genotype.fingerprint, genotype.to_json()) == (whole.fingerprint, whole.to_json())
    with contextlib.suppress(ValueError):  # levels that backbones have no maps for
        build_neck(genotype, in_channels=(4, 4, 4), out_channels=4)


def use_config(root: Path, seed: int, where: Path) -> None:
    rng = random.Random(seed)
    makers = (signs.search, signs.wide, signs.train, coco.search, coco.nas_fpn)
    config = rng.choice(makers)()
    kind = SearchConfig if isinstance(config, SearchConfig) else TrainConfig
    data = damaged(to_dict(config), rng)
    if not isinstance(data, dict):
        return
    again = from_dict(kind, data)
    text = json.dumps(to_dict(again), allow_nan=False)
    assert from_dict(kind, json.loads(text)) == again
    if isinstance(again, SearchConfig):
        build_controller(again, build_space(again))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved")
    neck = build_neck("fpn", in_channels=(128, 256, 512), out_channels=8)
    spec = DetectorSpec(
        backbone=BackboneConfig(name="resnet10"),
        neck=neck_to_dict(neck),
        head=HeadConfig(convs=0, octaves=1, ratios=(1.0,)),
        image_size=64,
        classes=("cat", "dog"),
        category_ids=(5, 9),
    )
    save_detector(build_from_spec(spec).state_dict(), spec, path)
    return path


def use_checkpoint(saved: Path, seed: int, where: Path) -> None:
    rng = random.Random(seed)
    shutil.copytree(saved, where, dirs_exist_ok=True)
    if rng.random() < 0.6:
        data = json.loads((saved / DETECTOR_FILE).read_text())
        (where / DETECTOR_FILE).write_text(json.dumps(damaged(data, rng)))
    else:
        (where / WEIGHTS_FILE).write_bytes(torn((saved / WEIGHTS_FILE).read_bytes(), rng))
    detector, _ = load_detector(where)
    assert not detector.training


def ends_well(use: Any, source: Path, seed: int, where: Path) -> bool:
    """Whether the input was used; an error other than those for users comes out."""
    where.mkdir(exist_ok=True)
    start = time.process_time()
    try:
        use(source, seed, where)
    except (UserError, GenotypeError) as error:
        reason = str(error).strip()
    else:
        return True
    finally:
        assert time.process_time() - start < MAX_SECONDS
    assert 10 < len(reason) < 4000
    assert "\n" not in reason
    return False


KINDS = (use_annotations, use_image, use_genotype, use_config)


@pytest.mark.parametrize("use", KINDS)
def test_damaged_inputs_are_used_or_refused(use, root, tmp_path):
    used = [ends_well(use, root, seed, tmp_path / "place") for seed in FEW]
    assert 0 < sum(used) < len(used)


def test_damaged_checkpoints_are_used_or_refused(saved, tmp_path):
    used = [ends_well(use_checkpoint, saved, seed, tmp_path / "place") for seed in FEW]
    assert 0 < sum(used) < len(used)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("use", KINDS)
def test_many_damaged_inputs(use, root, tmp_path):
    for seed in MANY if use is use_image else MOST:
        ends_well(use, root, seed, tmp_path / "place")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_damaged_checkpoints(saved, tmp_path):
    for seed in MANY:
        ends_well(use_checkpoint, saved, seed, tmp_path / "place")

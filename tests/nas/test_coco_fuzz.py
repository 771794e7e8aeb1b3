"""COCO files with odd values field by field: each is scored truly, or reported in a line before any work."""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nas.data.check import check_data
from nas.data.coco import open_splits
from nas.data.config import DataConfig, SplitConfig
from tests.support.perfect import assert_perfect

MISSING = object()

FIELDS = {
    "images": ("id", "file_name", "width", "height", "license", "date_captured"),
    "annotations": (
        "id", "image_id", "category_id", "bbox", "bbox.0", "bbox.1", "bbox.2", "bbox.3", "area", "iscrowd", "ignore",
        "segmentation", "score", "keypoints", "num_keypoints", "extra",
    ),
    "categories": ("id", "name", "supercategory", "keypoints"),
}  # fmt: skip

VALUES = (
    MISSING, None, "text", "", "0", "1", "7", "2.5", " 3 ", "nan", 0, 1, 2, 7, 3.0, 2.5, 1e-9, -0.0, -1, -7.5, math.nan,
    math.inf, -math.inf, 1e12, 1e308, 10**6, 2**53, 10**19, True, False, [], [0], [1, 2, 3, 4], {}, {"a": 1},
)  # fmt: skip
NUMBERS = {
    "images": ("id", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox.0", "bbox.1", "bbox.2", "bbox.3", "area", "iscrowd"),
    "categories": ("id",),
}

ROUNDS = 3_000
"""Sets with one to five changes each, of the slow test."""


def whole() -> dict[str, Any]:
    """Three images, two classes, one crowd."""
    boxes = [
        (1, [2, 3, 10, 8], 5, 0), (1, [0, 0, 30, 20], 9, 0), (2, [5.5, 1, 4, 20], 9, 1), (3, [1, 1, 12, 9], 5, 0),
        (3, [20, 4, 16, 11], 9, 0),
    ]  # fmt: skip
    return {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": width, "height": height, "license": 1}
            for number, (width, height) in enumerate(((30, 20), (24, 24), (40, 16)), start=1)
        ],
        "annotations": [
            {
                "id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3],
                "iscrowd": crowd, "segmentation": [],
            }
            for number, (image, box, category, crowd) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 5, "name": "cat", "supercategory": "pet"}, {"id": 9, "name": "dog"}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    for image in whole()["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(root / image["file_name"])
    return root


def changed(content: dict[str, Any], section: str, index: int, field: str, value: Any) -> None:
    """Put a value into one place; a number of a box is `bbox.N`."""
    entry, value = content[section][index], value if value is MISSING else copy.deepcopy(value)
    name, _, side = field.partition(".")
    if side and isinstance(entry.get(name), list) and len(entry[name]) == 4:
        entry, name = entry[name], int(side)
        value = None if value is MISSING else value
    if value is MISSING:
        entry.pop(name, None)
    else:
        entry[name] = value


def config_of(root: Path, content: dict[str, Any]) -> DataConfig:
    (root / "fuzzed.json").write_text(json.dumps(content))
    split = SplitConfig(annotations="fuzzed.json", images=".")
    return DataConfig(root=str(root), train=split, reward=split, test=None)


def ends_well(root: Path, content: dict[str, Any]) -> bool:
    """Whether the set is scored, with an AP of 100 for what is in it; otherwise the check says why not."""
    config = config_of(root, content)
    problems = [problem for problem in check_data(config, full=True) if "is in train too" not in problem.message]
    for problem in problems:
        assert "\n" not in str(problem)
        assert 20 < len(str(problem)) < 700
    if any(problem.severity == "error" for problem in problems):
        return False
    splits = open_splits(config)
    assert_perfect(splits.reward)
    for index in range(len(splits.train)):
        image, target = splits.train[index]
        assert torch.isfinite(target["boxes"]).all()
        assert len(target["boxes"]) == 0 or target["boxes"].max() <= max(image.shape)
    return True


def test_the_set_is_good_as_it_is(root):
    assert ends_well(root, whole())


@pytest.mark.parametrize("section", FIELDS)
def test_every_field_with_every_value(root, section):
    ends = {True: 0, False: 0}
    for field in FIELDS[section]:
        for value in VALUES:
            content = whole()
            changed(content, section, 0, field, value)
            try:
                ends[ends_well(root, content)] += 1
            except Exception as error:
                raise AssertionError(f"{section}[0].{field} = {value!r}: {error!r}") from error
    assert min(ends.values()) > 20


def rewritten(value: Any) -> list[Any]:
    """The same number in other ways."""
    same = [str(value), f" {value}", float(value), str(float(value))]
    return [*same, bool(value)] if value in (0, 1) else same


def targets(config: DataConfig) -> list[tuple[Any, ...]]:
    split = open_splits(config).train
    found = [split.target(index) for index in range(len(split))]
    return [(one["image_id"], one["boxes"].tolist(), one["labels"].tolist()) for one in found]


@pytest.mark.parametrize("section", NUMBERS)
def test_numbers_mean_the_same_however_they_are_written(root, section):
    expected = targets(config_of(root, whole()))
    for field in NUMBERS[section]:
        name, _, side = field.partition(".")
        for index, entry in enumerate(whole()[section]):
            value = entry[name][int(side)] if side else entry[name]
            for same in rewritten(value):
                if isinstance(same, bool) and name != "iscrowd":
                    continue
                content = whole()
                changed(content, section, index, field, same)
                assert ends_well(root, content), (section, field, same)
                assert targets(config_of(root, content)) == expected


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_changes_at_once(root):
    ends = {True: 0, False: 0}
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        content = whole()
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            section = rng.choice(list(FIELDS))
            index = rng.randrange(len(content[section]))
            changed(content, section, index, rng.choice(FIELDS[section]), rng.choice(VALUES))
        try:
            ends[ends_well(root, content)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    assert min(ends.values()) > ROUNDS / 10

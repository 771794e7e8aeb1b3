"""Fields of annotations that are written in another way: read as what they mean by all, or reported by the check."""

import json

import pytest
import torch

from nas.data.check import check_split
from nas.data.coco import CocoSplit
from nas.data.config import DataError, SplitConfig
from nas.data.evaluate import Detections, coco_ap
from tests.support.perfect import assert_perfect

SCORERS = ("pycocotools", "faster_coco_eval")
BOX = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [4, 4, 40, 40], "area": 1600, "iscrowd": 0}
MISSING = "(missing)"


@pytest.fixture
def split_of(tmp_path):
    def write(image=None, category=None, **fields):
        entry = {name: value for name, value in {**BOX, **fields}.items() if value is not MISSING}
        content = {
            "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 64, **(image or {})}],
            "annotations": [entry, {**BOX, "id": 2, "bbox": [50, 50, 10, 10], "area": 100}],
            "categories": [{"id": 5, "name": "cat", **(category or {})}],
        }
        (tmp_path / "1.png").touch()
        (tmp_path / "all.json").write_text(json.dumps(content))
        return tmp_path / "all.json"

    return write


def errors(path):
    problems = check_split(path.parent, SplitConfig(annotations=path.name, images="."), "test")
    return [problem.message for problem in problems if problem.severity == "error"]


def scores(path):
    """AP of perfect detections of what is no crowd, by each scorer."""
    split = CocoSplit(path, path.parent)
    target = split.target(0)
    found = Detections(target["boxes"], torch.ones(len(target["labels"])), target["labels"])
    return [coco_ap(split, {1: found}, scorer=scorer) for scorer in SCORERS]


@pytest.mark.parametrize(
    "fields",
    [
        {"iscrowd": None}, {"iscrowd": MISSING}, {"iscrowd": "0"}, {"iscrowd": False}, {"iscrowd": 0.0},
        {"area": None}, {"area": MISSING}, {"area": "1600"}, {"area": "1.6e3"}, {"area": 1600.0},
        {"bbox": ["4", 4.0, "40.0", " 40 "]},
        {"id": "1"}, {"id": 1.0}, {"image_id": "1"}, {"category_id": 5.0}, {"category_id": "5"},
        {"segmentation": None}, {"segmentation": "x"}, {"score": None}, {"score": "high"}, {"keypoints": {}},
        {"image": {"width": "64", "height": 64.0}}, {"image": {"id": "1", "license": None}},
        {"category": {"id": "5", "supercategory": None}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_plain_is_read_as_what_it_means(split_of, fields):
    path = split_of(**fields)
    assert errors(path) == []
    first, second = scores(path)
    assert first["AP"] == pytest.approx(100)
    assert first["APm"] == pytest.approx(100)
    assert first == pytest.approx(second, abs=1e-9)


@pytest.mark.parametrize("crowd", [1, True, "1", 1.0])
def test_crowds_are_crowds_however_they_are_written(split_of, crowd):
    path = split_of(iscrowd=crowd)
    assert errors(path) == []
    assert len(CocoSplit(path, path.parent).target(0)["labels"]) == 1
    assert [found["AP"] for found in scores(path)] == pytest.approx([100, 100])


@pytest.mark.parametrize("ignore", [1, True, "1", 1.0])
@pytest.mark.parametrize("crowd", [MISSING, None, 0, 1])
def test_what_is_to_be_ignored_is_a_crowd(split_of, ignore, crowd):
    path = split_of(ignore=ignore, iscrowd=crowd)
    assert errors(path) == []
    assert len(CocoSplit(path, path.parent).target(0)["labels"]) == 1
    assert [found["AP"] for found in scores(path)] == pytest.approx([100, 100])


def test_what_is_not_to_be_ignored_is_an_object(split_of):
    path = split_of(ignore=0)
    assert len(CocoSplit(path, path.parent).target(0)["labels"]) == 2


@pytest.mark.parametrize("bbox", [[4, 4, 0, 40], [4, 4, 1e-9, 40], [-20, 4, 40, 40], [40, 40, 40, 40]])
def test_boxes_without_area_are_neither_trained_nor_scored(split_of, bbox):
    path = split_of(bbox=bbox)
    assert errors(path) == []
    assert_perfect(CocoSplit(path, path.parent))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iscrowd": 0.5}, "iscrowd 0.5, but it must be 0 or 1"),
        ({"iscrowd": 2}, "iscrowd 2"),
        ({"iscrowd": "no"}, "iscrowd 'no'"),
        ({"iscrowd": [0]}, "iscrowd"),
        ({"iscrowd": float("nan")}, "iscrowd nan"),
        ({"ignore": 0.5}, "ignore 0.5, but it must be 0 or 1"),
        ({"ignore": "yes"}, "ignore 'yes'"),
        ({"area": "large"}, "area 'large', but it must be a number"),
        ({"area": -1}, "area -1"),
        ({"area": float("inf")}, "area inf"),
        ({"area": 1e300}, "area 1e"),
        ({"area": True}, "area True"),
        ({"bbox": None}, "lacks bbox"),
        ({"bbox": [4, 4, 40, None]}, "bbox"),
        ({"bbox": [4, 4, 1e308, 40]}, "bbox"),
        ({"bbox": [4, 4, "wide", 40]}, "bbox"),
        ({"bbox": [4, 4, 40, True]}, "bbox"),
        ({"id": None}, "lacks id"),
        ({"id": 10**19}, "ids must be whole numbers"),
        ({"id": 1.5}, "ids must be whole numbers"),
        ({"image_id": True}, "ids must be whole numbers"),
        ({"category_id": "cat"}, "ids must be whole numbers"),
        ({"image": {"width": 10**19}}, "width"),
        ({"image": {"height": "tall"}}, "height"),
        ({"image": {"file_name": None}}, "lacks file_name"),
        ({"category": {"name": None}}, "lacks name"),
    ],
    ids=str,
)
def test_what_means_nothing_is_reported_and_refused_before_any_scorer(split_of, fields, message):
    path = split_of(**fields)
    assert any(message in error for error in errors(path))
    assert all("\n" not in error and len(error) < 400 for error in errors(path))
    with pytest.raises(DataError, match="malformed entries"):
        CocoSplit(path, path.parent)

"""Every way in which a data set can be wrong is found, named, and given a severity."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas.data.check import check_data, check_split
from nas.data.config import DataConfig, SignsConfig
from nas.data.problems import MAX_PER_KIND, Problem

Content = dict[str, Any]


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    assert "\n" not in str(problems[0])
    return problems[0]


@pytest.mark.parametrize("full", [False, True])
def test_a_good_set_has_no_problems(coco_files: Any, signs_root: Path, tmp_path: Path, full: bool) -> None:
    assert check_data(coco_files.all(), full=full) == []
    shutil.copytree(signs_root, tmp_path / "signs")
    assert check_data(DataConfig(root=str(tmp_path / "signs")), full=full) == []


def _annotate(index: int, **fields: Any) -> Callable[[Content], None]:
    return lambda content: content["annotations"][index].update(fields)


@pytest.mark.parametrize(
    ("edit", "severity", "parts"),
    [
        (_annotate(2, image_id=11), "error", ["annotation 3", "image 11", "not listed"]),
        (_annotate(2, category_id=8), "error", ["annotation 3", "category 8", "[7, 90]"]),
        (_annotate(2, bbox=[64, 0, 5, 5]), "error", ["annotation 3", "64x48", "wholly outside"]),
        (_annotate(2, bbox=[30, 10, -5, 5]), "error", ["annotation 3", "negative size"]),
        (_annotate(2, bbox=[0, 0, 70, 48]), "warning", ["annotation 3", "beyond its edge"]),
        (_annotate(2, bbox=[3, 3, 0, 5]), "warning", ["annotation 3", "without area"]),
        (_annotate(2, bbox=[0, 0, float("nan"), 5]), "error", ["annotations[2]", "four finite numbers"]),
        (_annotate(2, bbox=[0, 0, 5]), "error", ["annotations[2]", "four finite numbers"]),
        (_annotate(2, bbox="0 0 5 5"), "error", ["annotations[2]", "four finite numbers"]),
        (_annotate(2, id=1), "error", ["annotations[2]", "repeats id 1"]),
        (_annotate(2, image_id="twenty"), "error", ["annotations[2]", "image_id 'twenty'", "whole numbers"]),
        (lambda content: content["annotations"][2].pop("bbox"), "error", ["annotations[2]", "lacks bbox"]),
        (lambda content: content["annotations"].append(None), "error", ["annotations[3]", "must be an object"]),
        (lambda content: content["images"].append({"id": 40}), "error", ["images[3]", "lacks file_name"]),
        (
            lambda content: content["images"].append(dict(content["images"][0])),
            "error",
            ["images[3]", "repeats id 30"],
        ),
        (
            lambda content: content["images"].append({**content["images"][0], "id": 31}),
            "warning",
            ["2 images share the file train_30.png"],
        ),
        (lambda content: content["images"][0].pop("width"), "error", ["id 30", "lacks width"]),
        (
            lambda content: content["categories"].append({"id": 90, "name": "bird"}),
            "error",
            ["categories[2]", "repeats id 90"],
        ),
        (_annotate(2, bbox=[-0.5, -0.5, 65, 49]), None, []),
    ],
)
def test_entries(coco_files: Any, edit: Callable[[Content], None], severity: str | None, parts: list[str]) -> None:
    split = coco_files.write("train", edit)
    problems = check_split(coco_files.root, split)
    if severity is None:
        assert problems == []
        return
    problem = only(problems)
    assert problem.severity == severity
    assert problem.split == "train"
    for part in ["instances_train.json", *parts]:
        assert part in problem.message


@pytest.mark.parametrize("name", ["reward", "test"])
def test_a_class_that_cannot_be_scored(coco_files: Any, name: str) -> None:
    coco_files.all()
    coco_files.write(name, lambda content: content["annotations"].pop(0))
    problem = only(check_data(coco_files.config()))
    assert (problem.severity, problem.split) == ("warning", name)
    assert "category 7 ('cat') has no annotation" in problem.message


def test_a_class_of_crowds_is_empty(coco_files: Any) -> None:
    split = coco_files.write("train", _annotate(0, iscrowd=1))
    assert "('cat') has no annotation" in only(check_split(coco_files.root, split)).message


def test_a_class_that_the_hold_out_takes_away_is_found(coco_files: Any) -> None:
    """'cat' is on one image of three: wherever that image goes, the other side has none."""
    coco_files.write("train")
    for seed in range(5):
        problems = check_data(coco_files.config(reward=None, test=None, holdout=1, split_seed=seed))
        assert any("('cat') has no annotation" in problem.message for problem in problems)
    too_many = check_data(coco_files.config(reward=None, test=None, holdout=3))
    assert "3 are to be held out" in only(too_many).message


def test_categories_of_one_name(coco_files: Any) -> None:
    split = coco_files.write("train", lambda content: content["categories"][0].update(name="cat"))
    assert "2 categories are named 'cat'" in only(check_split(coco_files.root, split)).message


@pytest.mark.parametrize("content", ["", "{", '{"images": [', "[]", "null", '{"images": [], "annotations": []}'])
def test_broken_files(coco_files: Any, content: str) -> None:
    config = coco_files.all()
    path = coco_files.root / "annotations" / "instances_reward.json"
    path.write_text(content)
    problem = only(check_data(config))
    assert (problem.severity, problem.split) == ("error", "reward")
    assert str(path) in problem.message


def test_truncated_file(coco_files: Any) -> None:
    config = coco_files.all()
    path = coco_files.root / "annotations" / "instances_train.json"
    path.write_bytes(path.read_bytes()[:-100])
    assert "not valid JSON" in only(check_data(config)).message
    path.unlink()
    assert "cannot be read" in only(check_data(config)).message


def test_empty_lists(coco_files: Any) -> None:
    split = coco_files.write("train", lambda content: [content[key].clear() for key in content])
    messages = [problem.message for problem in check_split(coco_files.root, split)]
    assert any("lists no images" in message for message in messages)
    assert any("lists no categories" in message for message in messages)


def test_missing_image_and_folder(coco_files: Any) -> None:
    config = coco_files.all()
    (coco_files.root / "train" / "train_20.png").unlink()
    problem = only(check_data(config))
    assert problem.severity == "error"
    assert "image 20" in problem.message
    assert "does not exist" in problem.message
    shutil.rmtree(coco_files.root / "test")
    assert any("image folder" in str(problem) and problem.split == "test" for problem in check_data(config))


@pytest.mark.parametrize("spoil", [b"", b"not an image", None])
def test_unreadable_images_are_found_in_full_mode(coco_files: Any, spoil: bytes | None) -> None:
    config = coco_files.all()
    path = coco_files.root / "train" / "train_20.png"
    path.write_bytes(path.read_bytes()[:4000] if spoil is None else spoil)
    assert check_data(config) == []
    problem = only(check_data(config, full=True))
    assert "image 20" in problem.message
    assert "cannot be read" in problem.message


def test_wrong_size_is_found_in_full_mode(coco_files: Any) -> None:
    config = coco_files.all()
    Image.new("RGB", (48, 64)).save(coco_files.root / "train" / "train_20.png")
    assert check_data(config) == []
    assert "is 48x64 pixels, but stated as 64x48" in only(check_data(config, full=True)).message


def test_splits_with_different_categories(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("test", lambda content: content["categories"][0].update(name="wolf"))
    problem = only(check_data(coco_files.config()))
    assert (problem.severity, problem.split) == ("error", "data")
    assert "'dog'" in problem.message
    assert "'wolf'" in problem.message


def test_images_shared_between_splits(coco_files: Any) -> None:
    coco_files.all()
    shutil.copy(coco_files.root / "train" / "train_10.png", coco_files.root / "test" / "train_10.png")
    coco_files.write("test", lambda content: content["images"][0].update(file_name="train_10.png"))
    problem = only(check_data(coco_files.config()))
    assert "of test is in train too" in problem.message
    assert "image 30" in problem.message


def test_other_images_of_the_same_name_are_no_problem(coco_files: Any) -> None:
    coco_files.all()
    Image.new("RGB", (64, 48)).save(coco_files.root / "test" / "train_10.png")
    coco_files.write("test", lambda content: content["images"][0].update(file_name="train_10.png"))
    assert check_data(coco_files.config()) == []


def test_a_split_given_twice_is_found(coco_files: Any) -> None:
    coco_files.all()
    split = coco_files.write("train")
    problems = check_data(coco_files.config(test=split))
    assert len(problems) == 3
    assert all("of test is in train too" in problem.message for problem in problems)


def test_many_problems_of_one_kind_are_counted(coco_files: Any) -> None:
    def edit(content: Content) -> None:
        content["annotations"] += [{**content["annotations"][0], "id": 100 + k, "image_id": 5} for k in range(500)]
        content["annotations"].append({**content["annotations"][0], "id": 99, "category_id": 5})

    problems = check_split(coco_files.root, coco_files.write("train", edit))
    assert len(problems) == MAX_PER_KIND + 2
    assert any(f"and {500 - MAX_PER_KIND} more of this kind" in problem.message for problem in problems)
    assert any("category 5" in problem.message for problem in problems)


@pytest.mark.parametrize("count", [3, 20])
def test_many_warnings_of_one_kind_are_one_line(coco_files: Any, count: int) -> None:
    def edit(content: Content) -> None:
        empty = {**content["annotations"][0], "bbox": [1, 1, 0, 5]}
        content["annotations"] += [{**empty, "id": 100 + k} for k in range(count)]

    problems = check_split(coco_files.root, coco_files.write("train", edit))
    if count == 3:
        assert [problem.severity for problem in problems] == ["warning"] * 3
        return
    problem = only(problems)
    assert problem.severity == "warning"
    assert problem.message.startswith("20 warnings of this kind (empty boxes), such as: ")
    assert problem.message.count("annotation 100 has bbox [1, 1, 0, 5] without area") == 1


def test_errors_come_before_warnings(coco_files: Any) -> None:
    def edit(content: Content) -> None:
        content["annotations"][1].update(bbox=[0, 0, 0, 5])
        content["annotations"].append({**content["annotations"][0], "id": 9, "image_id": 5})

    severities = [problem.severity for problem in check_split(coco_files.root, coco_files.write("train", edit))]
    assert severities == ["error", "warning"]


def test_missing_root_and_other_embedded_set(tmp_path: Path, signs_root: Path) -> None:
    assert "is not a directory" in only(check_data(DataConfig(root=str(tmp_path / "none")))).message
    other = DataConfig(root=str(signs_root), embedded=SignsConfig(train=3, reward=1, test=1))
    assert "another data set" in only(check_data(other)).message

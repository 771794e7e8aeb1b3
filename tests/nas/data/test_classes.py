"""Classes: those that train has boxes of, as far as they were chosen."""

from __future__ import annotations

from typing import Any

import pytest

from nas.data.check import check_data
from nas.data.coco import digest, open_splits
from nas.data.config import DataError
from tests.support.perfect import assert_perfect

Content = dict[str, Any]
SPLITS = ("train", "reward", "test")


def write_all(coco_files: Any, edit: Any) -> None:
    for name in SPLITS:
        coco_files.write(name, edit)


def root_category(name: str = "animals") -> Any:
    """As Roboflow exports: the others' supercategory is a category, too."""

    def edit(content: Content) -> None:
        for category in content["categories"]:
            category["supercategory"] = name
        content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})

    return edit


def without_cats(content: Content) -> None:
    content["annotations"].pop(0)


@pytest.mark.parametrize("name", ["animals", "dog"])
def test_a_root_category_is_left_out_with_a_note(coco_files, name):
    write_all(coco_files, root_category(name))
    (problem,) = check_data(coco_files.config())
    assert (problem.severity, problem.split) == ("warning", "train")
    assert f"category 0 ({name!r}) is only the supercategory of others and is left out" in problem.message
    splits = open_splits(coco_files.config())
    for split in (splits.train, splits.reward, splits.test):
        assert (split.category_ids, split.classes) == ((7, 90), ("cat", "dog"))
        assert split.target(0)["labels"].tolist() == [0, 1]
        assert_perfect(split)


def test_a_class_without_boxes_is_left_out_of_all_splits(coco_files):
    write_all(coco_files, None)
    coco_files.write("train", without_cats)
    problems = check_data(coco_files.config())
    assert [problem.severity for problem in problems] == ["warning"] * 3
    assert "category 7 ('cat') has no annotation in this split's images, so it is left out" in problems[0].message
    for problem in problems[1:]:
        assert "category 7 ('cat') has 1 boxes here and none in the images to train on" in problem.message
    splits = open_splits(coco_files.config())
    for split in (splits.train, splits.reward, splits.test):
        assert split.classes == ("dog",)
        assert split.target(0)["labels"].tolist() == [0]
        assert_perfect(split)


def test_a_category_that_only_train_lists_and_has_no_boxes_of_is_left_out(coco_files):
    write_all(coco_files, None)
    coco_files.write("train", lambda content: content["categories"].append({"id": 99, "name": "ghost"}))
    (problem,) = check_data(coco_files.config())
    assert (problem.severity, "'ghost'" in problem.message) == ("warning", True)
    assert open_splits(coco_files.config()).train.classes == ("cat", "dog")


def test_a_class_that_was_held_out_is_left_out(coco_files):
    """'cat' is on image 10 only."""
    coco_files.write("train")
    seen = set()
    for seed in range(12):
        config = coco_files.config(reward=None, test=None, holdout=1, split_seed=seed)
        if any(problem.severity == "error" for problem in check_data(config)):
            continue
        splits = open_splits(config)
        assert splits.train.classes == splits.reward.classes
        assert splits.train.classes == (("dog",) if 10 in splits.reward.image_ids else ("cat", "dog"))
        assert splits.reward.coco is splits.train.coco
        seen.add(splits.train.classes)
    assert len(seen) == 2


def test_chosen_categories(coco_files):
    write_all(coco_files, None)
    config = coco_files.config(categories=("dog",))
    assert check_data(config) == []
    splits = open_splits(config)
    assert splits.train.classes == splits.reward.classes == splits.test.classes == ("dog",)
    assert splits.train.target(0)["boxes"].tolist() == [[20, 5, 50, 35]]
    assert len(splits.train) == 3
    assert_perfect(splits.test)


@pytest.mark.parametrize("every", [None, (), ("dog", "cat")])
def test_all_categories(coco_files, every):
    write_all(coco_files, None)
    train = open_splits(coco_files.config(categories=every)).train
    assert train.classes == ("cat", "dog")
    assert digest(train) == digest(open_splits(coco_files.config()).train)


def test_caches_of_other_classes_are_others(coco_files):
    write_all(coco_files, None)
    digests = {digest(open_splits(coco_files.config(categories=each)).train) for each in (None, ("dog",), ("cat",))}
    assert len(digests) == 3


def test_an_unknown_category_is_a_line_that_lists_what_is_there(coco_files):
    write_all(coco_files, None)
    config = coco_files.config(categories=("dog", "bird"))
    (problem,) = check_data(config)
    assert problem.severity == "error"
    assert "data.categories names 'bird', but the categories of" in problem.message
    assert problem.message.endswith("are 'cat', 'dog'")
    with pytest.raises(DataError, match=r"names 'bird', but .* are 'cat', 'dog'"):
        open_splits(config)


def _bird(content: Content, boxes: bool) -> None:
    content["categories"].append({"id": 3, "name": "bird"})
    if boxes:
        content["annotations"].append({**content["annotations"][0], "id": 9, "category_id": 3})


def test_a_category_that_train_lacks_is_an_error_where_it_has_boxes_and_was_not_left_out_by_choice(coco_files):
    write_all(coco_files, None)
    coco_files.write("test", lambda content: _bird(content, boxes=False))
    assert check_data(coco_files.config()) == []
    assert open_splits(coco_files.config()).test.classes == ("cat", "dog")
    coco_files.write("test", lambda content: _bird(content, boxes=True))
    (problem,) = check_data(coco_files.config())
    assert "the second alone has [(3, 'bird')]" in problem.message
    with pytest.raises(DataError, match="bird"):
        open_splits(coco_files.config())
    chosen = coco_files.config(categories=("cat", "dog"))
    assert check_data(chosen) == []
    assert_perfect(open_splits(chosen).test)


def test_a_train_split_without_any_box_is_an_error(coco_files):
    write_all(coco_files, None)
    coco_files.write("train", lambda content: content["annotations"].clear())
    errors = [problem for problem in check_data(coco_files.config()) if problem.severity == "error"]
    assert len(errors) == 1
    assert "nothing can be learned" in errors[0].message
    with pytest.raises(DataError, match="has no box to learn from"):
        open_splits(coco_files.config())

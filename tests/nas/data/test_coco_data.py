"""Splits as torch data sets: targets, hold-out, errors, digests."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from nas.data.coco import CocoSplit, digest, open_splits
from nas.data.config import DataConfig, DataError, SignsConfig


def _changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    """Changes train's first annotation, of a cat; there is another cat."""

    def edit(content: dict[str, Any]) -> None:
        content["annotations"].append({**content["annotations"][0], "id": 4, "image_id": 20})
        content["annotations"][0].update(fields)

    return edit


def test_items_follow_the_contract(coco_files: Any) -> None:
    train = open_splits(coco_files.all()).train
    assert train.image_ids == (10, 20, 30)
    assert train.category_ids == (7, 90)
    assert train.classes == ("cat", "dog")
    image, target = train[0]
    assert image.dtype == torch.uint8
    assert image.shape == (3, 48, 64)
    assert np.array_equal(image.permute(1, 2, 0), np.asarray(Image.open(train.image_path(10))))
    assert target["boxes"].dtype == torch.float32
    assert target["boxes"].tolist() == [[2, 3, 12, 23], [20, 5, 50, 35]]
    assert target["labels"].tolist() == [0, 1]
    assert target["labels"].dtype == torch.int64
    assert target["image_id"] == 10


def test_images_without_boxes_are_kept(coco_files: Any) -> None:
    _, target = open_splits(coco_files.all()).train[2]
    assert target["image_id"] == 30
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    assert target["labels"].dtype == torch.int64


def test_crowds_are_no_targets_but_stay_annotations(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("train", _changed(iscrowd=1))
    train = open_splits(coco_files.config()).train
    assert train[0][1]["labels"].tolist() == [1]
    assert len(train.coco.imgToAnns[10]) == 2


@pytest.mark.parametrize("bbox", [[], [1, 2, 3], None, "box"])
def test_boxes_that_are_none_are_refused(coco_files: Any, bbox: Any) -> None:
    coco_files.all()
    coco_files.write("train", lambda content: [entry.update(bbox=bbox) for entry in content["annotations"]])
    with pytest.raises(DataError, match="malformed"):
        open_splits(coco_files.config()).train[0]


@pytest.mark.parametrize("bbox", [[5, 5, 0, 10], [5, 5, 10, -3], [70, 5, 10, 10]])
def test_boxes_without_area_in_the_image_are_left_out(coco_files: Any, bbox: list[float]) -> None:
    coco_files.all()
    coco_files.write("train", _changed(bbox=bbox))
    assert open_splits(coco_files.config()).train[0][1]["labels"].tolist() == [1]


def test_boxes_are_clipped_to_their_image(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("train", lambda content: content["annotations"][0].update(bbox=[-4, 40, 10, 20]))
    assert open_splits(coco_files.config()).train[0][1]["boxes"][0].tolist() == [0, 40, 6, 48]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_every_image_mode_becomes_rgb(coco_files: Any, mode: str) -> None:
    coco_files.all()
    path = coco_files.root / "train" / "train_10.png"
    Image.open(path).convert(mode).save(path)
    assert open_splits(coco_files.config()).train[0][0].shape == (3, 48, 64)


def test_hold_out_is_reproducible_disjoint_and_complete(coco_files: Any) -> None:
    config = coco_files.config(train=coco_files.write("train"), reward=None, test=None, holdout=1)
    first, again = open_splits(config), open_splits(config)
    assert first.test is None
    assert first.reward.image_ids == again.reward.image_ids
    assert len(first.reward) == 1
    assert set(first.train.image_ids) | set(first.reward.image_ids) == {10, 20, 30}
    assert not set(first.train.image_ids) & set(first.reward.image_ids)
    drawn = {
        open_splits(coco_files.config(reward=None, test=None, holdout=1, split_seed=seed)).reward.image_ids
        for seed in range(30)
    }
    assert drawn == {(10,), (20,), (30,)}  # some image never drawn: probability 3 * (2/3)^30 < 2e-5


@pytest.mark.parametrize("holdout", [3, 7392])
def test_hold_out_needs_enough_images(coco_files: Any, holdout: int) -> None:
    config = coco_files.config(train=coco_files.write("train"), reward=None, test=None, holdout=holdout)
    with pytest.raises(DataError, match=r"has 3 images, so 1 to 2 can be held out"):
        open_splits(config)


def test_digest_follows_content_and_ids(coco_files: Any) -> None:
    train = open_splits(coco_files.all()).train
    whole = digest(train)
    assert digest(open_splits(coco_files.config()).train) == whole
    assert digest(train.subset([10, 20])) != whole
    assert digest(train.subset([30, 20, 10])) == whole
    coco_files.write("train", lambda content: content["annotations"][0].update(bbox=[2, 3, 10, 21]))
    assert digest(open_splits(coco_files.config()).train) != whole


def test_keep_restricts_and_refuses_unknown_ids(coco_files: Any) -> None:
    coco_files.all()
    path, folder = coco_files.root / "annotations/instances_train.json", coco_files.root / "train"
    split = CocoSplit(path, folder, keep=[30, 10])
    assert split.image_ids == (10, 30)
    with pytest.raises(DataError, match=r"\[11\] \(1 in all\) are not"):
        CocoSplit(path, folder, keep=[10, 11])


def test_splits_travel_to_loader_processes(coco_files: Any) -> None:
    train = open_splits(coco_files.all()).train
    copy = pickle.loads(pickle.dumps(train))
    assert torch.equal(copy[1][0], train[1][0])
    assert digest(copy) == digest(train)


def test_nothing_is_printed(coco_files: Any, capfd: pytest.CaptureFixture[str]) -> None:
    open_splits(coco_files.all())
    assert capfd.readouterr() == ("", "")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, "cannot be read"),
        (_truncate, "not valid JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00broken"), "text in UTF-16; save it as UTF-8"),
        (lambda path: path.write_text("[]"), "not a COCO instances file"),
        (lambda path: path.write_text('{"images": [], "annotations": []}'), "has no categories"),
        (lambda path: path.write_text('{"images": [{}], "annotations": [], "categories": []}'), "malformed entries"),
        (
            lambda path: path.write_text('{"images": [], "annotations": [], "categories": [{"id": 1}]}'),
            "malformed entries",
        ),
    ],
)
def test_broken_annotation_files_say_what_to_do(coco_files: Any, spoil: Callable[[Path], Any], message: str) -> None:
    config = coco_files.all()
    path = coco_files.root / "annotations" / "instances_train.json"
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        open_splits(config)
    text = str(caught.value)
    assert str(path) in text
    assert "nasfpn data check" in text
    assert "\n" not in text


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a directory.*nasfpn data check"):
        open_splits(DataConfig(root=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n torn"])
def test_unreadable_image_is_named(coco_files: Any, content: bytes | None) -> None:
    config = coco_files.all()
    path = coco_files.root / "train" / "train_10.png"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=r"train_10\.png \(image 10\) cannot be read"):
        open_splits(config).train[0]


def test_torn_image_is_named(coco_files: Any) -> None:
    config = coco_files.all()
    path = coco_files.root / "train" / "train_10.png"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"train_10\.png"):
        open_splits(config).train[0]


def test_unknown_category_is_named(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("train", lambda content: content["annotations"][1].update(category_id=8))
    with pytest.raises(DataError, match=r"annotation 2 has category 8"):
        open_splits(coco_files.config()).train[0]


def test_splits_must_have_the_same_categories(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("test", lambda content: content["categories"][0].update(name="wolf"))
    with pytest.raises(DataError, match=r"same categories.*wolf"):
        open_splits(coco_files.config())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": None}, "holdout is 0"),
        ({"holdout": 5}, "only when reward is None"),
        ({"holdout": -1}, "greater than or equal to 0"),
        ({"holdouts": 1}, "(?i)unexpected keyword"),
        ({"embedded": {"train": 0}}, "greater than or equal to 1"),
    ],
)
def test_config_refuses_nonsense(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig(root="x", **fields)


def test_signs_config_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="do not fit into images of 128 px"):
        SignsConfig(image_size=128)
    with pytest.raises(ValidationError, match="do not fit onto plates"):
        SignsConfig(tile_px=(20.0, 26.0))
    with pytest.raises(ValidationError, match="must hold for plate_px"):
        SignsConfig(plate_px=(90.0, 80.0))


def test_opening_does_not_write(coco_files: Any) -> None:
    config = coco_files.all()
    before = {path: path.stat().st_mtime_ns for path in coco_files.root.rglob("*")}
    open_splits(config)
    assert {path: path.stat().st_mtime_ns for path in coco_files.root.rglob("*")} == before


def test_annotation_order_does_not_matter_for_labels(coco_files: Any) -> None:
    coco_files.all()
    path = coco_files.root / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content["categories"].reverse()
    path.write_text(json.dumps(content))
    assert open_splits(coco_files.config()).train.classes == ("cat", "dog")

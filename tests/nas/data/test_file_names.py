"""File names of annotations that leave the image folder, and such that only seem to."""

from __future__ import annotations

import shutil
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from nas.data.check import check_data
from nas.data.coco import open_splits
from nas.data.config import DataConfig, DataError
from nas.evaluation.evaluate import open_split


def named(coco_files: Any, name: str) -> DataConfig:
    """A good set in which one image of the reward split is called otherwise."""
    config = coco_files.all()
    coco_files.write("reward", lambda content: content["images"][0].update(file_name=name))
    return config


def outside(coco_files: Any) -> str:
    """An image that lies beside the data set."""
    coco_files.write("reward")
    place = coco_files.root.parent / "private.png"
    shutil.copy(coco_files.root / "reward" / "reward_30.png", place)
    return str(place)


@pytest.mark.parametrize("make", [lambda place: place, lambda place: "../../private.png"], ids=["absolute", "up"])
def test_names_that_leave_the_folder_are_refused_unless_allowed(coco_files, make):
    config = named(coco_files, make(outside(coco_files)))
    errors = [problem.message for problem in check_data(config) if problem.severity == "error"]
    assert len(errors) == 1
    assert "instances_reward.json: image 30 has the file name" in errors[0]
    assert "data.allow_outside=true" in errors[0]
    with pytest.raises(DataError, match=r"image 30 has the file name .*is not inside the image folder"):
        open_splits(config)
    allowed = replace(config, allow_outside=True)
    assert check_data(allowed) == []
    assert open_splits(allowed).reward[2][0].shape == (3, 48, 64)


def test_evaluation_refuses_them_too(coco_files):
    named(coco_files, outside(coco_files))
    places = coco_files.root / "annotations" / "instances_reward.json", coco_files.root / "reward"
    with pytest.raises(DataError, match="--allow-outside"):
        open_split(*places)
    assert len(open_split(*places, allow_outside=True)) == 3


@pytest.mark.parametrize(
    "name", ["../reward/reward_30.png", "..\\reward\\reward_30.png", ".\\reward_30.png", "x/../reward_30.png"]
)
def test_names_that_come_back_are_read(coco_files, name):
    config = named(coco_files, name)
    assert check_data(config, full=True) == []
    assert open_splits(config).reward[2][0].shape == (3, 48, 64)


@pytest.mark.parametrize("name", ["..\\..\\private.png", "../reward_2/a.png", "..", "/"])
def test_other_ways_out_are_refused(coco_files, name):
    config = named(coco_files, name)
    with pytest.raises(DataError, match="not inside the image folder"):
        open_splits(config)
    assert any("image 30 has the file name" in problem.message for problem in check_data(config))


def test_a_file_with_a_backslash_in_its_name_is_taken_as_it_stands(coco_files):
    config = named(coco_files, "a\\b.png")
    shutil.copy(coco_files.root / "reward" / "reward_30.png", coco_files.root / "reward" / "a\\b.png")
    assert check_data(config, full=True) == []


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"images": ' + b"9" * 5_000, b"\xff\xfe{\x00}\x00", b"\xe9"])
def test_annotations_that_are_no_json_are_told_in_a_line(coco_files, raw):
    config = coco_files.all()
    (coco_files.root / "annotations" / "instances_reward.json").write_bytes(raw)
    messages = [problem.message for problem in check_data(config)]
    assert len(messages) == 1
    assert "instances_reward.json" in messages[0]
    with pytest.raises(DataError, match=r"instances_reward\.json"):
        open_splits(config)


def test_annotations_with_a_byte_order_mark_are_read(coco_files):
    config = coco_files.all()
    path = coco_files.root / "annotations" / "instances_reward.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert check_data(config) == []


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["hütte_30.png", "Käse/été̈.png", "대한.png", "../reward/Käse/é.png"])
def test_accents_are_one_sign_or_two_on_the_disk_and_in_the_file(coco_files, stored, written, name):
    config = named(coco_files, unicodedata.normalize(written, name))
    path = coco_files.root / "reward" / unicodedata.normalize(stored, name)
    path.parent.mkdir(exist_ok=True)
    shutil.copy(coco_files.root / "reward" / "reward_30.png", path)
    assert check_data(config, full=True) == []
    assert open_splits(config).reward[2][0].shape == (3, 48, 64)
    assert check_data(replace(config, allow_outside=True), full=True) == []


def test_folders_and_files_may_have_different_forms(coco_files):
    config = named(coco_files, "Käse\\é.png")
    folder = coco_files.root / "reward" / unicodedata.normalize("NFD", "Käse")
    folder.mkdir()
    shutil.copy(coco_files.root / "reward" / "reward_30.png", folder / "é.png")
    assert check_data(config, full=True) == []


def test_of_two_files_that_differ_in_form_the_one_that_is_named_is_read(coco_files):
    config = named(coco_files, "é.png")
    for form, size in (("NFC", (64, 48)), ("NFD", (10, 10))):
        Image.new("RGB", size).save(coco_files.root / "reward" / unicodedata.normalize(form, "é.png"))
    assert check_data(config, full=True) == []


def test_relative_folders_may_be_named_from_above(coco_files, monkeypatch):
    coco_files.all()
    monkeypatch.chdir(coco_files.root)
    name = f"../../{coco_files.root.name}/reward/reward_30.png"
    named(coco_files, name)
    assert check_data(replace(coco_files.config(), root="."), full=True) == []

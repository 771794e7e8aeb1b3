"""The full check opens images once for each version of a data set."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from nas.data import opened_images
from nas.data.check import check_data
from nas.data.opened_images import CACHE_DIR


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Names of the files that are opened."""
    names: list[str] = []
    read = opened_images.read_pixels

    def noted(path: Any, *rest: Any) -> Any:
        names.append(path.name)
        return read(path, *rest)

    monkeypatch.setattr(opened_images, "read_pixels", noted)
    return names


def check(config: Any) -> list[str]:
    return [str(problem) for problem in check_data(config, full=True, anew=False)]


def test_images_are_opened_once_and_problems_told_each_time(coco_files, reads):
    config = coco_files.all()
    (coco_files.root / "train" / "train_20.png").write_bytes(b"none")
    first = check(config)
    assert len(first) == 1
    assert "image 20" in first[0]
    assert len(reads) == 9
    assert check(config) == first
    assert len(reads) == 12, "those of a split with an error, which may have passed, are opened again"
    assert [str(problem) for problem in check_data(config, full=True)] == first
    assert len(reads) == 21


def test_another_version_is_opened_again(coco_files, reads):
    config = coco_files.all()
    check(config)
    path = coco_files.root / "train" / "train_20.png"
    before = path.stat()
    Image.new("RGB", (64, 48)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    check(config)
    assert len(reads) == 12
    coco_files.write("reward", lambda content: content["images"][0].update(width=65))
    assert "is 64x48 pixels, but stated as 65x48" in check(config)[0]
    assert len(reads) == 15
    check(coco_files.config(max_pixels=10_000))
    assert len(reads) == 24


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"unreadable": 3}', "\x00"])
def test_a_damaged_outcome_is_found_again(coco_files, reads, content):
    config = coco_files.all()
    check(config)
    for path in (coco_files.root / CACHE_DIR).glob("*.json"):
        path.write_text(content)
    assert check(config) == []
    assert len(reads) == 18
    assert check(config) == []
    assert len(reads) == 18


def test_of_two_at_once_one_opens_the_images(coco_files, reads):
    config = coco_files.all()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(check, [config, config])) == [[], []]
    assert len(reads) == 9


def test_where_nothing_can_be_kept_images_are_opened_each_time(coco_files, reads):
    config = coco_files.all()
    (coco_files.root / CACHE_DIR).write_text("in the way")
    assert check(config) == check(config) == []
    assert len(reads) == 18

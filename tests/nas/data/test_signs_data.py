"""The embedded data set: what its images mean, that nothing but the neck can know it, and how it is written."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kruskal

from nas.data.coco import open_splits
from nas.data.config import DataConfig, DataError, SignsConfig
from nas.data.drawing import draw, outline_mask
from nas.data.scene import CLASSES, MAX_ANGLE, MAX_BORDER, MAX_OFFSET, OUTLINES, Box, Plate, compose, meanings
from nas.data.signs import make_signs
from nas.data.sources import DIGITS, PHOTOS, SPLITS, Sources, digit_indices, load_sources

CONFIG = SignsConfig(train=12, reward=5, test=4)
PATIENCE_SECONDS = 240
"""For what takes a second or two where the machine has nothing else to do."""


@pytest.fixture(scope="module")
def plates() -> list[Plate]:
    rng = np.random.default_rng(0)
    pairs = meanings(rng)
    return [plate for _ in range(1500) for plate in compose(rng, SignsConfig(), pairs)]


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# --- what it means -----------------------------------------------------------------------------------------------


def test_classes_follow_the_other_scale(signs_root: Path) -> None:
    """Each plate's tiles have one class, that of an outline; nothing else lies on a plate."""
    splits = open_splits(DataConfig(root=str(signs_root)))
    assert splits.train.classes == CLASSES
    for split, count in ((splits.train, 12), (splits.reward, 5), (splits.test, 4)):
        assert split is not None
        assert len(split) == count
        for index in range(len(split)):
            _, target = split[index]
            boxes, labels = target["boxes"], target["labels"]
            owners = []
            for tile in boxes[labels >= 3]:
                inside = [((plate[:2] <= tile[:2]) & (tile[2:] <= plate[2:])).all() for plate in boxes[labels < 3]]
                assert sum(inside) == 1
                owners.append(int(np.argmax(inside)))
            meaning = {(owner, int(label)) for owner, label in zip(owners, labels[labels >= 3], strict=True)}
            assert len(meaning) == int((labels < 3).sum())  # every plate has tiles, all of one class


def test_outline_and_digit_are_balanced_and_independent(plates: list[Plate]) -> None:
    """Exact by construction: the nine pairs come in shuffled rounds, so their counts differ by one at most."""
    counts = Counter((plate.outline, plate.digit) for plate in plates)
    assert len(counts) == 9
    assert max(counts.values()) - min(counts.values()) <= 1


def test_balance_of_the_written_set(signs_root: Path) -> None:
    labels = Counter(
        item["category_id"]
        for item in json.loads((signs_root / "annotations/instances_train.json").read_text())["annotations"]
    )
    plates_per_class = [labels[category] for category in (1, 2, 3)]
    assert max(plates_per_class) - min(plates_per_class) <= 3
    assert all(labels[category] > 0 for category in range(1, 7))


def test_geometry_does_not_tell_the_class(plates: list[Plate]) -> None:
    """Kruskal-Wallis on 10 quantities by 2 groupings at p > 1e-4: a sound generator fails with probability 0.002."""
    quantities = {
        "size": [plate.box.w * plate.box.h for plate in plates],
        "aspect": [plate.box.w / plate.box.h for plate in plates],
        "x": [plate.box.x for plate in plates],
        "y": [plate.box.y for plate in plates],
        "angle": [plate.angle for plate in plates],
        "tiles": [len(plate.tiles) for plate in plates],
        "tile size": [plate.tiles[0].w for plate in plates],
        "last tile size": [plate.tiles[-1].w for plate in plates],
        "tile x": [(plate.tiles[0].x - plate.box.x) / plate.box.w for plate in plates],
        "tile y": [(plate.tiles[0].y - plate.box.y) / plate.box.h for plate in plates],
    }
    for name, values in quantities.items():
        for grouping in ("outline", "digit"):
            group = np.array([getattr(plate, grouping) for plate in plates])
            p = kruskal(*(np.array(values)[group == k] for k in range(3))).pvalue
            assert p > 1e-4, (name, grouping)


def _same_number_of_digits() -> Sources:
    sources = load_sources("train")
    return Sources(sources.photos, {digit: sources.digits[digit][:50] for digit in DIGITS})


def test_outline_changes_no_pixel_around_the_tiles() -> None:
    """With the same random numbers, images that differ in outline are equal inside of all outlines."""
    box = Box(40, 50, 150, 130)
    tiles = (Box(100, 100, 20, 20), Box(125, 118, 12, 12))
    for seed in range(20):
        images = [
            np.asarray(draw(np.random.default_rng(seed), 256, [Plate(box, k, 1, 7.0, tiles)], _same_number_of_digits()))
            for k in range(3)
        ]
        inner = np.ones((130, 150), dtype=bool)
        for outline in OUTLINES:
            inner &= outline_mask(outline, box, 7.0, inset=MAX_BORDER) == 1
        regions = [image[50:180, 40:190][inner] for image in images]
        assert inner.sum() > 3000
        assert np.array_equal(regions[0], regions[1])
        assert np.array_equal(regions[0], regions[2])
        assert not np.array_equal(images[0], images[1])


def test_digit_changes_no_pixel_outside_the_tiles() -> None:
    box, tile = Box(40, 50, 150, 130), Box(100, 100, 20, 20)
    for seed in range(20):
        images = [
            np.asarray(
                draw(np.random.default_rng(seed), 256, [Plate(box, 0, k, 7.0, (tile,))], _same_number_of_digits())
            )
            for k in range(3)
        ]
        differs = (images[0] != images[1]).any(axis=2) | (images[0] != images[2]).any(axis=2)
        assert differs[100:120, 100:120].any()
        differs[100:120, 100:120] = False
        assert not differs.any()


def test_tiles_touch_no_outline_or_border(plates: list[Plate]) -> None:
    for plate in plates[:300]:
        for outline in OUTLINES:
            mask = outline_mask(outline, plate.box, plate.angle, inset=MAX_BORDER)
            for tile in plate.tiles:
                x, y = tile.x - plate.box.x, tile.y - plate.box.y
                assert mask[y : y + tile.h, x : x + tile.w].min() == 1


@pytest.mark.parametrize("outline", OUTLINES)
def test_boxes_are_tight(outline: str) -> None:
    for angle in (-MAX_ANGLE, 0.0, 3.3, MAX_ANGLE):
        mask = outline_mask(outline, Box(0, 0, 91, 77), angle)
        assert mask.shape == (77, 91)
        for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
            assert edge.max() > 0.2


def test_sizes_and_places_are_as_promised(plates: list[Plate]) -> None:
    for plate in plates:
        box = plate.box
        assert 69 <= (box.w * box.h) ** 0.5 <= 201
        assert 0.78 <= box.w / box.h <= 1.28
        assert box.x >= 0
        assert box.y >= 0
        assert max(box.x + box.w, box.y + box.h) <= 256
        assert 1 <= len(plate.tiles) <= 3
        for index, tile in enumerate(plate.tiles):
            assert 8 <= tile.w == tile.h <= 26
            assert abs(tile.x + tile.w / 2 - box.x - box.w / 2) <= MAX_OFFSET * box.w + 1
            assert abs(tile.y + tile.h / 2 - box.y - box.h / 2) <= MAX_OFFSET * box.h + 1
            assert all(tile.apart(other, gap=1) for other in plate.tiles[:index])


def test_plates_of_one_image_are_apart() -> None:
    rng = np.random.default_rng(1)
    pairs = meanings(rng)
    for _ in range(200):
        scene = compose(rng, SignsConfig(), pairs)
        assert 1 <= len(scene) <= 3
        for index, plate in enumerate(scene):
            assert all(plate.box.apart(other.box, gap=1) for other in scene[:index])


@pytest.mark.parametrize(
    "config",
    [
        SignsConfig(image_size=64, plate_px=(40.0, 50.0), tile_px=(6.0, 6.0)),
        SignsConfig(image_size=900, plate_px=(70.0, 700.0)),
    ],
)
def test_other_sizes_can_be_drawn(config: SignsConfig) -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        scene = compose(rng, config, meanings(rng))
        assert draw(rng, config.image_size, scene, load_sources("test")).size == (config.image_size,) * 2


# --- where it comes from -----------------------------------------------------------------------------------------


def test_photographs_and_digits_are_disjoint() -> None:
    for index, split in enumerate(SPLITS):
        for other in SPLITS[:index]:
            assert not set(PHOTOS[split]) & set(PHOTOS[other])
            for digit in DIGITS:
                assert not set(digit_indices(split)[digit]) & set(digit_indices(other)[digit])
    for digit in DIGITS:
        sizes = [len(digit_indices(split)[digit]) for split in SPLITS]
        assert sum(sizes) > 170
        assert min(sizes) > 30


def test_digits_are_what_they_are_called() -> None:
    from sklearn.datasets import load_digits

    for split in SPLITS:
        for digit, indices in digit_indices(split).items():
            assert set(load_digits().target[indices]) == {digit}


@pytest.mark.parametrize("package", ["sklearn.datasets", "skimage.data"])
def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str) -> None:
    from nas.data import sources

    root = package.split(".")[0]
    for name in [name for name in sys.modules if name == root or name.startswith(f"{root}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, root, None)
    sources.load_sources.cache_clear()
    sources._load_digits.cache_clear()
    with pytest.raises(DataError, match=rf"but {root}.* is not installed; run: pip install 'nas-fpn\[demo\]'"):
        make_signs(tmp_path / "signs", CONFIG)
    assert not (tmp_path / "signs").exists()
    monkeypatch.undo()
    sources.load_sources.cache_clear()


# --- how it is written -------------------------------------------------------------------------------------------


def test_same_seed_same_bytes(signs_root: Path, tmp_path: Path) -> None:
    make_signs(tmp_path / "again", CONFIG)
    assert tree(tmp_path / "again") == tree(signs_root)


def test_another_seed_differs_and_more_images_extend(signs_root: Path, tmp_path: Path) -> None:
    make_signs(tmp_path / "other", SignsConfig(train=2, reward=1, test=1, seed=1))
    make_signs(tmp_path / "fewer", SignsConfig(train=2, reward=1, test=1))
    first = "train/train_00001.png"
    assert (tmp_path / "other" / first).read_bytes() != (signs_root / first).read_bytes()
    for name in (first, "train/train_00002.png", "test/test_00001.png"):
        assert (tmp_path / "fewer" / name).read_bytes() == (signs_root / name).read_bytes()


def test_made_once(tmp_path: Path) -> None:
    root, config = tmp_path / "deep" / "signs", SignsConfig(train=2, reward=1, test=1)
    make_signs(root, config)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    make_signs(root, config)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    with pytest.raises(DataError, match=r"seed is 0 there, not 4, train is 2 there, not 3; choose another root"):
        make_signs(root, SignsConfig(train=3, reward=1, test=1, seed=4))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("content", [None, "{", "[]", '{"version": 0}'])
def test_foreign_directories_are_left_alone(tmp_path: Path, content: str | None) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    (root / "thesis.txt").write_text("precious")
    if content is not None:
        (root / "dataset.json").write_text(content)
    with pytest.raises(DataError, match="choose another root"):
        make_signs(root, CONFIG)
    assert (root / "thesis.txt").read_text() == "precious"


def test_empty_directory_and_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    root, config = tmp_path / "signs", SignsConfig(train=2, reward=1, test=1)
    root.mkdir()
    (tmp_path / ".signs.partial" / "train").mkdir(parents=True)
    (tmp_path / ".signs.partial" / "train" / "half.png").write_bytes(b"torn")
    make_signs(root, config)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".signs.lock", "signs"]
    assert not (root / "train" / "half.png").exists()


def _make(root: str, config: SignsConfig, failures: Any) -> None:
    try:
        make_signs(Path(root), config)
    except BaseException as error:
        failures.put(repr(error))
        raise


def test_two_processes_at_once(signs_root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    failures = context.Queue()
    root = tmp_path / "signs"
    workers = [context.Process(target=_make, args=(str(root), CONFIG, failures)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert failures.empty()
    assert tree(root) == tree(signs_root)


def test_killed_process_leaves_no_half_set(tmp_path: Path) -> None:
    root = tmp_path / "signs"
    context = multiprocessing.get_context("fork")
    config = SignsConfig(train=5000, reward=1, test=1)
    worker = context.Process(target=_make, args=(str(root), config, context.Queue()))
    worker.start()
    assert worker.pid is not None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list((tmp_path / ".signs.partial" / "train").glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(PATIENCE_SECONDS)
    assert worker.exitcode == -signal.SIGKILL
    assert not root.exists()
    make_signs(root, SignsConfig(train=2, reward=1, test=1))
    assert len(list((root / "train").iterdir())) == 2


def test_embedded_set_is_made_on_opening(tmp_path: Path, signs_root: Path) -> None:
    splits = open_splits(DataConfig(root=str(tmp_path / "signs"), embedded=CONFIG))
    assert len(splits.train) == 12
    assert tree(tmp_path / "signs") == tree(signs_root)


def test_annotations_are_complete_coco(signs_root: Path) -> None:
    content = json.loads((signs_root / "annotations" / "instances_test.json").read_text())
    assert {"info", "images", "annotations", "categories"} <= set(content)
    assert [category["id"] for category in content["categories"]] == [1, 2, 3, 4, 5, 6]
    assert set(content["annotations"][0]) == {"id", "image_id", "category_id", "bbox", "area", "iscrowd"}
    assert [item["id"] for item in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))

"""Mirrored images: pixels, boxes, targets and features of both views."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nas.data.coco import CocoSplit
from nas.data.letterboxed import Letterboxed
from nas.proxy.inputs import TargetCache
from nas.proxy.task import ProxyTask
from search_space import known
from tests.support.recorded import TINY

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def oblong(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    """Noise of many shapes, the last without boxes."""
    root = tmp_path_factory.mktemp("oblong")
    rng = np.random.default_rng(0)
    content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    for image, (width, height) in enumerate([(96, 96), (96, 40), (40, 96), (37, 64), (101, 333), (333, 101), (1, 90)]):
        Image.fromarray(rng.integers(1, 255, (height, width, 3), dtype=np.uint8)).save(root / f"{image}.png")
        content["images"].append({"id": image, "file_name": f"{image}.png", "width": width, "height": height})
        for x, y, w, h in [(0, 0, width, height), (width / 3, 2, width / 4, 9), (0, 5, 0.7, 1)] if width > 1 else []:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    (root / "a.json").write_text(json.dumps(content))
    return CocoSplit(root / "a.json", root)


@pytest.mark.parametrize("size", [32, 96, 128])
def test_every_image_follows_once_more_mirrored_within_what_it_covers(oblong, size):
    single, double = Letterboxed(oblong, size), Letterboxed(oblong, size, mirrored=True)
    count = len(oblong)
    assert (len(single), len(double), double.num_images, double.views) == (count, 2 * count, count, 2)
    for index in range(count):
        assert all(map(torch.equal, single[index], double[index]))
        (image, boxes, labels), (mirrored, moved, others) = double[index], double[index + count]
        height, width = double.size_of(index)
        assert (height, width) == double.size_of(index + count)
        assert double.scale(index) == double.scale(index + count)
        assert torch.equal(mirrored[:, :height, :width], image[:, :height, :width].flip(-1))
        assert mirrored.shape == (3, size, size)
        assert not mirrored[:, height:].any()
        assert not mirrored[:, :, width:].any()
        assert torch.equal(labels, others)
        assert moved.shape == boxes.shape
        torch.testing.assert_close(moved[:, [0, 2]], width - boxes[:, [2, 0]])
        assert torch.equal(moved[:, [1, 3]], boxes[:, [1, 3]])
        torch.testing.assert_close(width - moved[:, [2, 0]], boxes[:, [0, 2]], msg="mirrored twice is as before")
        assert (moved[:, :2] <= moved[:, 2:]).all()


def test_mirrored_boxes_stay_on_what_they_frame(tmp_path):
    pixels = np.zeros((50, 80, 3), np.uint8)
    pixels[10:30, 5:25] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 10, 20, 20], "area": 400, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 50}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [box],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    images = Letterboxed(CocoSplit(tmp_path / "a.json", tmp_path), 160, mirrored=True)
    for index in range(2):
        image, boxes, _ = images[index]
        x1, y1, x2, y2 = boxes[0].int().tolist()
        assert (image[0, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] > 190).all()
        assert image[0].float().sum() == pytest.approx(image[0, y1 - 4 : y2 + 4, max(0, x1 - 4) : x2 + 4].float().sum())


def test_targets_of_a_mirrored_image_are_of_its_mirrored_boxes(oblong):
    anchors = torch.tensor([[0.0, 0, 20, 40], [12, 0, 32, 32], [6, 0, 16, 30], [0, 0, 32, 32]])
    images = Letterboxed(oblong, 32, mirrored=True)
    cache = TargetCache(images, anchors)
    for index in range(len(images)):
        first, again = cache.batch([index]), cache.batch([index])
        anew = TargetCache(images, anchors, keep=False).batch([index])
        expected = cache.batch([0, index]).labels[1]
        for other in (again, anew):
            assert torch.equal(first.labels, other.labels)
            assert torch.equal(first.offsets, other.offsets)
        assert torch.equal(first.labels[0], expected)


@pytest.mark.parametrize("augment", ["flip", "none"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_is_given_inputs_and_targets_of_the_same_views(data, monkeypatch, augment, frozen):
    config = replace(TINY, augment=augment, backbone=replace(TINY.backbone, frozen=frozen), steps=5)
    proxy = ProxyTask(config, data)
    given_inputs, given_targets = [], []
    inputs, targets = proxy.train_inputs.batches, proxy.targets.batch
    monkeypatch.setattr(
        proxy.train_inputs, "batches", lambda order, device: (given_inputs.extend(order), inputs(order, device))[1]
    )
    monkeypatch.setattr(proxy.targets, "batch", lambda indices: (given_targets.append(indices), targets(indices))[1])
    proxy.run(known.fpn(), 0)
    assert given_inputs == given_targets
    shown = list(chain.from_iterable(given_inputs))
    assert sorted(index % 40 for index in shown) == list(range(40)), "five batches of eight are one epoch"
    assert (max(shown) >= 40) == (augment == "flip")
    assert len(proxy.scored_inputs) == len(proxy.scored_images) == 16, "images are scored as they are"


def test_cached_features_of_mirrored_images_are_those_of_the_mirrored_pixels(data, task):
    with torch.inference_mode():
        pixels = torch.stack([task.train_images[index][0] for index in (3, 43)])
        direct = task.backbone(scoring_input(pixels, task))
    cached = next(task.train_inputs.batches([[3, 43]], CPU))
    for name, x in direct.items():
        torch.testing.assert_close(cached[name], x, rtol=2e-3, atol=2e-3)
        assert not torch.equal(cached[name][0], cached[name][1])


def scoring_input(pixels: Tensor, task: ProxyTask) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (task.backbone.mean, task.backbone.std))
    return (pixels.float() / 255 - mean) / std

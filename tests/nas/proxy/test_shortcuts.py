"""What makes a proxy task faster or its score steadier, and what none of it may change."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from nas.data.coco import CocoSplit, open_splits
from nas.data.config import DataConfig, DataError
from nas.data.evaluate import Detections, coco_ap
from nas.data.letterboxed import Letterboxed
from nas.detection.config import BackboneConfig
from nas.proxy import scoring, training, warm
from nas.proxy.candidate import candidate_neck
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.inputs import TargetCache
from nas.proxy.phases import PHASES, Phases
from nas.proxy.task import ProxyTask
from nas.proxy.trial import Trained
from nas.proxy.warm import WarmError
from search_space import known
from tests.support.detections import Limits, assert_same_detections
from tests.support.recorded import STEPS, TINY, Recorded, assert_same, dropout_neck

AP_NAMES = ("AP", "AP50", "APs")
SEED = 1
LONGER = replace(TINY, steps=40)
"""Long enough for an AP above 0."""
WARM = replace(TINY, warm_steps=6)
CPU = torch.device("cpu")


Scored = tuple[CocoSplit, dict[int, Detections]]


def scored_by(patch: pytest.MonkeyPatch) -> list[Scored]:
    """What is given to the scorer from now on."""
    given: list[Scored] = []

    def score(split: CocoSplit, found: dict[int, Detections], *, scorer: str) -> dict[str, float]:
        given.append((split, found))
        return coco_ap(split, found, scorer=scorer)

    patch.setattr(scoring, "coco_ap", score)
    return given


@pytest.fixture(scope="module")
def plain_and_scored(data: DataConfig) -> tuple[Trained, Scored]:
    with pytest.MonkeyPatch.context() as patch:
        scored = scored_by(patch)
        return ProxyTask(LONGER, data).run(known.nas_fpn(), SEED), scored[-1]


@pytest.fixture(scope="module")
def plain(plain_and_scored: tuple[Trained, Scored]) -> Trained:
    return plain_and_scored[0]


@pytest.fixture
def own_data(data: DataConfig, task: ProxyTask, tmp_path: Path) -> DataConfig:
    """The same data with the features of `TINY` and no other shared results, to be written to."""
    copied = Path(shutil.copytree(data.root, tmp_path / "signs"))
    for path in (copied / ".cache").glob("warm-*"):
        path.unlink()
    return replace(data, root=str(copied))


# Mirrored images


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


# Order of images


def batches(images: int, views: int, size: int, epochs: int, seed: int) -> list[list[int]]:
    steps = epochs * (images // min(size, images))
    return list(training._batches(images, views, replace(TINY, steps=steps, batch_size=size), seed))


@settings(max_examples=50, deadline=None)
@given(images=st.integers(1, 40), size=st.integers(1, 50), epochs=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_an_epoch_shows_every_image_at_most_once_in_one_of_its_views(images, size, epochs, seed):
    drawn = batches(images, 2, size, epochs, seed)
    per_epoch = images // min(size, images)
    assert len(drawn) == epochs * per_epoch
    for epoch in range(epochs):
        shown = list(chain.from_iterable(drawn[epoch * per_epoch : (epoch + 1) * per_epoch]))
        assert all(0 <= index < 2 * images for index in shown)
        assert len({index % images for index in shown}) == len(shown) == per_epoch * min(size, images)
    assert drawn == batches(images, 2, size, epochs, seed)


def test_both_views_of_every_image_come_up_about_equally_often():
    shown = torch.tensor(batches(20, 2, 5, epochs=200, seed=0)).flatten()
    counts = torch.bincount(shown, minlength=40)
    assert counts.sum() == 20 * 200
    assert counts.min() > 60
    assert counts.max() < 140
    mirrored = (shown >= 20).view(200, 20).float()
    assert mirrored.std(1).min() > 0, "an epoch mixes the views"


@settings(max_examples=30, deadline=None)
@given(images=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_without_mirrored_images_the_order_is_that_of_earlier_versions(images, size, seed):
    generator = torch.Generator().manual_seed(seed)
    per_batch = min(size, images)
    expected = []
    for _ in range(3):
        order = torch.randperm(images, generator=generator).tolist()
        expected += [order[start : start + per_batch] for start in range(0, images - per_batch + 1, per_batch)]
    assert batches(images, 1, size, 3, seed) == expected


@pytest.mark.parametrize("augment", ["flip", "none"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_is_given_inputs_and_targets_of_the_same_views(data, monkeypatch, augment, frozen):
    config = replace(TINY, augment=augment, backbone=replace(TINY.backbone, frozen=frozen), steps=5)
    proxy = ProxyTask(config, data)
    given_inputs, given_targets = [], []
    inputs, targets = proxy.train_inputs.batch, proxy.targets.batch
    monkeypatch.setattr(
        proxy.train_inputs, "batch", lambda indices, device: (given_inputs.append(indices), inputs(indices, device))[1]
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
    cached = task.train_inputs.batch([3, 43], CPU)
    for name, x in direct.items():
        torch.testing.assert_close(cached[name], x, rtol=2e-3, atol=2e-3)
        assert not torch.equal(cached[name][0], cached[name][1])


def scoring_input(pixels: Tensor, task: ProxyTask) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (task.backbone.mean, task.backbone.std))
    return (pixels.float() / 255 - mean) / std


# Settings that change nothing, or nothing but rounding


def metrics_of_training(trained: Trained) -> dict[str, float | None]:
    return {name: value for name, value in trained.metrics.items() if name == "loss" or name.startswith("AP")}


@pytest.mark.parametrize("change", [{"cache_targets": False}, {"eval_batch_size": 16, "threads": 1}])
def test_settings_that_change_nothing_change_nothing(data, plain, change):
    assert plain.metrics["AP"] > 0
    assert_same(plain, ProxyTask(replace(LONGER, **change), data).run(known.nas_fpn(), SEED))


@pytest.mark.parametrize(
    "change", [{"postprocess": "image"}, {"scorer": "pycocotools"}, {"eval_batch_size": 3}, {"eval_batch_size": 1}]
)
def test_how_a_detector_is_scored_changes_neither_its_weights_nor_what_is_scored(
    data, plain_and_scored, change, monkeypatch
):
    plain, (_, expected) = plain_and_scored
    scored = scored_by(monkeypatch)
    other = ProxyTask(replace(LONGER, **change), data).run(known.nas_fpn(), SEED)
    weights = other.neck.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.neck.state_dict().items())
    assert other.metrics["loss"] == plain.metrics["loss"]
    split, found = scored[-1]
    assert found.keys() == expected.keys()
    limits = Limits(LONGER.head.score_threshold, LONGER.head.nms_threshold, LONGER.head.max_detections)
    for image, one in found.items():
        assert_same_detections(one, expected[image], limits)
    assert other.metrics["AP"] > 0
    ap = {name: value for name, value in metrics_of_training(other).items() if name in AP_NAMES}
    assert ap == pytest.approx({name: coco_ap(split, found)[name] for name in ap}, abs=1e-9)


def test_the_memory_layout_changes_rounding_only(data):
    def run(channels_last: bool) -> Trained:
        few = replace(TINY, steps=3, channels_last=channels_last, optimizer=OptimizerConfig(name="sgd", lr=1e-2))
        return ProxyTask(few, data).run(known.nas_fpn(), SEED)

    first, second = run(True), run(False)
    assert second.metrics["loss"] == pytest.approx(first.metrics["loss"], rel=1e-4)
    weights = second.neck.state_dict()
    for name, value in first.neck.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_inputs_have_the_layout_asked_for(data, frozen, channels_last):
    config = replace(TINY, backbone=replace(TINY.backbone, frozen=frozen), channels_last=channels_last)
    inputs = ProxyTask(config, data).train_inputs.batch([1, 2, 41], CPU)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = list(inputs.values()) if frozen else [inputs]
    assert all(x.is_contiguous(memory_format=layout) and x.dtype == torch.float32 for x in maps)


def test_bf16_trains_in_single_precision_weights_with_about_the_same_loss(data, plain):
    half = ProxyTask(replace(LONGER, precision="bf16"), data).run(known.nas_fpn(), SEED)
    assert half.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=0.1)
    assert half.metrics["loss"] != plain.metrics["loss"]
    assert all(math.isfinite(value) for value in metrics_of_training(half).values())
    assert {x.dtype for x in half.neck.state_dict().values() if x.is_floating_point()} == {torch.float32}
    first = [
        ProxyTask(replace(TINY, precision=precision, steps=1), data).run(known.nas_fpn(), SEED).metrics["loss"]
        for precision in ("fp32", "bf16")
    ]
    assert first[1] == pytest.approx(first[0], rel=0.01)


@pytest.mark.slow
def test_a_compiled_training_ends_about_where_the_plain_one_does(data):
    few = replace(TINY, optimizer=OptimizerConfig(name="sgd", lr=1e-2))
    first = ProxyTask(few, data).run(known.fpn(), SEED)
    second = ProxyTask(replace(few, compile="default"), data).run(known.fpn(), SEED)
    assert second.metrics["loss"] == pytest.approx(first.metrics["loss"], rel=1e-3)
    weights = second.neck.state_dict()
    assert weights.keys() == first.neck.state_dict().keys()
    for name, value in first.neck.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-2, atol=1e-3)


# Warm starts


def warm_files(data: DataConfig) -> list[Path]:
    return sorted((Path(data.root) / ".cache").glob("warm-*.safetensors"))


def refuse(*_: object) -> None:
    raise AssertionError("stem and head were trained once more")


def test_stem_and_head_are_trained_once_for_all_tasks(own_data, monkeypatch):
    first = ProxyTask(WARM, own_data)
    (path,) = warm_files(own_data)
    written = path.stat().st_mtime_ns, path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(ProxyTask, "_train_without_cells", refuse)
        second = ProxyTask(WARM, own_data)
    assert warm_files(own_data) == [path]
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written
    assert_same(first.run(known.nas_fpn(), 0), second.run(known.nas_fpn(), 0))
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written


def test_candidates_start_with_the_warm_stem_and_head_and_cells_of_their_own(own_data):
    warm_task = ProxyTask(WARM, own_data)
    weights = safetensors.torch.load_file(warm_files(own_data)[0])
    assert {name.split(".")[0] for name in weights} == {"stem", "head"}
    for genotype in (known.fpn(), known.nas_fpn(), known.none()):
        for seed in (0, 1):
            torch.manual_seed(seed)
            detector = warm_task._detector(
                lambda channels, levels, genotype=genotype: candidate_neck(genotype, channels, levels, TINY.neck)
            )
            begun = {f"head.{key}": value for key, value in detector.head.state_dict().items()}
            begun |= {f"stem.{key}": value for key, value in detector.backbone.neck.stem.state_dict().items()}
            assert begun.keys() == weights.keys()
            assert all(torch.equal(value, weights[name]) for name, value in begun.items())
            torch.manual_seed(seed)
            own = candidate_neck(genotype, warm_task.backbone.channels, warm_task.backbone.levels, TINY.neck)
            cells = {name: value for name, value in own.state_dict().items() if not name.startswith("stem.")}
            neck = detector.backbone.neck.state_dict()
            assert all(torch.equal(value, neck[name]) for name, value in cells.items())


def test_a_candidate_without_cells_goes_on_where_the_warm_training_ended(own_data):
    cold = ProxyTask(replace(TINY, steps=1), own_data).run(known.none(), 0).metrics["loss"]
    begun = ProxyTask(replace(WARM, warm_steps=40, steps=1), own_data).run(known.none(), 0).metrics["loss"]
    assert begun < 0.6 * cold


def test_candidates_leave_the_warm_weights_as_they_were(own_data):
    warm_task = ProxyTask(WARM, own_data)
    first = warm_task.run(known.fpn(), 0)
    warm_task.run(known.nas_fpn(), 1)
    assert_same(first, warm_task.run(known.fpn(), 0))
    on_disk = safetensors.torch.load_file(warm_files(own_data)[0])
    assert all(torch.equal(value, on_disk[name]) for name, value in warm_task._warm[32].items())


def test_a_warm_training_continues_from_its_checkpoint(own_data):
    warm_task = ProxyTask(WARM, own_data)
    hooks = Recorded(every=0)
    unbroken = warm_task.run_neck(dropout_neck, 0, hooks)
    continued = warm_task.run_neck(dropout_neck, 0, Recorded(stored=hooks.saved[2]))
    assert continued.metrics["resumed_at"] == 3
    assert_same(unbroken, continued)


def test_a_checkpoint_of_a_cold_training_is_not_continued_by_a_warm_one(own_data):
    hooks = Recorded(every=0)
    ProxyTask(TINY, own_data).run(known.fpn(), 0, hooks)
    warm_trained = ProxyTask(WARM, own_data).run(known.fpn(), 0, Recorded(stored=hooks.saved[3]))
    assert "resumed_at" not in warm_trained.metrics


def of_width(channels: int) -> Recorded:
    hooks = Recorded()
    hooks.channels = channels
    return hooks


def test_necks_of_another_width_start_with_stem_and_head_of_that_width_trained_once(own_data, monkeypatch):
    untrained = ProxyTask(replace(WARM, steps=0), own_data)
    assert len(warm_files(own_data)) == 1
    begun = untrained.run(known.fpn(), 0, of_width(64)).neck
    assert begun.out_channels == 64
    stem = {f"stem.{key}": value for key, value in begun.stem.state_dict().items()}
    files = [safetensors.torch.load_file(path) for path in warm_files(own_data)]
    (warmed,) = [file for file in files if all(file[name].shape == value.shape for name, value in stem.items())]
    assert all(torch.equal(value, warmed[name]) for name, value in stem.items())
    monkeypatch.setattr(ProxyTask, "_train_without_cells", refuse)
    untrained.run(known.nas_fpn(), 1, of_width(64))
    ProxyTask(WARM, own_data).run(known.nas_fpn(), 1, of_width(64))


def test_a_trial_that_trains_the_warm_weights_is_the_same_as_one_that_reads_them(own_data):
    build = partial(dropout_neck, width=64)
    trains = ProxyTask(WARM, own_data).run_neck(build, 3)
    assert_same(trains, ProxyTask(WARM, own_data).run_neck(build, 3))


def test_necks_without_a_stem_start_with_the_warm_head():
    head = torch.nn.Linear(2, 3)
    bare = SimpleNamespace(head=head, backbone=SimpleNamespace(neck=torch.nn.Identity()))
    ones = {"head.weight": torch.ones(3, 2), "head.bias": torch.ones(3), "stem.x": torch.ones(1)}
    before = head.weight.clone()
    warm.start_from(bare, {**ones, "head.bias": torch.ones(4)})
    assert torch.equal(head.weight, before), "a head that fits in part is left alone"
    warm.start_from(bare, ones)
    assert (head.weight == 1).all()
    assert (head.bias == 1).all()


def test_a_torn_file_of_warm_weights_is_never_read(own_data, monkeypatch):
    expected = ProxyTask(WARM, own_data).run(known.fpn(), 0)
    (path,) = warm_files(own_data)
    whole = path.read_bytes()
    path.unlink()

    def tear(target: Path, weights: dict[str, Tensor]) -> None:
        target.write_bytes(whole[: len(whole) // 2])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(warm, "write_tensors", tear)
        with pytest.raises(OSError, match="no space left"):
            ProxyTask(WARM, own_data)
    assert warm_files(own_data) == []
    (partial,) = (Path(own_data.root) / ".cache").glob("warm-*.partial")
    assert partial.read_bytes() == whole[: len(whole) // 2]
    assert_same(expected, ProxyTask(WARM, own_data).run(known.fpn(), 0))
    assert warm_files(own_data) == [path]
    assert path.read_bytes() == whole
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WarmError, match=r"warm-\w+\.safetensors cannot be read as weights .* or delete it"):
        ProxyTask(WARM, own_data)


def test_a_warm_training_that_diverges_says_so_and_keeps_nothing(own_data):
    wild = replace(WARM, warm_steps=20, optimizer=OptimizerConfig(name="sgd", lr=1e8, warmup_steps=0))
    for _ in range(2):
        with pytest.raises(WarmError, match=r"shared training .* loss is (nan|inf) at step \d+; lower proxy"):
            ProxyTask(wild, own_data)
    assert warm_files(own_data) == []


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({"warm_steps": 7}, True),
        ({"batch_size": 4}, True),
        ({"augment": "none"}, True),
        ({"precision": "bf16"}, True),
        ({"optimizer": replace(TINY.optimizer, lr=1e-3)}, True),
        ({"neck": replace(TINY.neck, channels=16)}, True),
        ({"head": replace(TINY.head, convs=1)}, True),
        ({"focal_alpha": 0.5}, True),
        ({"steps": STEPS + 1}, False),
        ({"threads": 2, "device": "cpu"}, True),
        ({"compile": "default"}, False),
    ],
    ids=str,
)
def test_another_training_of_stem_and_head_has_another_file(own_data, monkeypatch, change, another):
    ProxyTask(WARM, own_data)
    (path,) = warm_files(own_data)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    ProxyTask(replace(WARM, **change), own_data)
    assert (len(warm_files(own_data)) == 2) == another
    assert path in warm_files(own_data)


def test_other_training_images_or_another_backbone_have_another_file(own_data, monkeypatch):
    ProxyTask(WARM, own_data)
    monkeypatch.setattr(warm, "weights_digest", lambda _: "another")
    ProxyTask(WARM, own_data)
    assert len(warm_files(own_data)) == 2
    os.utime(next((Path(own_data.root) / "train").iterdir()), (1, 1))
    ProxyTask(WARM, own_data)
    assert len(warm_files(own_data)) == 3


def test_without_warm_steps_nothing_is_trained_ahead(own_data, monkeypatch):
    monkeypatch.setattr(ProxyTask, "_train_without_cells", refuse)
    ProxyTask(TINY, own_data)
    assert warm_files(own_data) == []


def test_a_warm_start_of_a_backbone_that_learns_is_refused():
    with pytest.raises(ValidationError, match=r"warm_steps is for frozen backbones.*set backbone.frozen"):
        ProxyConfig(warm_steps=1)
    with pytest.raises(ValidationError, match="warm_steps is for frozen backbones"):
        replace(WARM, backbone=BackboneConfig(name="resnet10"))
    assert ProxyConfig(warm_steps=0).warm_steps == 0


# The split that is scored


@pytest.mark.parametrize("name", ["reward", "test"])
def test_the_split_asked_for_is_scored_and_no_other(data, monkeypatch, name):
    proxy = ProxyTask(TINY, data, score_on=name)
    expected = getattr(open_splits(data), name)
    assert proxy.scored_images.split.annotations == expected.annotations
    assert proxy.scored_images.split.image_ids == expected.image_ids
    scored = []
    monkeypatch.setattr(
        scoring, "coco_ap", lambda split, found, scorer: (scored.append((split, found)), {"AP": 0.0})[1]
    )
    proxy.run(known.fpn(), 0, Recorded(rungs=(4,)))
    assert [split.annotations for split, _ in scored] == [expected.annotations] * 2
    assert all(set(found) == set(expected.image_ids) for _, found in scored)


def test_the_scored_split_does_not_change_the_training(data, task):
    first, second = task.run(known.fpn(), 0), ProxyTask(TINY, data, score_on="test").run(known.fpn(), 0)
    weights = second.neck.state_dict()
    assert first.metrics["loss"] == second.metrics["loss"]
    assert all(torch.equal(value, weights[name]) for name, value in first.neck.state_dict().items())


def test_without_a_test_split_there_is_none_to_score_on(data, task):
    untested = replace(data, test=None)
    with pytest.raises(DataError, match=r"no test split to score on \(data.test is null\).*--set data.test="):
        ProxyTask(TINY, untested, score_on="test")
    assert len(ProxyTask(TINY, untested).scored_images) == 16


# Phases


def test_phases_add_up_and_change_nothing(data, plain, monkeypatch):
    """By the clock of this process, which stands still while the machine does other work."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    proxy = ProxyTask(LONGER, data)
    build = lambda channels, levels: candidate_neck(known.nas_fpn(), channels, levels, LONGER.neck)  # noqa: E731
    phases = Phases(CPU)
    start = time.process_time()
    trained = proxy.run_neck(build, SEED, phases=phases)
    whole = time.process_time() - start
    assert_same(plain, trained)
    assert set(phases.seconds) == set(PHASES)
    assert all(seconds > 0 for seconds in phases.seconds.values())
    assert 0.8 * whole <= sum(phases.seconds.values()) <= whole


def test_phases_of_a_step_come_in_their_order_and_rungs_are_evaluation(data, monkeypatch):
    proxy = ProxyTask(replace(TINY, steps=2), data)
    phases = Phases(CPU)
    told: list[str | None] = []
    begin = Phases.begin
    monkeypatch.setattr(Phases, "begin", lambda self, phase: (told.append(phase), begin(self, phase))[1])
    proxy.run_neck(dropout_neck, 0, Recorded(rungs=(1,)), phases)
    told = [phase for before, phase in zip([None, *told], told, strict=False) if phase not in (None, before)]
    step = [
        "inputs",
        "forward and backward",
        "neck forward",
        "head forward",
        "loss",
        "head backward",
        "neck backward",
        "update",
    ]
    assert told == ["setup", *step, "evaluation", *step, "evaluation", "setup"]


@pytest.mark.parametrize("frozen", [True, False])
def test_phases_of_a_backbone_that_learns_are_the_same(data, frozen):
    config = replace(TINY, backbone=replace(TINY.backbone, frozen=frozen), steps=2, batch_size=2)
    phases = Phases(CPU)
    build = lambda channels, levels: candidate_neck(known.none(), channels, levels, TINY.neck)  # noqa: E731
    ProxyTask(config, data).run_neck(build, 0, phases=phases)
    assert set(phases.seconds) == set(PHASES)


def test_nothing_is_measured_unless_asked_for(task):
    from nas.proxy.phases import NO_PHASES

    task.run(known.fpn(), 0)
    assert NO_PHASES.seconds == {}


# The same again

TRIAL = """
import hashlib, json, sys
from dataclasses import replace
from functools import partial
from tests.support.recorded import TINY
from nas.data.config import DataConfig
from nas.proxy.task import ProxyTask
from search_space import known

config = replace(TINY, steps=30, warm_steps=10)
assert config.augment == "flip"
trained = ProxyTask(config, DataConfig(root=sys.argv[1])).run(known.nas_fpn(), 3)
weights = b"".join(value.numpy().tobytes() for value in trained.neck.state_dict().values())
kept = {name: value.hex() for name, value in trained.metrics.items() if name == "loss" or name.startswith("AP")}
print(json.dumps(kept | {"weights": hashlib.sha256(weights).hexdigest()}))
"""


def trial_of_a_process(root: str, **environment: str) -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, "-c", TRIAL, root],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def test_a_trial_repeats_itself_to_the_last_bit_in_another_process(own_data):
    """With features and warm weights of its own, and its own order of hashes."""
    first = trial_of_a_process(own_data.root, PYTHONHASHSEED="1")
    (path,) = warm_files(own_data)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    shutil.rmtree(Path(own_data.root) / ".cache")
    assert trial_of_a_process(own_data.root, PYTHONHASHSEED="2") == first
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert {"AP", "AP50", "loss", "weights"} <= first.keys()

"""The proxy task on a small embedded data set: it learns, repeats itself, and says why it fails."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.signs import PROXY
from nas.data.coco import CocoSplit, open_splits
from nas.data.config import DataConfig
from nas.data.letterboxed import Letterboxed
from nas.detection.backbone import build_backbone, normalise, weights_digest
from nas.detection.config import BackboneConfig
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.features import FeatureError, FeatureInputs, cached_features
from nas.proxy.task import ProxyTask
from nas.proxy.training import lr_share
from nas.proxy.trial import TrialError
from search_space import known
from tests.support.recorded import TINY, Recorded, assert_same

STEPS = 60
METRICS = {
    "AP",
    "AP50",
    "APs",
    "params",
    "macs",
    "latency_ms",
    "peak_memory_mb",
    "train_seconds",
    "eval_seconds",
    "steps",
    "loss",
}


@pytest.fixture(scope="module")
def learner(data: DataConfig) -> ProxyTask:
    return ProxyTask(replace(PROXY, steps=STEPS, image_size=160), data)


def test_a_trial_learns_and_measures(learner):
    trained = learner.run(known.bifpn(), seed=0)
    assert set(trained.metrics) >= METRICS
    assert trained.metrics["AP50"] > 3, "far above what untrained heads reach, which is 0"
    assert trained.metrics["params"] == sum(value.numel() for value in trained.neck.parameters())
    assert all(value is None or math.isfinite(value) for value in trained.metrics.values())
    assert not trained.neck.training


def test_the_same_seed_gives_the_same_numbers_whatever_the_rungs(learner):
    callbacks = Recorded(rungs=(20, 40))
    first, again = learner.run(known.nas_fpn(), 1), learner.run(known.nas_fpn(), 1, callbacks)
    assert first.metrics["AP"] > 0
    assert len(callbacks.asked) == 2
    assert_same(first, again)


def test_another_seed_gives_other_numbers(task):
    assert len({task.run(known.fpn(), seed).metrics["loss"] for seed in (1, 2)}) == 2


def test_trials_leave_the_shared_backbone_as_it_was(task):
    before = {key: value.clone() for key, value in task.backbone.state_dict().items()}
    task.run(known.fpn(), seed=0)
    assert all(torch.equal(value, before[key]) for key, value in task.backbone.state_dict().items())


def test_without_steps_the_untrained_detector_is_scored(data):
    config = replace(PROXY, backbone=BackboneConfig(name="resnet10", frozen=True), image_size=64, steps=0)
    trained = ProxyTask(config, data).run(known.fpn(), seed=0)
    assert set(trained.metrics) >= METRICS
    assert trained.metrics["AP"] < 1
    assert math.isnan(trained.metrics["loss"])


def test_pyramids_may_begin_at_another_level(data):
    backbone, neck = replace(TINY.backbone, levels=(2, 3, 4, 5)), replace(TINY.neck, levels=(2, 3, 4, 5, 6))
    task = ProxyTask(replace(TINY, backbone=backbone, neck=neck, steps=1), data)
    trained = task.run(known.bifpn(neck.levels), seed=0)
    assert math.isfinite(trained.metrics["AP"])
    assert trained.neck.out_levels == (2, 3, 4, 5, 6)
    sides = [round(math.sqrt(len(level) / len(task.anchors[-1]))) for level in task.anchors]
    assert sides == [16, 8, 4, 2, 1]


def test_a_diverging_trial_says_so_and_what_to_do(data):
    wild = replace(TINY, steps=20, optimizer=OptimizerConfig(name="sgd", lr=1e8, warmup_steps=0))
    with pytest.raises(TrialError, match=r"loss is (nan|inf) at step \d+; lower proxy.optimizer.lr"):
        ProxyTask(wild, data).run(known.fpn(), seed=0)


def test_a_backbone_from_scratch_is_the_same_code_with_another_setting(data):
    config = replace(PROXY, backbone=BackboneConfig(name="resnet10"), steps=3, image_size=128)
    trained = ProxyTask(config, data).run(known.fpn(), seed=0)
    assert math.isfinite(trained.metrics["loss"])


def test_cached_features_are_those_of_the_images(data):
    backbone = build_backbone(BackboneConfig(name="resnet10", frozen=True))
    images = Letterboxed(open_splits(data).reward, 96)
    cpu = torch.device("cpu")
    first = next(cached_features(images, backbone, Path(data.root), cpu).batches([[3, 0]], cpu))
    again = next(cached_features(images, backbone, Path(data.root), cpu).batches([[3, 0]], cpu))
    assert list(first) == ["c3", "c4", "c5"]
    assert all(torch.equal(first[name], again[name]) for name in first)
    with torch.inference_mode():
        direct = backbone(normalise(torch.stack([images[3][0], images[0][0]]), backbone))
    for name in direct:
        torch.testing.assert_close(first[name], direct[name], rtol=2e-3, atol=2e-3)


def test_unfinished_features_are_not_read(data):
    backbone = build_backbone(BackboneConfig(name="resnet10", frozen=True))
    images = Letterboxed(open_splits(data).reward, 48)
    cpu = torch.device("cpu")
    whole = next(cached_features(images, backbone, Path(data.root), cpu).batches([[0]], cpu))
    (path,) = (found for found in (Path(data.root) / ".cache").glob("*-48-1") if found.is_dir())
    torn = path.rename(path.with_name(f"{path.name}.partial"))
    (torn / "c3.npy").write_bytes((torn / "c3.npy").read_bytes()[:200])
    again = next(cached_features(images, backbone, Path(data.root), cpu).batches([[0]], cpu))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_damaged_features_are_told_with_what_to_do(tmp_path):
    for raw in (b"", b"\x93NUMPY", b"hello"):
        (tmp_path / "c3.npy").write_bytes(raw)
        with pytest.raises(FeatureError, match=r"is damaged .*; delete it"):
            FeatureInputs(tmp_path, torch.device("cpu"), torch.channels_last)
    np.save(tmp_path / "c3.npy", np.zeros((2, 3, 4, 5), np.float16))
    raw = (tmp_path / "c3.npy").read_bytes()
    (tmp_path / "c3.npy").write_bytes(raw[:-9])
    with pytest.raises(FeatureError, match="is damaged"):
        FeatureInputs(tmp_path, torch.device("cpu"), torch.channels_last)


def test_other_images_under_the_same_annotations_get_features_of_their_own(data, tmp_path):
    backbone = build_backbone(BackboneConfig(name="resnet10", frozen=True))
    shutil.copytree(data.root, tmp_path / "copy", ignore=shutil.ignore_patterns(".cache"))
    split = open_splits(replace(data, root=str(tmp_path / "copy"))).reward
    cpu = torch.device("cpu")
    before = next(cached_features(Letterboxed(split, 64), backbone, tmp_path, cpu).batches([[0]], cpu))
    Image.new("RGB", (256, 256), "red").save(split.image_path(split.image_ids[0]))
    after = next(cached_features(Letterboxed(split, 64), backbone, tmp_path, cpu).batches([[0]], cpu))
    assert not torch.equal(before["c3"], after["c3"])


def test_a_frozen_random_backbone_is_the_same_in_every_worker(data):
    config = replace(PROXY, backbone=BackboneConfig(name="resnet10", frozen=True), image_size=64, steps=1)
    first, second = (ProxyTask(config, data) for _ in range(2))
    assert weights_digest(first.backbone) == weights_digest(second.backbone)


@pytest.mark.parametrize("size", [(256, 256), (100, 50), (37, 64)])
def test_letterboxing_keeps_shapes_and_moves_boxes_with_the_image(size, tmp_path):
    width, height = size
    Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
                "categories": [{"id": 1, "name": "thing"}],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, width, height], "area": 1, "iscrowd": 0}
                ],
            }
        )
    )
    image, boxes, labels = Letterboxed(CocoSplit(tmp_path / "a.json", tmp_path), 128)[0]
    assert image.shape == (3, 128, 128)
    assert labels.tolist() == [0]
    x1, y1, x2, y2 = boxes[0].round().int().tolist()
    assert (x1, y1, max(x2, y2)) == (0, 0, 128)
    assert (image[0, y1:y2, x1:x2] == 200).all()
    assert image[:, y2:].sum() == 0
    assert image[:, :, x2:].sum() == 0


def test_learning_rate_schedules():
    step = OptimizerConfig(schedule="step", warmup_steps=10)
    assert [lr_share(step, at, 100) for at in (0, 9, 10, 79, 80, 99)] == pytest.approx(
        [1 / 11, 10 / 11, 1, 1, 0.1, 0.1]
    )
    cosine = OptimizerConfig(schedule="cosine", warmup_steps=0)
    shares = [lr_share(cosine, at, 100) for at in range(101)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[100] == pytest.approx(0.02)


def test_the_defaults_are_the_papers_proxy_task():
    paper = ProxyConfig()
    assert (paper.backbone.name, paper.image_size, paper.neck.channels, paper.neck.repeats) == ("resnet10", 512, 256, 3)
    assert (paper.steps, paper.batch_size, paper.optimizer.lr) == (17_330, 64, 0.08)
    assert (paper.head.convs, paper.focal_alpha, paper.focal_gamma) == (4, 0.25, 1.5)

"""Faster R-CNN in a full training: it learns, and its saved detector is scored, drawn and exported like any other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torchvision.models.detection import FasterRCNN

from nas.configuration import ConfigError, override
from nas.data.coco import open_splits
from nas.detection.cost import detector_cost
from nas.detection.saved import DetectorError, DetectorSpec, build_from_spec, load_detector
from nas.evaluation.evaluate import Settings, choose_exits, find
from nas.training.model import detector_spec
from nas.training.trainer import Place, Trainer
from tests.support import tiny_training
from tests.support.detections import Limits, assert_same_detections

SIDE = 96
STAGES = ["two_stage.train_proposals=40", "two_stage.test_proposals=20", "two_stage.anchor_scale=4"]
CHANGES = ["detector=faster_rcnn", "epochs=30", *STAGES]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return override(tiny_training.train(str(tmp_path_factory.mktemp("signs"))), CHANGES)


@pytest.fixture(scope="module")
def trainer(config):
    splits = open_splits(config.data)
    trainer = Trainer(
        config, detector_spec(config, splits.train), splits, Place(0, 1, torch.device("cpu")), lambda look: None
    )
    for _ in range(config.epochs):
        trainer.train_epoch()
    trainer.score()
    return trainer


@pytest.fixture(scope="module")
def saved(trainer, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    trainer.save(path)
    return path


def test_it_learns(trainer):
    losses = [entry["loss"] for entry in trainer.history]
    assert losses[-1] < 0.8 * losses[0]
    assert trainer.history[-1]["AP50"] > 0


def test_the_saved_detector_is_torchvisions(trainer, saved):
    detector, spec = load_detector(saved)
    assert isinstance(detector, FasterRCNN)
    assert not detector.training
    assert spec.two_stage == trainer.config.two_stage
    ours, theirs = detector.state_dict(), trainer.detector.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("resize", ["letterbox", "torchvision"])
def test_what_is_found_is_what_torchvisions_forward_pass_finds(trainer, saved, config, resize):
    """Images of the training's own square size, which neither way of resizing changes."""
    detector, _ = load_detector(saved)
    detector.roi_heads.score_thresh = 0.0
    split = open_splits(config.data).reward
    (found,) = find(detector, split, Settings(size=SIDE, resize=resize), choose_exits(detector, None, every=False))
    for index, image in enumerate(split.image_ids):
        with torch.no_grad():
            expected = detector([split[index][0].float() / 255])[0]
        assert expected["labels"].min() >= 1
        ours = {"boxes": found[image].boxes, "scores": found[image].scores, "labels": found[image].labels + 1}
        heads = detector.roi_heads
        limits = Limits(heads.score_thresh, heads.nms_thresh, heads.detections_per_img)
        assert_same_detections(ours, expected, limits)


def test_the_cost_counts_both_stages(trainer, saved):
    detector, spec = load_detector(saved)
    two = detector_cost(detector, (SIDE, SIDE))
    more = replace(spec, two_stage=replace(spec.two_stage, test_proposals=40))
    regions = detector_cost(build_from_spec(more).train(), (SIDE, SIDE)).macs - two.macs
    per_region = 16 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * 5 * (len(spec.classes) + 1)
    assert regions == 20 * per_region
    assert two.params == sum(parameter.numel() for parameter in detector.parameters())


def test_commands_take_it(saved, config, tmp_path, in_process):
    data = config.data
    images = f"{data.root}/{data.reward.images}"
    code, shown, errors = in_process("predict", saved, images, "--out", tmp_path / "found")
    assert (code, errors) == (0, "")
    command = ["evaluate", saved, "--annotations", f"{data.root}/{data.reward.annotations}", "--images", images]
    code, shown, errors = in_process(*command, "--out", tmp_path / "scored")
    assert (code, errors) == (0, "")
    assert "AP50" in shown
    command = ["export", saved, "--output", tmp_path / "out"]
    code, shown, errors = in_process(*command, "--format", "python", "--format", "pt2")
    assert (code, errors) == (0, "")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"neck.py", "neck.pt2", "detector.json", "detector.safetensors"} <= written
    assert "detector.pt2" not in written
    assert "torchvision's Faster R-CNN, whose labels run from 1" in (tmp_path / "out" / "README.md").read_text()
    again, _ = load_detector(tmp_path / "out")
    assert isinstance(again, FasterRCNN)
    code, _, errors = in_process(*command, "--format", "onnx-nms")
    assert code == 2
    assert "onnx-nms is of whole RetinaNets, and this is a Faster R-CNN; take onnx, which is of the neck" in errors


def test_a_retinanets_file_says_nothing_of_two_stages(config):
    spec = detector_spec(override(config, ["detector=retinanet"]), open_splits(config.data).train)
    assert spec.two_stage is None
    assert "two_stage" not in spec.to_dict()
    assert DetectorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))).two_stage is None


def test_what_does_not_go_together_is_refused(config, trainer):
    with pytest.raises(ConfigError, match="deep_supervision is for the detector retinanet"):
        override(config, ["deep_supervision=true"])
    with pytest.raises(ConfigError, match=r"detector: .*'retinanet' or 'faster_rcnn'"):
        override(config, ["detector=yolo"])
    plain = trainer.spec.to_dict()
    with pytest.raises(DetectorError, match="two_stage is not anytime"):
        DetectorSpec.from_dict({**plain, "anytime": True})
    with pytest.raises(DetectorError, match=r"two_stage\.anchor_scale"):
        DetectorSpec.from_dict({**plain, "two_stage": {"anchor_scale": -1}})

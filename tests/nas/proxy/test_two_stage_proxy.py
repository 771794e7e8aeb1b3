"""Faster R-CNN as the detector of a proxy task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas.configuration import ConfigError, from_dict, override
from nas.detection.config import BackboneConfig, TwoStageConfig
from nas.detection.two_stage import shown_detections
from nas.proxy.config import ProxyConfig
from nas.proxy.task import ProxyTask
from search_space import known
from tests.support.recorded import STEPS, TINY, Cut, Recorded, assert_same
from tests.support.toy_search import toy_config

STAGES = TwoStageConfig(train_proposals=40, test_proposals=20, anchor_scale=4.0)
TWO_STAGE = replace(TINY, detector="faster_rcnn", two_stage=STAGES, warm_steps=0, batch_size=8)


@pytest.fixture(scope="module")
def two_stage(data) -> ProxyTask:
    return ProxyTask(TWO_STAGE, data)


@pytest.fixture(scope="module")
def trained(two_stage):
    return two_stage.run(known.fpn(), 0)


def test_it_learns_and_is_scored(trained, data):
    task = ProxyTask(replace(TWO_STAGE, steps=60), data)
    metrics = task.run(known.fpn(), 0).metrics
    assert metrics["AP"] > 0.1
    assert metrics["loss"] < 0.8 * trained.metrics["loss"]
    assert metrics["steps"] == 60
    assert metrics["params"] > 0
    assert task.estimate() > 0


def test_the_same_seed_gives_the_same_and_another_does_not(two_stage, trained):
    assert_same(trained, two_stage.run(known.fpn(), 0))
    assert two_stage.run(known.fpn(), 1).metrics["loss"] != trained.metrics["loss"]


def test_a_cut_training_goes_on_from_its_checkpoint(two_stage, trained):
    callbacks = Recorded(every=0, cut=3)
    with pytest.raises(Cut):
        two_stage.run(known.fpn(), 0, callbacks)
    again = two_stage.run(known.fpn(), 0, Recorded(stored=callbacks.saved[-1], every=0))
    assert again.metrics["resumed_at"] == 3
    assert_same(trained, again)


def test_rungs_do_not_change_the_training(two_stage, trained):
    callbacks = Recorded(rungs=(2, 5))
    assert_same(trained, two_stage.run(known.fpn(), 0, callbacks))
    assert [step for step, _ in callbacks.asked] == [2, 5]


def test_a_backbone_that_learns_gets_gradients(data):
    config = replace(TWO_STAGE, backbone=BackboneConfig(name="resnet10"), image_size=64, steps=2)
    metrics = ProxyTask(config, data).run(known.fpn(), 0).metrics
    assert metrics["steps"] == 2


def test_detections_are_cut_to_what_the_square_shows_of_the_image():
    boxes = torch.tensor([[10.0, 10, 60, 60], [50, 0, 60, 10]])
    found = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([1, 3])}
    shown = shown_detections(found, (64, 40))
    assert shown["boxes"].tolist() == [[10, 10, 40, 60]]
    assert shown["labels"].tolist() == [0]


def test_what_it_cannot_do_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="faster_rcnn cannot use warm_steps or compile"):
        from_dict(ProxyConfig, {"detector": "faster_rcnn", "compile": "default"})
    with pytest.raises(ConfigError, match=r"detector: .*'retinanet' or 'faster_rcnn'"):
        from_dict(ProxyConfig, {"detector": "yolo"})
    config = override(toy_config(tmp_path), [f"proxy.steps={STEPS * 10}", "proxy.detector=faster_rcnn"])
    with pytest.raises(ConfigError, match=r"inherit.steps works only with the detector retinanet"):
        override(config, ["inherit.steps=10"])

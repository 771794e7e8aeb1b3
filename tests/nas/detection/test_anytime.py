"""Anytime detection: every head learns, and each exit is the detector of so many repeats."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.detection.anytime import build_anytime_detector
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.cost import detector_cost
from nas.detection.detector import build_detector
from necks import build_neck
from tests.support.detections import Limits, assert_same_detections

REPEATS = 2
HEAD = HeadConfig(convs=1, octaves=1, score_threshold=0.0, max_detections=20)
IMAGES = [torch.rand(3, 64, 51, generator=torch.Generator().manual_seed(0)), torch.rand(3, 40, 64)]
TARGETS = [
    {"boxes": torch.tensor([[5.0, 6, 28, 36]]), "labels": torch.tensor([1])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]


def parts(repeats=REPEATS, name="fpn"):
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    return backbone, build_neck(name, in_channels=backbone.channels, out_channels=8, repeats=repeats)


@pytest.fixture
def anytime():
    torch.manual_seed(0)
    return build_anytime_detector(*parts(), 3, HEAD, 64)


def single(anytime, repeats):
    """A plain RetinaNet with the first repeats of the neck and the head after them."""
    detector = build_detector(*parts(repeats), 3, HEAD, 64)
    detector.backbone.load_state_dict(anytime.backbone.state_dict(), strict=False)
    assert detector.backbone.state_dict().keys() <= anytime.backbone.state_dict().keys()
    detector.head.load_state_dict(anytime.head.heads[repeats - 1].state_dict())
    return detector


def test_every_head_and_every_repeat_learn(anytime):
    losses = anytime(IMAGES, TARGETS)
    assert set(losses) == {"classification", "bbox_regression"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    for part in (*anytime.head.heads, *anytime.backbone.neck.pyramids):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    assert all(parameter.grad is not None for parameter in anytime.head.parameters())


def test_the_loss_is_the_mean_over_the_repeats(anytime):
    exact = [single(anytime, repeats)(IMAGES, TARGETS) for repeats in range(1, REPEATS + 1)]
    for name, loss in anytime(IMAGES, TARGETS).items():
        torch.testing.assert_close(loss, sum(each[name] for each in exact) / REPEATS)


@pytest.mark.parametrize("repeats", [1, REPEATS])
def test_an_exit_detects_as_the_detector_of_so_many_repeats(anytime, repeats):
    anytime(IMAGES, TARGETS)
    anytime.eval().exit_after = repeats
    with torch.no_grad():
        ours, theirs = anytime(IMAGES), single(anytime, repeats).eval()(IMAGES)
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine["boxes"]) == 20
        assert_same_detections(mine, other, Limits.of(anytime))


def test_earlier_exits_are_cheaper(anytime):
    anytime.eval()
    runs = []
    for module in anytime.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_: runs.append(1))
    counts, macs = [], []
    for repeats in range(1, REPEATS + 1):
        runs.clear()
        anytime.exit_after = repeats
        anytime(IMAGES)
        counts.append(len(runs))
        macs.append(detector_cost(anytime, (64, 64)).macs)
    assert counts[0] < counts[1]
    assert macs[0] < macs[1]


def test_the_last_exit_is_the_default_and_others_must_exist(anytime):
    assert anytime.exit_after == REPEATS
    for repeats in (0, REPEATS + 1):
        with pytest.raises(ValueError, match=rf"exit_after must be in 1\.\.2, the neck's repeats, got {repeats}"):
            anytime.exit_after = repeats
    assert anytime.exit_after == REPEATS


def test_with_a_backbone_in_evaluation_mode_the_exits_head_alone_learns(anytime):
    anytime.exit_after = 1
    anytime.backbone.eval()
    sum(anytime(IMAGES, TARGETS).values()).backward()
    assert [head.cls_logits.weight.grad is not None for head in heads(anytime)] == [True, False]


def heads(anytime):
    return [head.classification_head for head in anytime.head.heads]


def test_a_neck_without_repeats_is_refused():
    with pytest.raises(ValueError, match=r"needs a neck of stacked repeats .*got AsffNeck; build one from a genotype"):
        build_anytime_detector(*parts(1, "asff"), 3)


def test_a_neck_for_another_backbone_is_refused():
    backbone, _ = parts()
    with pytest.raises(ValueError, match="the neck takes levels"):
        build_anytime_detector(backbone, build_neck("fpn", in_channels=(8, 8, 8)), 3)

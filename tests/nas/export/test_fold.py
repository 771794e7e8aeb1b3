"""Batch norms folded: the same outputs, fewer modules, the module given left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.export.fold import fold_batch_norms
from necks import NECKS, build_neck

BACKBONES = ["resnet10", "resnet50", "torchvision/mobilenet_v3_large"]


def norms(module):
    return [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]


def with_statistics(module):
    for norm in norms(module):
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.5, 1.5)
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(std=0.1)
    return module


@torch.no_grad()
def assert_same(module, folded, inputs):
    for x, y in zip(module(inputs).values(), folded(inputs).values(), strict=True):
        assert (x - y).abs().max() <= 1e-5 * y.abs().max()


@pytest.mark.parametrize("name", [name for name in NECKS if "@" not in name] + ["bifpn@effdet", "nas_fpn@mmdet"])
def test_every_neck_computes_the_same(name):
    torch.manual_seed(0)
    neck = with_statistics(build_neck(name, in_channels=(6, 10, 14), out_channels=16)).eval()
    maps = {f"c{level}": torch.randn(1, 2 + 4 * (level - 2), 136 >> level, 200 >> level) for level in (3, 4, 5)}
    folded = fold_batch_norms(neck)
    assert_same(neck, folded, maps)
    after_convolutions = [norm for norm in norms(folded) if norm not in [getattr(folded, "norm", None)]]
    assert after_convolutions == []  # MLFPN has one of its own, after a concatenation


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_compute_the_same_without_norms(name):
    torch.manual_seed(0)
    backbone = with_statistics(build_backbone(BackboneConfig(name=name))).eval()
    folded = fold_batch_norms(backbone)
    assert_same(backbone, folded, torch.rand(1, 3, 70, 102))
    assert norms(folded) == []


def test_the_module_given_is_not_changed_and_may_be_in_training():
    neck = with_statistics(build_neck("nas_fpn", in_channels=(6, 10, 14), out_channels=8)).train()
    before = {name: value.clone() for name, value in neck.state_dict().items()}
    folded = fold_batch_norms(neck)
    assert (neck.training, folded.training) == (True, False)
    assert all(torch.equal(value, before[name]) for name, value in neck.state_dict().items())
    shared = {id(value) for value in neck.parameters()} & {id(value) for value in folded.parameters()}
    assert not shared


def test_what_is_shared_or_otherwise_connected_is_left_alone():
    conv = nn.Conv2d(3, 3, 1)
    twice = with_statistics(nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), conv, nn.BatchNorm2d(3))).eval()
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(fold_batch_norms(twice)(x), twice(x))
    assert len(norms(fold_batch_norms(twice))) == 2
    apart = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    assert len(norms(fold_batch_norms(apart))) == 1


def test_a_layer_that_a_sequential_holds_twice_parts_a_convolution_from_a_norm():
    torch.manual_seed(0)
    act = nn.ReLU()
    block = with_statistics(nn.Sequential(act, nn.Conv2d(3, 4, 1), act, nn.BatchNorm2d(4))).eval()
    x = torch.randn(2, 3, 5, 7)
    assert torch.equal(fold_batch_norms(block)(x), block(x))

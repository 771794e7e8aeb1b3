"""Both detectors over other levels, backbones and necks; what does not fit is refused when they are built."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from nas.detection.backbone import Backbone, build_backbone
from nas.detection.compatibility import check_compatibility
from nas.detection.config import BackboneConfig, HeadConfig, TwoStageConfig
from nas.detection.detector import build_detector
from nas.detection.two_stage import build_faster_rcnn
from necks import Neck, build_neck

FINE = (2, 3, 4, 5)
SMALL_HEAD = HeadConfig(convs=1, octaves=1)
SMALL_STAGES = TwoStageConfig(train_proposals=50, test_proposals=50)


def neck_over(backbone, name="pafpn", top=6):
    levels = backbone.levels
    return build_neck(
        name,
        in_channels=backbone.channels,
        in_levels=levels,
        out_levels=tuple(range(levels[0], top + 1)),
        out_channels=16,
    )


def scene(first_label):
    images = [torch.rand(3, 64, 51), torch.rand(3, 40, 64)]
    boxes = torch.tensor([[5.0, 6, 28, 36], [20, 10, 49, 30]])
    targets = [
        {"boxes": boxes, "labels": torch.tensor([first_label, first_label + 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    return images, targets


def check_trains_and_detects(detector, targets_from):
    images, targets = scene(targets_from)
    losses = detector.train()(images, targets)
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    gradients = [parameter.grad for parameter in detector.backbone.neck.parameters()]
    assert all(gradient is not None for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    for found in detector.eval()(images):
        assert set(found) == {"boxes", "scores", "labels"}


@pytest.mark.parametrize(
    ("name", "levels"),
    [("torchvision/mobilenet_v3_small", (3, 4, 5)), ("timm/mobilenetv3_small_050", FINE), ("resnet10", FINE)],
    ids=str,
)
def test_retinanet_trains_and_detects_over_any_backbone(name, levels):
    backbone = build_backbone(BackboneConfig(name=name, levels=levels))
    check_trains_and_detects(build_detector(backbone, neck_over(backbone, top=7), 3, SMALL_HEAD, 64), 0)


@pytest.mark.parametrize(
    ("name", "neck"),
    [("resnet10", "pafpn"), ("timm/mobilenetv3_small_050", "balanced_fpn"), ("torchvision/mobilenet_v3_small", "fpn")],
)
def test_faster_rcnn_trains_and_detects(name, neck):
    backbone = build_backbone(BackboneConfig(name=name, levels=FINE))
    check_trains_and_detects(build_faster_rcnn(backbone, neck_over(backbone, neck), 3, SMALL_STAGES, 64), 1)


def test_faster_rcnn_over_p3_to_p7():
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    detector = build_faster_rcnn(backbone, neck_over(backbone, "fpn", top=7), 3, SMALL_STAGES, 64)
    assert detector.roi_heads.box_roi_pool.featmap_names == ["p3", "p4", "p5"]
    check_trains_and_detects(detector, 1)


def test_faster_rcnn_is_set_up_as_torchvisions_own():
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    backbone = build_backbone(BackboneConfig(name="resnet18", levels=FINE))
    ours = build_faster_rcnn(backbone, neck_over(backbone), 90)
    theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    assert ours.rpn.anchor_generator.sizes == theirs.rpn.anchor_generator.sizes
    assert ours.rpn.anchor_generator.aspect_ratios == theirs.rpn.anchor_generator.aspect_ratios
    assert len(ours.roi_heads.box_roi_pool.featmap_names) == len(theirs.roi_heads.box_roi_pool.featmap_names)
    assert ours.roi_heads.box_predictor.cls_score.out_features == 91
    for name in ("score_thresh", "nms_thresh", "detections_per_img"):
        assert getattr(ours.roi_heads, name) == getattr(theirs.roi_heads, name)
    assert ours.rpn.nms_thresh == theirs.rpn.nms_thresh
    assert ours.rpn._post_nms_top_n == theirs.rpn._post_nms_top_n


def test_faster_rcnn_takes_its_settings():
    backbone = build_backbone(BackboneConfig(name="resnet10", levels=FINE))
    config = TwoStageConfig(anchor_scale=2, ratios=(1.0,), score_threshold=0.0, nms_threshold=0.9, max_detections=3)
    detector = build_faster_rcnn(backbone, neck_over(backbone), 3, config, 96).eval()
    assert detector.rpn.anchor_generator.sizes == ((8.0,), (16.0,), (32.0,), (64.0,), (128.0,))
    assert detector.rpn.anchor_generator.num_anchors_per_location() == [1] * 5
    (found,) = detector([torch.rand(3, 80, 80)])
    assert len(found["boxes"]) == 3
    assert found["labels"].min() >= 1, "0 is the background"


class Rigged(Neck):
    """Maps of the given sides and widths, whatever it gets."""

    def __init__(self, backbone, sides, widths=None):
        super().__init__(backbone.channels, backbone.levels, widths or (8,) * len(sides), (3, 4, 5, 6, 7)[: len(sides)])
        self.sides = sides

    def forward(self, features):
        first = features["c3"]
        maps = [
            first.new_zeros(1, width, side, side) for width, side in zip(self.level_channels, self.sides, strict=True)
        ]
        return self.named(maps)


class Halves(nn.Module):
    def __init__(self, *strides):
        super().__init__()
        self.strides = strides

    def forward(self, images):
        return [images[:, :, ::stride, ::stride] for stride in self.strides]


BUILDERS = pytest.mark.parametrize("build", [build_detector, build_faster_rcnn])


@BUILDERS
@pytest.mark.parametrize(
    ("sides", "widths", "message"),
    [
        ((64, 32, 8), None, r"neck's map of level 5 must be 16 x 16 with 8 channels .*found 8 x 8 with 8"),
        ((32, 64, 16), None, r"neck's map of level 3 must be 64 x 64 with 8 channels .*found 32 x 32 with 8"),
        ((64, 32, 16), (8, 16, 16), r"level 4 must be 32 x 32 with 8 channels .*found 32 x 32 with 16"),
        ((64, 32, 16, 16), None, r"level 6 must be smaller than 16 x 16 with 8 channels .*found 16 x 16 with 8"),
    ],
)
def test_a_necks_maps_must_be_those_of_its_levels(build, sides, widths, message):
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    with pytest.raises(ValueError, match=message):
        build(backbone, Rigged(backbone, sides, widths), 3)


@BUILDERS
@pytest.mark.parametrize("sides", [(64, 32, 16, 5, 3), (64, 32, 16, 1, 1)], ids=str)
def test_levels_beyond_the_backbones_need_only_shrink(build, sides):
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    assert build(backbone, Rigged(backbone, sides), 3)


@BUILDERS
def test_a_backbone_of_other_strides_is_refused(build):
    backbone = Backbone(Halves(8, 16, 16), (3, 3, 3), (0,) * 3, (1,) * 3)
    neck = build_neck("fpn", in_channels=(3, 3, 3), out_channels=8)
    with pytest.raises(ValueError, match=r"backbone's map of level 5 must be 16 x 16 with 3 channels .*found 32 x 32"):
        build(backbone, neck, 3)


@BUILDERS
def test_a_backbone_with_levels_in_the_wrong_order_is_refused(build):
    backbone = Backbone(Halves(8, 16, 32), (3, 3, 3), (0,) * 3, (1,) * 3, levels=(5, 4, 3))
    neck = build_neck("none", in_channels=(3, 3, 3), out_channels=8)
    neck.in_levels = (5, 4, 3)
    with pytest.raises(ValueError, match=r"level 5 must be 16 x 16 .*found 64 x 64.*in the order of the maps"):
        build(backbone, neck, 3)


@BUILDERS
def test_a_neck_for_other_levels_is_refused(build):
    backbone = build_backbone(BackboneConfig(name="resnet10", levels=FINE))
    neck = build_neck("fpn", in_channels=backbone.channels[1:], out_channels=8)
    with pytest.raises(ValueError, match=r"takes levels \(3, 4, 5\) .*the backbone gives levels \(2, 3, 4, 5\)"):
        build(backbone, neck, 3)


def test_the_check_changes_neither_backbone_nor_neck():
    backbone = build_backbone(BackboneConfig(name="resnet10")).train()
    neck = neck_over(backbone)
    before = OrderedDict((name, value.clone()) for name, value in (backbone.state_dict() | neck.state_dict()).items())
    state = torch.get_rng_state()
    check_compatibility(backbone, neck)
    assert torch.equal(torch.get_rng_state(), state)
    assert backbone.training
    assert neck.training
    after = backbone.state_dict() | neck.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_faster_rcnn_needs_the_backbones_levels_without_gaps():
    backbone = build_backbone(BackboneConfig(name="resnet10", levels=(2, 4, 5)))
    neck = build_neck("none", in_channels=backbone.channels, in_levels=(2, 4, 5), out_levels=(2, 4, 5), out_channels=8)
    with pytest.raises(ValueError, match=r"must be consecutive, got \(2, 4, 5\)"):
        build_faster_rcnn(backbone, neck, 3)

"""torchvision's RetinaNets made into ours: the same logits and boxes; and what is refused."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.detection import RetinaNet, retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from nas.conversion.convert import convert
from nas.conversion.parts import Categories, ConversionError
from nas.detection.saved import load_detector, save_detector
from tests.support.detections import Limits, assert_same_detections
from tests.support.golden_files import DETECTOR_ROUNDING, assert_equal_up_to_rounding
from tests.support.weights_for_conversion import randomised

SIDE = 128
TWO = Categories((0, 1), ("cat", "dog"))
IMAGES = [torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))]


def small_peer(classes: int = 2, seed: int = 0) -> RetinaNet:
    """As torchvision builds `retinanet_resnet50_fpn`, on a smaller ResNet."""
    backbone = _resnet_fpn_extractor(resnet18(), 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    return randomised(RetinaNet(backbone, classes, min_size=SIDE, max_size=SIDE), seed)


@pytest.fixture(scope="module")
def peer() -> RetinaNet:
    return small_peer()


@torch.no_grad()
def raw(detector: RetinaNet) -> list[torch.Tensor]:
    """Logits (1, A, K), offsets (1, A, 4) and anchors (A, 4) of `IMAGES`."""
    images, _ = detector.transform(IMAGES)
    maps = list(detector.backbone(images.tensors).values())
    outputs = detector.head(maps)
    return [outputs["cls_logits"], outputs["bbox_regression"], detector.anchor_generator(images, maps)[0]]


@torch.no_grad()
def assert_same(ours: RetinaNet, theirs: RetinaNet) -> None:
    for x, y in zip(raw(ours), raw(theirs), strict=True):
        assert_equal_up_to_rounding(x, y, DETECTOR_ROUNDING)
    ours.score_thresh = theirs.score_thresh
    found, expected = ours(IMAGES)[0], theirs(IMAGES)[0]
    assert len(expected["boxes"]) > 10
    assert_same_detections(found, expected, Limits.of(theirs))


def test_detects_as_the_public_detector_when_saved_and_loaded(peer, tmp_path):
    ours, spec = convert(peer.state_dict(), "torchvision", TWO, SIDE)
    assert_same(ours, peer)
    save_detector(ours.state_dict(), spec, tmp_path)
    again, read = load_detector(tmp_path)
    assert read == spec
    assert_same(again, peer)


def test_reads_names_from_before_torchvision_0_13_and_frozen_norms(peer):
    old = {}
    for name, value in peer.state_dict().items():
        parts = name.split(".")
        if parts[0] == "head" and parts[2] == "conv":
            name = ".".join([*parts[:3], str(2 * int(parts[3])), parts[5]])
        if "inner_blocks" in name or "layer_blocks" in name:
            name = ".".join([*parts[:4], parts[5]])
        if not name.endswith("num_batches_tracked"):
            old[name] = value
    assert_same(
        convert({"model": {f"module.{key}": value for key, value in old.items()}}, "torchvision", TWO, SIDE)[0], peer
    )


def test_norms_with_another_eps_compute_the_same():
    theirs = small_peer(seed=4)
    for module in theirs.backbone.body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-30  # 0, which PyTorch 2.11 refuses
            module.running_var *= 1e-4
            module.weight.data *= 1e-2
    assert_same(convert(theirs.state_dict(), "torchvision", TWO, SIDE, norm_eps=0.0)[0], theirs)


def test_outputs_numbered_by_category_id_are_chosen():
    theirs = small_peer(classes=18)
    categories = Categories((3, 17), ("cat", "dog"))
    ours, spec = convert(theirs.state_dict(), "torchvision", categories, SIDE)
    assert spec.category_ids == (3, 17)
    logits, _, anchors = raw(theirs)
    assert_equal_up_to_rounding(raw(ours)[0], logits[..., [3, 17]], DETECTOR_ROUNDING)
    assert torch.equal(raw(ours)[2], anchors)


@pytest.mark.parametrize(("build", "classes"), [(retinanet_resnet50_fpn, 2), (retinanet_resnet50_fpn_v2, 2)])
def test_both_models_of_torchvision(build, classes):
    theirs = build(weights=None, weights_backbone=None, num_classes=classes, min_size=SIDE, max_size=SIDE)
    theirs = randomised(theirs)
    assert_same(convert(theirs.state_dict(), "torchvision", TWO, SIDE)[0], theirs)


def test_the_number_of_categories_must_fit(peer):
    with pytest.raises(
        ConversionError, match="has 2 outputs per anchor, the annotations 3 categories with ids up to 9"
    ):
        convert(peer.state_dict(), "torchvision", Categories((1, 2, 9), ("a", "b", "c")), SIDE)


def test_every_difference_is_listed(peer):
    state = OrderedDict(peer.state_dict())
    del state["backbone.fpn.inner_blocks.1.0.bias"]
    state["backbone.body.layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    state["roi_heads.box_head.fc6.weight"] = torch.zeros(1)
    with pytest.raises(ConversionError) as caught:
        convert(state, "torchvision", TWO, SIDE)
    text = str(caught.value)
    assert "not that of a torchvision RetinaNet (resnet18, MergeNeck) (3 differences)" in text
    assert "missing: backbone.fpn.inner_blocks.1.0.bias" in text
    assert "backbone.body.layer1.0.conv1.weight has shape (64, 64, 1, 1), here it is (64, 64, 3, 3)" in text
    assert "left over: roi_heads.box_head.fc6.weight" in text


def test_other_detectors_are_told_what_is_missing(peer):
    with pytest.raises(ConversionError, match=r"cls_logits\.weight is missing.*or name another --source"):
        convert(resnet18().state_dict(), "torchvision", TWO, SIDE)
    with pytest.raises(ConversionError, match=r"retina_cls\.weight is missing.*or name another --source"):
        convert(peer.state_dict(), "mmdet", TWO, SIDE)
    with pytest.raises(ConversionError, match="unknown source 'detectron'; known are mmdet, torchvision, effdet"):
        convert(peer.state_dict(), "detectron", TWO, SIDE)
    headless = {k: v for k, v in peer.state_dict().items() if not k.startswith("backbone.body.layer3")}
    with pytest.raises(ConversionError, match=r"must be a ResNet under 'backbone\.body\.'.*found \(2, 2, 0, 2\) basic"):
        convert(headless, "torchvision", TWO, SIDE)


def test_anchors_other_than_retinanets_are_refused(peer):
    state = dict(peer.state_dict())
    state["head.regression_head.bbox_reg.weight"] = torch.zeros(12, 256, 3, 3)
    with pytest.raises(ConversionError, match="12 outputs, which 9 anchors per place"):
        convert(state, "torchvision", TWO, SIDE)

"""The detector around a neck: published counts, targets and loss against torchvision's own, errors."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder

from nas.detection.backbone import BackboneError, build_backbone, weights_digest
from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.conventions import build_anchors
from nas.detection.cost import Cost, count_macs, detector_cost, feature_shapes, latency_ms, neck_cost
from nas.detection.detector import build_detector, build_head, grid_anchors
from nas.detection.loss import retinanet_loss
from nas.detection.targets import BACKGROUND, IGNORED, assign, stack
from necks import build_neck

SMALL_HEAD = HeadConfig(convs=1, norm=True, anchor_scale=2.0, octaves=2, ratios=(1.0,))


def detector(name: str = "fpn", *, channels: int = 16, classes: int = 3, size: int = 128):
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    neck = build_neck(name, in_channels=backbone.channels, out_channels=channels)
    return build_detector(backbone, neck, classes, SMALL_HEAD, size)


@pytest.mark.parametrize(
    ("name", "repeats", "params", "macs"), [("nas_fpn", 7, 60.0e6, 140e9), ("fpn", 1, 34.0e6, 97e9)]
)
def test_published_parameters_and_multiply_adds_of_resnet50_at_640(name, repeats, params, macs):
    """EfficientDet's tables and TensorFlow's model zoo; they count 90 classes (COCO's category ids)."""
    backbone = build_backbone(BackboneConfig(name="resnet50"))
    neck = build_neck(name, in_channels=backbone.channels, repeats=repeats)
    cost = detector_cost(build_detector(backbone, neck, 90), (640, 640))
    assert cost.params == pytest.approx(params, rel=0.01)
    assert cost.macs == pytest.approx(macs, abs=2e9)


def test_macs_of_a_convolution_are_counted_exactly():
    conv = torch.nn.Conv2d(3, 5, 3, padding=1)
    assert count_macs(conv, torch.empty(1, 3, 7, 11)) == 7 * 11 * 5 * 3 * 9
    backbone = build_backbone(BackboneConfig(name="resnet18"))
    shapes = feature_shapes(backbone, (64, 96))
    assert shapes == OrderedDict(c3=(128, 8, 12), c4=(256, 4, 6), c5=(512, 2, 3))
    neck = build_neck("none", in_channels=backbone.channels, out_channels=8)
    assert neck_cost(neck, shapes).macs == 8 * (128 * 96 + 256 * 24 + 512 * 6)
    assert latency_ms(neck, shapes, torch.device("cpu")) > 0


def test_counting_changes_neither_the_detector_nor_its_device():
    model = detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert isinstance(detector_cost(model, (128, 128)), Cost)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("size", [(128, 128), (100, 75), (333, 500)], ids=str)
@pytest.mark.parametrize("name", ["bifpn", "balanced_fpn", "asff", "efm"])
def test_any_image_is_trained_on_and_detected_in(name, size):
    model = detector(name)
    images = [torch.rand(3, *size), torch.rand(3, size[1], size[0])]
    targets = [
        {"boxes": torch.tensor([[5.0, 6, 40, 50]]), "labels": torch.tensor([1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    losses = model(images, targets)
    sum(losses.values()).backward()
    detections = model.eval()(images)
    assert [set(found) for found in detections] == [{"boxes", "scores", "labels"}] * 2


def test_a_neck_for_another_backbone_is_refused_at_construction():
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    with pytest.raises(ValueError, match=r"takes levels \(3, 4, 5\) with \(8, 8, 8\) channels, the backbone gives"):
        build_detector(backbone, build_neck("fpn", in_channels=(8, 8, 8)), 3)


@pytest.mark.parametrize("convs", range(5))
def test_the_head_has_the_convolutions_asked_for(convs):
    head = build_head(16, 3, 5, HeadConfig(convs=convs, norm=True))
    assert len(head.classification_head.conv) == len(head.regression_head.conv) == convs
    outputs = head([torch.randn(2, 16, 4, 4), torch.randn(2, 16, 2, 2)])
    assert outputs["cls_logits"].shape == (2, 3 * 20, 5)
    assert outputs["bbox_regression"].shape == (2, 3 * 20, 4)


def test_a_head_with_norm_needs_channels_that_divide():
    with pytest.raises(ValueError, match="divisible by 8, got 12"):
        build_head(12, 3, 5, HeadConfig(norm=True))


def test_anchors_are_those_that_the_detector_uses():
    model = detector(size=128).eval()
    images, _ = model.transform([torch.rand(3, 128, 128)])
    maps = list(model.backbone(images.tensors).values())
    (theirs,) = model.anchor_generator(images, maps)
    ours = grid_anchors(
        build_anchors((3, 4, 5, 6, 7), SMALL_HEAD), [(x.shape[2], x.shape[3]) for x in maps], (128, 128)
    )
    assert torch.equal(torch.cat(ours), theirs)
    assert ours[0][0].tolist() == [-8, -8, 8, 8], "2 strides of 8 px, centred on the first cell's corner"


def boxes_and_labels(count: int, classes: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    corner = torch.rand(count, 2, generator=generator) * 80
    size = torch.rand(count, 2, generator=generator) * 44 + 4
    return torch.cat([corner, corner + size], 1), torch.randint(classes, (count,), generator=generator)


@pytest.mark.parametrize("seed", range(4))
def test_loss_of_one_image_equals_torchvisions(seed):
    """With one image in the batch, torchvision divides by the same number of positives."""
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = boxes_and_labels(5, 3, generator)
    anchors = torch.cat(
        grid_anchors(build_anchors((3, 4, 5, 6, 7), SMALL_HEAD), [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)], (128, 128))
    )
    outputs = {
        "cls_logits": torch.randn(1, len(anchors), 3, generator=generator),
        "bbox_regression": torch.randn(1, len(anchors), 4, generator=generator),
    }
    theirs = detector().compute_loss([{"boxes": boxes, "labels": labels}], outputs, [anchors])
    ours = retinanet_loss(
        outputs["cls_logits"], outputs["bbox_regression"], stack([assign(boxes, labels, anchors)], len(anchors))
    )
    torch.testing.assert_close(ours[0], theirs["classification"])
    torch.testing.assert_close(ours[1], theirs["bbox_regression"])


def test_assignment_by_hand():
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4.5], [50, 50, 60, 60], [0, 0, 10, 1]])
    target = assign(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([2]), anchors)
    assert stack([target], 4).labels.tolist() == [[2, IGNORED, BACKGROUND, BACKGROUND]]
    decoded = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(target.offsets, anchors[:1])
    torch.testing.assert_close(decoded, torch.tensor([[0.0, 0, 10, 10]]))


def test_every_box_has_an_anchor_even_if_none_fits_well():
    target = assign(
        torch.tensor([[0.0, 0, 3, 3]]), torch.tensor([0]), torch.tensor([[0.0, 0, 10, 10], [90, 90, 99, 99]])
    )
    assert stack([target], 2).labels.tolist() == [[0, BACKGROUND]]


def test_images_without_boxes_are_all_background():
    anchors = torch.tensor([[0.0, 0, 10, 10]])
    target = assign(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), anchors)
    assert stack([target], 1).labels.tolist() == [[BACKGROUND]]
    logits, offsets = torch.randn(1, 1, 3, requires_grad=True), torch.randn(1, 1, 4, requires_grad=True)
    focal, box = retinanet_loss(logits, offsets, stack([target], 1))
    assert box == 0
    assert torch.isfinite(focal)


@pytest.mark.parametrize("name", ["resnet10", "resnet18", "resnet50", "efficientnet_lite0"])
def test_backbones_give_three_levels_with_the_channels_they_state(name):
    backbone = build_backbone(BackboneConfig(name=name, frozen=True))
    maps = backbone(torch.rand(1, 3, 65, 96))
    assert [x.shape[1:] for x in maps.values()] == [
        (channels, -(-65 // 2**level), 96 // 2**level)
        for channels, level in zip(backbone.channels, backbone.levels, strict=True)
    ]
    assert not any(x.requires_grad for x in maps.values())


def test_weights_from_a_file_and_their_digest(tmp_path):
    import torchvision

    model = torchvision.models.resnet18()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded = build_backbone(BackboneConfig(name="resnet18", weights=str(tmp_path / "weights.pth")))
    assert torch.equal(loaded.state_dict()["body.layers.conv1.weight"], model.conv1.weight)
    again = build_backbone(BackboneConfig(name="resnet18", weights=str(tmp_path / "weights.pth")))
    assert weights_digest(loaded) == weights_digest(again)
    assert weights_digest(loaded) != weights_digest(build_backbone(BackboneConfig(name="resnet18")))
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BackboneError, match="does not fit this backbone"):
        build_backbone(BackboneConfig(name="resnet18", weights=str(tmp_path / "other.pth")))


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [("resnet10", "imagenet", "set backbone.weights=none or a file"), ("resnet18", "missing.pth", "nor a file")],
)
def test_weights_that_cannot_be_had_say_what_to_do(name, weights, message):
    with pytest.raises(BackboneError, match=message):
        build_backbone(BackboneConfig(name=name, weights=weights))

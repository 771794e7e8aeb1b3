"""mmdetection's RetinaNets made into ours: equal to the peer's raw outputs (marked bench); and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torchvision.models import resnet18

from experiments.benchmarks.peers import mmdet_neck
from nas.conversion.convert import convert
from nas.conversion.parts import Categories, ConversionError
from nas.detection.saved import load_detector, save_detector
from nas.detection.targets import BOX_CODER
from necks import build_neck
from necks.reference import SOURCES
from necks.reference.names import moved
from tests.support.golden_files import DETECTOR_ROUNDING, assert_equal_up_to_rounding
from tests.support.weights_for_conversion import randomised

WIDTH, SIDE = 32, 256
CHANNELS = (128, 256, 512)
BOX_SCALE = 0.05
"""Keeps offsets from reaching log(1000 / 16): boxes so much smaller than their anchor mmdetection cuts off, too."""
THREE = Categories((9, 2, 5), ("cat", "dog", "eel"))
NECKS = {
    "FPN, on input": ("FPN", {"add_extra_convs": "on_input"}, {}),
    "FPN, on output, relu": ("FPN", {"add_extra_convs": "on_output", "relu_before_extra_convs": True}, {}),
    "FPN, pooled": ("FPN", {}, {}),
    "FPN, norm": ("FPN", {"add_extra_convs": "on_input", "norm_cfg": {"type": "BN"}}, {}),
    "PAFPN, GN head": (
        "PAFPN",
        {"add_extra_convs": "on_output"},
        {"norm_cfg": {"type": "GN", "num_groups": 32}, "stacked_convs": 4},
    ),
    "NASFPN": ("NASFPN", {"stack_times": 2, "norm_cfg": {"type": "BN"}}, {"stacked_convs": 1}),
}


def body_state():
    state = randomised(resnet18()).state_dict()
    return {f"backbone.{name}": value for name, value in state.items() if not name.startswith("fc.")}


def named_as_there(classes=3, convs=2):
    """A state dict with the names of mmdetection's RetinaNet with FPN on a ResNet-18, made without it."""
    neck = build_neck("fpn@mmdet", in_channels=CHANNELS, out_channels=WIDTH, extra="p6p7_c5")
    sources = moved(SOURCES["mmdet"](neck), "", "neck.")
    state = body_state()
    state |= {sources[name].names[0]: torch.rand(value.shape) for name, value in neck.state_dict().items()}
    shapes = {f"{branch}.{i}.conv": WIDTH for branch in ("cls_convs", "reg_convs") for i in range(convs)}
    for name, outputs in {**shapes, "retina_cls": 9 * classes, "retina_reg": 36}.items():
        state[f"bbox_head.{name}.weight"] = torch.rand(outputs, WIDTH, 3, 3)
        state[f"bbox_head.{name}.bias"] = torch.rand(outputs)
    return state


@pytest.mark.bench
@pytest.mark.parametrize("name", NECKS)
@torch.no_grad()
def test_equals_the_peers_logits_boxes_and_anchors(name, tmp_path):
    kind, neck_options, head_options = NECKS[name]
    neck = mmdet_neck(kind, in_channels=[64, *CHANNELS], out_channels=WIDTH, num_outs=5, start_level=1, **neck_options)
    from mmdet.models.backbones import ResNet
    from mmdet.models.dense_heads import RetinaHead
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    coder = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [1.0] * 4}
    options = {"stacked_convs": 2, **head_options}
    head = RetinaHead(3, WIDTH, feat_channels=WIDTH, bbox_coder=coder, **options)
    parts = {"backbone": ResNet(18), "neck": neck, "bbox_head": head}
    peer = randomised(torch.nn.ModuleDict(parts))
    head.retina_reg.weight.mul_(BOX_SCALE)
    relu = neck_options.get("relu_before_extra_convs", False)
    ours, spec = convert(
        {"state_dict": peer.state_dict(), "meta": {"CLASSES": THREE.names}}, "mmdet", THREE, SIDE, extra_relu=relu
    )
    save_detector(ours.state_dict(), spec, tmp_path)
    ours, _ = load_detector(tmp_path)
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    logits, deltas = peer["bbox_head"](peer["neck"](peer["backbone"](images)))
    sizes = [x.shape[-2:] for x in logits]
    flat = lambda maps, last: torch.cat([x.permute(0, 2, 3, 1).reshape(2, -1, last) for x in maps], 1)  # noqa: E731
    assert 0.2 < max(x.abs().max() for x in deltas) < 4
    anchors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu"))
    boxes = torch.stack([head.bbox_coder.decode(anchors, each) for each in flat(deltas, 4)])
    maps = list(ours.backbone(images).values())
    outputs = ours.head(maps)
    grid = ours.anchor_generator(type("Images", (), {"tensors": images, "image_sizes": [(SIDE, SIDE)]}), maps)[0]
    found = torch.stack([BOX_CODER.decode_single(each, grid) for each in outputs["bbox_regression"]])
    torch.testing.assert_close(grid, anchors, rtol=0, atol=1e-4)
    assert_equal_up_to_rounding(outputs["cls_logits"], flat(logits, 3), DETECTOR_ROUNDING)
    assert_equal_up_to_rounding(outputs["bbox_regression"], flat(deltas, 4), DETECTOR_ROUNDING)
    torch.testing.assert_close(found, boxes, rtol=1e-4, atol=1e-2)


def test_every_tensor_has_its_place():
    state = named_as_there()
    detector, spec = convert(
        {"state_dict": state, "meta": {"dataset_meta": {"CLASSES": THREE.names}}}, "mmdet", THREE, SIDE
    )
    assert (spec.backbone.name, spec.head.convs, spec.convention) == ("resnet18", 2, "mmdet")
    assert (spec.category_ids, spec.classes) == (THREE.ids, THREE.names)
    found = detector.state_dict()
    assert torch.equal(found["head.regression_head.conv.1.0.bias"], state["bbox_head.reg_convs.1.conv.bias"])
    assert torch.equal(found["head.classification_head.cls_logits.weight"], state["bbox_head.retina_cls.weight"])
    assert len(found) == len(state)
    half = detector.anchor_generator.cell_anchors[0]
    assert half[1].tolist() == pytest.approx([-28.5087, -14.2544, 28.5087, 14.2544], abs=1e-4)


def without(start):
    return lambda state: [state.pop(name) for name in list(state) if name.startswith(start)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.update({"bbox_head.cls_convs.0.0.conv.weight": torch.ones(1)}), "RetinaSepBNHead.*Its neck can"),
        (lambda s: s.update({"bbox_head.cls_convs.0.bn.weight": torch.ones(1)}), "the head has batch norms"),
        (lambda s: s.update({"roi_head.bbox_head.fc_cls.weight": torch.ones(1)}), "has bbox_head, roi_head; only one"),
        (without("bbox_head.retina_cls"), r"retina_cls\.weight is missing"),
        (without("backbone.layer4"), r"must be a ResNet under 'backbone\.'"),
        (without("neck.lateral_convs.2"), r"has 2 lateral_convs"),
        (without("neck.fpn_convs.4"), r"1 differences\):|2 differences\):"),
        (lambda s: s.update({"neck.rfp.weight": torch.ones(1)}), r"left over: neck\.rfp\.weight"),
        (lambda s: s.update({"bbox_head.retina_reg.weight": torch.ones(24, WIDTH, 3, 3)}), "24 outputs, which 9 anch"),
    ],
)
def test_other_detectors_are_refused_with_what_differs(edit, message):
    state = named_as_there()
    edit(state)
    with pytest.raises(ConversionError, match=message):
        convert(state, "mmdet", THREE, SIDE)


def test_classes_and_style_must_be_those_that_the_checkpoint_states():
    state = named_as_there(classes=3)
    load = partial(convert, source="mmdet", image_size=SIDE)
    with pytest.raises(ConversionError, match="has 3 classes, but the annotations have 2 categories"):
        load(state, categories=Categories((1, 2), ("a", "b")))
    wrong = {"state_dict": state, "meta": {"CLASSES": ("dog", "cat", "eel")}}
    with pytest.raises(ConversionError, match=r"names its classes \['dog', 'cat', 'eel'\], the annotations \['cat'"):
        load(wrong, categories=THREE)
    with pytest.raises(ConversionError, match="style='caffe'"):
        load({"state_dict": state, "meta": {"cfg": "backbone=dict(style='caffe')"}}, categories=THREE)
    with pytest.raises(ConversionError, match="is an option of mmdetection's necks, not of torchvision's"):
        convert(state, "torchvision", THREE, SIDE, extra_relu=True)


def test_effdets_detectors_are_refused_with_reasons():
    names = ("backbone.conv_stem.weight", "class_net.conv_rep.0.conv_dw.weight", "class_net.bn_rep.0.0.bn.weight")
    with pytest.raises(ConversionError) as caught:
        convert({name: torch.ones(1) for name in names}, "effdet", THREE, SIDE)
    text = str(caught.value)
    assert all(word in text for word in ("separable convolutions", "batch norms of its own", "EfficientNet"))
    assert "its neck can: necks.reference.load_reference" in text
    with pytest.raises(ConversionError, match="it is no EfficientDet"):
        convert(named_as_there(), "effdet", THREE, SIDE)


@pytest.mark.bench
def test_a_whole_efficientdet_is_refused_with_every_reason():
    from effdet import create_model

    state = create_model("efficientdet_d0", pretrained=False, pretrained_backbone=False).state_dict()
    with pytest.raises(ConversionError) as caught:
        convert(state, "effdet", THREE, SIDE)
    assert len(str(caught.value).splitlines()) == 6

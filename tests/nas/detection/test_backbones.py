"""Backbones by name from torchvision and timm: the maps they give, their weights, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision
from pydantic import ValidationError

from nas.detection.backbone import BackboneError, build_backbone, weights_digest
from nas.detection.config import BackboneConfig
from nas.detection.cost import feature_shapes
from nas.detection.detector import build_detector
from nas.detection.feature_maps import _timm_indices
from nas.detection.meta import meta_copy
from necks import build_neck

ODD = (97, 75)
MODELS = [
    "resnet10",
    "resnet18",
    "efficientnet_lite0",
    "torchvision/resnet18",
    "torchvision/mobilenet_v3_small",
    "torchvision/efficientnet_b0",
    "torchvision/regnet_y_400mf",
    "timm/resnet10t",
    "timm/mobilenetv3_small_050",
    "timm/tf_efficientnet_lite0",
]
KEPT_DIGESTS = {
    "resnet10": "3e7d72d9e6644abc",
    "resnet18": "0ae0458ce2948408",
    "efficientnet_lite0": "5f9339322a925454",
}
"""Of weights that are all 1, from before there were other backbones and levels."""


CASES = [*((name, (2, 3, 4, 5)) for name in MODELS), *((name, (3, 4, 5)) for name in MODELS[::2]), ("resnet18", (3, 5))]


@pytest.mark.parametrize(("name", "levels"), CASES, ids=str)
def test_maps_have_the_levels_and_channels_that_are_stated_at_an_odd_size(name, levels):
    backbone = build_backbone(BackboneConfig(name=name, levels=levels, frozen=True))
    maps = backbone(torch.rand(1, 3, *ODD))
    assert list(maps) == [f"c{level}" for level in levels] == [f"c{level}" for level in backbone.levels]
    assert [tuple(x.shape[1:]) for x in maps.values()] == [
        (channels, *(-(-side // 2**level) for side in ODD))
        for channels, level in zip(backbone.channels, levels, strict=True)
    ]
    assert not backbone.training
    assert not any(x.requires_grad for x in maps.values())


def test_convnext_gives_the_ends_of_its_stages():
    backbone = build_backbone(BackboneConfig(name="torchvision/convnext_tiny"))
    assert feature_shapes(backbone, (64, 96)) == {"c3": (192, 8, 12), "c4": (384, 4, 6), "c5": (768, 2, 3)}


@pytest.mark.parametrize("training", [True, False])
def test_a_resnet_by_either_name_is_the_same(training):
    short = build_backbone(BackboneConfig(name="resnet18", levels=(2, 3, 4, 5))).train(training)
    long = build_backbone(BackboneConfig(name="torchvision/resnet18", levels=(2, 3, 4, 5))).train(training)
    long.load_state_dict(short.state_dict())
    images = torch.rand(2, 3, *ODD)
    theirs = long(images)
    assert all(torch.equal(x, theirs[name]) for name, x in short(images).items())


def test_maps_are_the_outputs_of_whole_stages():
    model = torchvision.models.mobilenet_v3_small().eval()
    backbone = build_backbone(BackboneConfig(name="torchvision/mobilenet_v3_small", frozen=True))
    backbone.body.layers.load_state_dict(model.state_dict(), strict=False)
    images = torch.rand(1, 3, *ODD)
    for index, x in zip((4, 9, 13), backbone(images).values(), strict=True):
        torch.testing.assert_close(x, model.features[:index](images))


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small", "timm/resnet10t"])
def test_unfrozen_backbones_learn_and_are_the_same_for_the_same_seed(name):
    _timm_indices.cache_clear()
    first, second = (build_with_seed(BackboneConfig(name=name)) for _ in range(2))
    assert weights_digest(first) == weights_digest(second)
    sum(x.mean() for x in first.train()(torch.rand(2, 3, 64, 64)).values()).backward()
    assert all(parameter.grad is not None for parameter in first.parameters())


def build_with_seed(config):
    torch.manual_seed(0)
    return build_backbone(config)


def digest_of_ones(config):
    backbone = build_backbone(config)
    for value in backbone.state_dict().values():
        value.fill_(1)
    return weights_digest(backbone)


def test_digests_tell_levels_and_models_apart_and_old_ones_stay():
    assert {name: digest_of_ones(BackboneConfig(name=name)) for name in KEPT_DIGESTS} == KEPT_DIGESTS
    others = [
        BackboneConfig(name="resnet18", levels=(4, 5)),
        BackboneConfig(name="resnet18", levels=(2, 3, 4, 5)),
        BackboneConfig(name="torchvision/resnet18"),
    ]
    digests = {digest_of_ones(config) for config in others}
    assert len(digests | {KEPT_DIGESTS["resnet18"]}) == 4


def test_a_copy_on_the_meta_device_leaves_the_original_as_it_was():
    backbone = build_backbone(BackboneConfig(name="torchvision/mobilenet_v3_small")).train()
    before = weights_digest(backbone)
    shadow = meta_copy(backbone)
    assert {x.device.type for x in shadow.state_dict().values()} == {"meta"}
    assert not shadow.training
    assert backbone.training
    assert weights_digest(backbone) == before


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_small", "timm/mobilenetv3_small_050", "timm/resnet10t"])
def test_weights_of_the_whole_model_are_read_from_a_file(name, tmp_path):
    import timm

    source, model_name = name.split("/")
    model = torchvision.models.get_model(model_name) if source == "torchvision" else timm.create_model(model_name)
    torch.save(model.state_dict(), tmp_path / "whole.pth")
    backbone = build_backbone(BackboneConfig(name=name, weights=str(tmp_path / "whole.pth")))
    wanted = {tuple(x.flatten()[:9].tolist()) for x in model.state_dict().values()}
    assert all(tuple(x.flatten()[:9].tolist()) in wanted for x in backbone.state_dict().values())
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BackboneError, match=r"does not fit this backbone; missing, unknown or of another shape: "):
        build_backbone(BackboneConfig(name=name, weights=str(tmp_path / "other.pth")))


def test_a_file_for_other_classes_fits_and_one_for_a_wider_model_does_not(tmp_path):
    path = str(tmp_path / "weights.pth")
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), path)
    build_backbone(BackboneConfig(name="resnet18", weights=path))
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(BackboneError, match=r"another shape: layer1\.2\.conv1\.weight"):
        build_backbone(BackboneConfig(name="resnet18", weights=path))


@pytest.mark.parametrize("name", ["resnet18", "torchvision/mobilenet_v3_small", "timm/resnet10t"])
def test_a_failed_download_says_what_to_do(name, monkeypatch):
    def fail(*_args, **_options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", fail)
    with pytest.raises(BackboneError, match=r"cannot download ImageNet weights for .*no route.*backbone\.weights=none"):
        build_backbone(BackboneConfig(name=name, weights="imagenet"))


def test_timm_says_how_its_images_are_normalised():
    backbone = build_backbone(BackboneConfig(name="timm/tf_efficientnet_lite0"))
    assert (backbone.mean, backbone.std) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("name", ["torchvision/swin_t", "timm/swin_tiny_patch4_window7_224"])
def test_maps_with_channels_last_are_turned(name):
    backbone = build_backbone(BackboneConfig(name=name)).eval()
    assert backbone.channels == (192, 384, 768)
    images = torch.rand(2, 3, 96, 160)
    with torch.no_grad():
        maps = backbone(images)
        inner = backbone.body.body(images)
    assert [tuple(x.shape) for x in maps.values()] == [(2, 192, 12, 20), (2, 384, 6, 10), (2, 768, 3, 5)]
    assert any(given.shape != own.shape for given, own in zip(maps.values(), inner, strict=True))
    for given, own in zip(maps.values(), inner, strict=True):
        assert torch.equal(given, own if given.shape == own.shape else own.movedim(-1, 1))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "torchvision/resnet19"}, r"torchvision has no classification model 'resnet19'; did you mean resnet"),
        ({"name": "timm/resnet10x"}, r"timm has no model 'resnet10x'; did you mean resnet"),
        ({"name": "torchvision/fcn_resnet50"}, r"no classification model 'fcn_resnet50'"),
        ({"name": "timm/resnet18.nobody"}, r"timm cannot build resnet18\.nobody .*choose another"),
        ({"name": "torchvision/vit_b_32"}, r"no levels for images of any size.*choose a convolutional model"),
        ({"name": "torchvision/squeezenet1_1"}, r"has maps at the levels \(none\), not at all of 3, 4, 5"),
        ({"name": "timm/vit_tiny_patch16_224"}, r"has maps at the levels 4, not at all of 3, 4, 5"),
        ({"name": "timm/convnext_atto", "levels": (1, 2)}, r"has maps at the levels 2, 3, 4, 5, not at all of 1, 2"),
        ({"name": "resnet18", "levels": (1, 2)}, r"resnet18 has maps at the levels 2, 3, 4, 5, not at all of 1, 2"),
        ({"name": "efficientnet_lite0", "levels": (5, 6)}, r"has maps at the levels 1, 2, 3, 4, 5, not at all of 5, 6"),
    ],
)
def test_models_without_the_maps_are_refused_with_what_they_have(config, message):
    with pytest.raises(BackboneError, match=message):
        build_backbone(BackboneConfig(**config))


@pytest.mark.parametrize("name", ["resnet11", "torchvision/", "timm/hf_hub:a/b", "timm/../x", "keras/resnet50", ""])
def test_names_of_no_source_are_refused_in_the_configuration(name):
    with pytest.raises(ValidationError, match=r"take one of resnet10, .*or torchvision/<model>, or timm/<model>"):
        BackboneConfig(name=name)


@pytest.mark.parametrize("levels", [(), (3, 3), (4, 3), (0, 1), (5, 6, 7)], ids=str)
def test_levels_that_no_backbone_has_are_refused_in_the_configuration(levels):
    with pytest.raises(ValidationError, match=r"levels must ascend and lie in 1\.\.6, got"):
        BackboneConfig(levels=levels)


def test_without_timm_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match=r"pip install 'nas-fpn\[timm\]'"):
        build_backbone(BackboneConfig(name="timm/resnet18"))


def test_the_configuration_does_without_torch():
    code = "import sys, nas.detection.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_frozen_backbone_stays_as_it_is_while_the_detector_trains():
    backbone = build_backbone(BackboneConfig(name="resnet10", frozen=True))
    detector = build_detector(backbone, build_neck("fpn", in_channels=backbone.channels, out_channels=8), 2)
    before = weights_digest(backbone)
    detector.train()
    backbone(torch.rand(2, 3, 64, 64))
    assert weights_digest(backbone) == before
    assert detector.head.training
    assert not any(module.training for module in backbone.modules())

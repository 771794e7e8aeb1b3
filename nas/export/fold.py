"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, Bottleneck

Module = TypeVar("Module", bound=nn.Module)

Place = tuple[nn.Module, str]
"""A module and the name of one of its children."""


def fold_batch_norms(module: Module) -> Module:
    """A copy in evaluation mode that computes the same without the batch norms that follow a convolution.

    Folded are neighbours in an `nn.Sequential`, which all of our necks consist of, and those of torchvision's ResNets.
    Others are left as they are: subclasses (timm's also hold the activation), and norms after a convolution that
    several places share.
    """
    folded = copy.deepcopy(module).eval()
    uses = Counter(id(child) for parent in folded.modules() for child in parent._modules.values())
    for (conv_parent, conv_name), (norm_parent, norm_name) in list(_neighbours(folded)):
        conv, norm = conv_parent.get_submodule(conv_name), norm_parent.get_submodule(norm_name)
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and uses[id(conv)] == uses[id(norm)] == 1:
            setattr(conv_parent, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(norm_parent, norm_name, nn.Identity())
    return folded


def _neighbours(module: nn.Module) -> Iterator[tuple[Place, Place]]:
    """Modules whose output one other module takes, and nothing else does; and that other."""
    for parent in module.modules():
        if isinstance(parent, BasicBlock | Bottleneck):
            for index in (1, 2, 3):
                if hasattr(parent, f"conv{index}"):
                    yield (parent, f"conv{index}"), (parent, f"bn{index}")
        elif isinstance(parent, IntermediateLayerGetter):
            places = [(parent, name) for name in parent]
            yield from (pair for pair in pairwise(places) if pair[0][1] not in parent.return_layers)
        elif type(parent).forward is nn.Sequential.forward:
            yield from pairwise(_places(parent))


def _places(module: nn.Module) -> list[Place]:
    """Children in the order that they run in, those of a Sequential inside in its place."""
    places: list[Place] = []
    for name, child in module.named_children():
        inside = isinstance(child, nn.Sequential) and type(child).forward is nn.Sequential.forward
        places += _places(child) if inside else [(module, name)]
    return places

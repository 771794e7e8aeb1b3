"""Batch norms folded into the convolutions before them, for inference."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)

Place = tuple[nn.Module, str]
"""A module and the name of one of its children."""

Neighbours = Callable[[nn.Module], Iterator[tuple[Place, Place]]]
"""Pairs inside one module: a child whose output one other child takes, and nothing else does; and that other."""


def in_sequentials(module: nn.Module) -> Iterator[tuple[Place, Place]]:
    if _is_chain(module):
        yield from pairwise(_places(module))


def fold_batch_norms(module: Module, neighbours: Neighbours = in_sequentials) -> Module:
    """A copy in evaluation mode that computes the same without the batch norms that follow a convolution.

    Folded are neighbours in an `nn.Sequential`, which all of our necks consist of, or what else `neighbours` gives.
    Others are left as they are: subclasses (timm's also hold the activation), and norms after a convolution that
    several places share.
    """
    folded = copy.deepcopy(module).eval()
    uses = Counter(id(child) for parent in folded.modules() for child in parent._modules.values())
    pairs = [pair for parent in folded.modules() for pair in neighbours(parent)]
    for (conv_parent, conv_name), (norm_parent, norm_name) in pairs:
        conv, norm = conv_parent.get_submodule(conv_name), norm_parent.get_submodule(norm_name)
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and uses[id(conv)] == uses[id(norm)] == 1:
            setattr(conv_parent, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(norm_parent, norm_name, nn.Identity())
    return folded


def _places(module: nn.Module) -> list[Place]:
    """Children in the order that they run in, those of a Sequential inside in its place."""
    places: list[Place] = []
    for name, child in module.named_children():
        places += _places(child) if _is_chain(child) else [(module, name)]
    return places


def _is_chain(module: nn.Module) -> bool:
    return type(module).forward is nn.Sequential.forward

"""Batch norms folded into the convolutions before them, for inference."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from necks.blocks import layers_of

Module = TypeVar("Module", bound=nn.Module)

Neighbours = Callable[[nn.Module], Iterable[tuple[str, str]]]
"""Pairs of names inside one module: a part whose output one other part takes, and nothing else does; and that other."""


def in_sequentials(module: nn.Module) -> Iterable[tuple[str, str]]:
    return pairwise(name for name, _ in layers_of(module))


def fold_batch_norms(module: Module, neighbours: Neighbours = in_sequentials) -> Module:
    """A copy in evaluation mode that computes the same without the batch norms that follow a convolution.

    Folded are neighbours in an `nn.Sequential`, which all of our necks consist of, or what else `neighbours` gives.
    Others are left as they are: subclasses (timm's also hold the activation), and norms after a convolution that
    several places share.
    """
    folded = copy.deepcopy(module).eval()
    uses = Counter(id(child) for parent in folded.modules() for child in parent._modules.values())
    pairs = [(parent, pair) for parent in folded.modules() for pair in neighbours(parent)]
    for parent, (conv_name, norm_name) in pairs:
        conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and uses[id(conv)] == uses[id(norm)] == 1:
            parent.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
            parent.set_submodule(norm_name, nn.Identity())
    return folded

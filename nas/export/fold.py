"""Batch norms of whole detectors folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, Bottleneck

from necks import fold
from necks.fold import in_sequentials

Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(module: Module) -> Module:
    """`necks.fold.fold_batch_norms` that also knows torchvision's ResNets."""
    return fold.fold_batch_norms(module, _neighbours)


def _neighbours(module: nn.Module) -> Iterable[tuple[str, str]]:
    if isinstance(module, BasicBlock | Bottleneck):
        return [(f"conv{index}", f"bn{index}") for index in (1, 2, 3) if hasattr(module, f"conv{index}")]
    if isinstance(module, IntermediateLayerGetter):
        return [pair for pair in pairwise(module) if pair[0] not in module.return_layers]
    return in_sequentials(module)

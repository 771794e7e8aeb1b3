"""Batch norms of whole detectors folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, Bottleneck

from necks import fold
from necks.fold import Place, in_sequentials

Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(module: Module) -> Module:
    """`necks.fold.fold_batch_norms` that also knows torchvision's ResNets."""
    return fold.fold_batch_norms(module, _neighbours)


def _neighbours(module: nn.Module) -> Iterator[tuple[Place, Place]]:
    if isinstance(module, BasicBlock | Bottleneck):
        for index in (1, 2, 3):
            if hasattr(module, f"conv{index}"):
                yield (module, f"conv{index}"), (module, f"bn{index}")
    elif isinstance(module, IntermediateLayerGetter):
        places = [(module, name) for name in module]
        yield from (pair for pair in pairwise(places) if pair[0][1] not in module.return_layers)
    else:
        yield from in_sequentials(module)

"""Modules on the meta device: shapes without arithmetic."""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def meta_copy(module: Module) -> Module:
    """A copy in evaluation mode on the meta device; weights are not copied, so it costs the same for any of them."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    memo = {id(tensor): _to_meta(tensor) for tensor in tensors}
    return copy.deepcopy(module, memo).eval()


def _to_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty

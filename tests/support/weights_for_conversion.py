"""Random weights that hide nothing: no tensor is left at a value that any other could be taken for."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def randomised(module: Module, seed: int = 0) -> Module:
    """The module in evaluation mode, with random weights and statistics whose activations stay finite."""
    random = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var") or (name.endswith("weight") and value.dim() == 1):
            value.copy_(0.5 + torch.rand(value.shape, generator=random))
        elif value.dim() < 2:
            value.copy_(0.1 * torch.randn(value.shape, generator=random))
        else:
            value.copy_(torch.randn(value.shape, generator=random) / value[0].numel() ** 0.5)
    return module.eval()

"""The door to the Triton kernels of `necks.gpu`: when they are used, and what they compute in PyTorch's terms."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from necks.blocks import ACTIVATIONS
from necks.choices import Activation
from necks.gpu.fit import Term, kernels_fit
from necks.sizes import Size, ceil_div, pool_window, size_of

LARGE = 2**24
"""From about this many values on, a GPU is still busy with a map when the next kernel is launched; an estimate."""


def pooled_by_kernel(x: Tensor, stride: int, size: Size | None, down: str) -> Tensor | None:
    """The pool `down` of `necks.resample`, with gradients, for maps in channels_last on a GPU, where PyTorch's own is
    many times slower; None for other maps, and where the windows are not equal."""
    if not kernels_fit(x) or not _channels_last(x):
        return None
    source = size_of(x)
    height, width = size or (ceil_div(source[0], stride), ceil_div(source[1], stride))
    window = pool_window(source, (height, width), stride=stride, down=down)
    if window is None:
        return None
    from necks.gpu.pooling import max_pool

    return max_pool(x, (height, width), window)


def merging_pays(maps: Sequence[Tensor], known: set[Hashable]) -> bool:
    """True if one kernel for each cell's merge is faster for these maps: of one type on a GPU, nothing to learn.

    Its launch costs the host about as much as the launches of all that it replaces. That is hidden in a CUDA graph, and
    where the maps are large (`experiments/results/necks_gpu.md`). The first maps of a size always take it, so that
    it is compiled before a graph is recorded.

    Args:
        known: sizes seen before; those of `maps` are added.
    """
    x = maps[0]
    if not kernels_fit(x) or torch.is_grad_enabled() or any(other.dtype != x.dtype for other in maps):
        return False
    if torch.is_autocast_enabled(x.device.type) and torch.get_autocast_dtype(x.device.type) != x.dtype:
        return False
    key = (x.device, x.dtype, *[other.shape for other in maps])
    if key not in known:
        if _recording(x):
            return False
        known.add(key)
        return True
    return x.numel() >= LARGE or _recording(x)


def merged(terms: Sequence[Term], size: Size, activation: Activation) -> Tensor:
    """The activation of the sum of all terms, (N, C, *size) in channels_last."""
    from necks.gpu.merging import launch

    laid_out = [each._replace(x=each.x.contiguous(memory_format=torch.channels_last)) for each in terms]
    return launch(laid_out, (size[0], size[1]), activation)


def merged_by_torch(terms: Sequence[Term], size: Size, activation: Activation) -> Tensor:
    """Reference of `merged`, in PyTorch."""
    total = torch.stack([_value(each, size) for each in terms]).sum(dim=0)
    return ACTIVATIONS[activation][1](total)


def _value(each: Term, size: Size) -> Tensor:
    x = each.x
    if each.window is not None:
        kernel, stride, before, fill = each.window
        after = [
            (count - 1) * step + side - there - start
            for count, step, side, there, start in zip(size, stride, kernel, size_of(x), before, strict=True)
        ]
        x = F.pad(x, (before[1], max(0, after[1]), before[0], max(0, after[0])), value=fill)
        x = F.max_pool2d(x, kernel, stride)[..., : size[0], : size[1]]
    elif size_of(x) != size:
        x = F.interpolate(x, size=size, mode="nearest")
    return x * each.weight if each.gate is None else x * each.weight * each.gate


def _channels_last(x: Tensor) -> bool:
    """True if a map is in channels_last and in no other layout."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _recording(x: Tensor) -> bool:
    """True while a CUDA graph is recorded."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()

"""TensorFlow's SAME padding, which depends on the size of a map, as padding that does not."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def with_fixed_padding(module: Module) -> Module:
    """A copy in which timm's SAME convolutions pad as they do for maps whose sides are multiples of their stride.

    That is what they get from images whose sides are multiples of the coarsest stride. Of a side of n steps of s
    pixels, SAME pads (n - 1) s + d (k - 1) + 1 - n s = d (k - 1) + 1 - s, the odd pixel behind (k: kernel, d:
    dilation). As timm computes it, it is a float of a symbolic size, which `torch.export` takes minutes over.
    """
    copied = copy.deepcopy(module)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _pads_by_size(child):
                setattr(parent, name, nn.Sequential(nn.ZeroPad2d(_padding(child)), _without_padding(child)))
    return copied


def _pads_by_size(conv: nn.Conv2d) -> bool:
    return _is_timms(conv, "Conv2dSame") or (_is_timms(conv, "ScaledStdConv2dSame") and bool(conv.same_pad))


def _is_timms(conv: nn.Conv2d, name: str) -> bool:
    return type(conv).__module__.startswith("timm.layers.") and type(conv).__name__ == name


def _padding(conv: nn.Conv2d) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    rows, columns = (
        max(dilation * (kernel - 1) + 1 - stride, 0)
        for kernel, stride, dilation in zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    )
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def _without_padding(conv: nn.Conv2d) -> nn.Conv2d:
    if hasattr(conv, "same_pad"):
        conv.__dict__["same_pad"] = False
        return conv
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain

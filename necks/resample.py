"""Bringing a map to the size of another level.

Shapes: a map is (N, C, H, W); a size is (H, W).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.blocks import transform
from necks.gpu.fit import kernels_fit
from necks.recipe import Recipe
from necks.sizes import Size, Window, size_of

LARGEST_WINDOW = 2**15
"""Most pixels in a window of our GPU kernel, which counts them in 16 bits."""


def halved(size: Size) -> Size:
    """The size one level coarser, borders included: a side of s becomes ceil(s / 2)."""
    return ceil_div(size[0], 2), ceil_div(size[1], 2)


def ceil_div(side: int, divisor: int) -> int:
    """Quotient rounded up, for positive numbers; ONNX rounds negative ones (`-(-side // divisor)`) differently."""
    return (side + divisor - 1) // divisor


def laid_out(x: Tensor, *, separable: bool = False) -> Tensor:
    """A map in the memory layout that is fastest on a CPU; a GPU keeps the layout that it is given.

    That is channels_last, except for the gradients of full convolutions, so that in training only `separable` necks get
    it (each layout's times: `ms` in `experiments/results/necks_cpu.json`).
    """
    if x.device.type == "cpu" and (separable or not torch.is_grad_enabled()):
        return x.contiguous(memory_format=torch.channels_last)
    return x


def channels_last(x: Tensor) -> bool:
    """True if a map is in channels_last and in no other layout."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def resample(x: Tensor, size: Size, *, shift: int, down: str = "max_pool") -> Tensor:
    """Bring a map to `size`, `shift` levels coarser (finer where negative).

    Up is nearest (pixel repetition at whole ratios). Down is one max-pool as `necks.choices.Down` says; that of
    `max_pool` covers the border (its last windows are cut short where the size does not divide). Where the pool does
    not give `size` (a backbone that rounds down), the windows are spread over the map.
    """
    if shift < 0:
        return F.interpolate(x, size=size, mode="nearest")
    if shift == 0:
        return x
    if kernels_fit(x) and channels_last(x):
        window = pool_window(size_of(x), size, shift=shift, down=down)
        if window is not None:
            from necks.gpu.pooling import max_pool

            return max_pool(x, size, window)
    if down == "max_pool_padded":
        return _padded_max_pool(x, size)
    pooled = _overlapping_max_pool(x, 2**shift, down) if down.startswith("max_pool3") else None
    pooled = F.max_pool2d(x, 2**shift, ceil_mode=True) if pooled is None else pooled
    return pooled if size_of(pooled) == size else adaptive_max_pool(x, size)


def pool_window(source: Size, size: Size, *, shift: int, down: str) -> Window | None:
    """Window of the max-pool by which `resample` brings a map from size `source` to `size`; None if its windows are not
    equal, or too large for the GPU kernel."""
    window = _pool_window(source, size, 2**shift, down)
    return window if window is not None and math.prod(window.kernel) <= LARGEST_WINDOW else None


def _pool_window(source: Size, size: Size, stride: int, down: str) -> Window | None:
    if down == "max_pool_padded":
        kernel = ceil_div(source[0], size[0]), ceil_div(source[1], size[1])
        before = (kernel[0] * size[0] - source[0]) // 2, (kernel[1] * size[1] - source[1]) // 2
        return Window(kernel, kernel, before, 0.0)
    side = stride + 1 if down.startswith("max_pool3") else stride
    (top, rows), (left, columns) = (_windows_along(length, stride, side, down) for length in source)
    return Window((side, side), (stride, stride), (top, left), -math.inf) if (rows, columns) == size else None


def _windows_along(length: int, stride: int, side: int, down: str) -> tuple[int, int]:
    """Places before the border, and windows, in one direction."""
    if down == "max_pool3":
        before = stride // 2
        return before, (length + 2 * before - side) // stride + 1
    count = ceil_div(length, stride)
    before = max(0, (count - 1) * stride + side - length) // 2 if down == "max_pool3_same" else 0
    return before, count


def adaptive_max_pool(x: Tensor, size: Size) -> Tensor:
    """`torch.nn.functional.adaptive_max_pool2d`, whose traced form fits one size; that of this one fits any."""
    if not torch.compiler.is_exporting():
        return F.adaptive_max_pool2d(x, size)
    rows, columns = (_windows(x, dim, count) for dim, count in zip((-2, -1), size, strict=True))
    return x[..., rows, :].amax(dim=-2)[..., columns].amax(dim=-1)


def _windows(x: Tensor, dim: int, count: int) -> Tensor:
    """(count, longest window): indices along `dim` of each window, its last one repeated where it is shorter."""
    side = x.shape[dim]
    starts = torch.arange(count, device=x.device) * side // count
    ends = ((torch.arange(count, device=x.device) + 1) * side + count - 1) // count
    longest = torch.arange((side - 1) // count + 2, device=x.device)
    return torch.minimum(starts[:, None] + longest, ends[:, None] - 1)


class StridedConv(nn.Module):
    """Down by a 3x3 convolution of stride 2, after a max-pool where the level is more than one coarser."""

    def __init__(self, recipe: Recipe, channels: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.conv = transform(recipe, channels, stride=2)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        if self.shift > 1:
            x = F.max_pool2d(x, 2 ** (self.shift - 1), ceil_mode=True)
        y: Tensor = self.conv(x)
        return y if size_of(y) == size else adaptive_max_pool(y, size)


def _overlapping_max_pool(x: Tensor, stride: int, down: str) -> Tensor:
    if down == "max_pool3":
        return F.max_pool2d(x, stride + 1, stride, padding=stride // 2)
    pad_h, pad_w = (max(0, (ceil_div(side, stride) - 1) * stride + stride + 1 - side) for side in size_of(x))
    x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2), value=-math.inf)
    return F.max_pool2d(x, stride + 1, stride)


def _padded_max_pool(x: Tensor, size: Size) -> Tensor:
    kernel = tuple(ceil_div(side, target) for side, target in zip(size_of(x), size, strict=True))
    pad_h, pad_w = (k * target - side for k, target, side in zip(kernel, size, size_of(x), strict=True))
    if torch.compiler.is_compiling() or pad_h or pad_w:  # a pad of nothing copies the map in eager mode
        x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
    if torch.compiler.is_exporting():  # a traced pool has one kernel; here it varies with the size
        return x.unflatten(-1, (size[1], kernel[1])).unflatten(-3, (size[0], kernel[0])).amax(dim=(-3, -1))
    return F.max_pool2d(x, kernel)

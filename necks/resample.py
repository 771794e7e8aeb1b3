"""Bringing a map to the size of another level; exported files take the functions from `up` to `halve` as they stand.

Shapes: a map is (N, C, H, W); a size is (H, W).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from necks.gpu.fit import Term
from necks.kernels import pooled_by_kernel
from necks.sizes import Size, pool_window, same_padding, size_of, tiles


def up(x: Tensor, size: Size) -> Tensor:
    """Nearest neighbours: pixel repetition at whole ratios."""
    return F.interpolate(x, size=size, mode="nearest")


def fit(x: Tensor, size: Size) -> Tensor:
    """The map as it is, or pooled where it misses the size of its level."""
    return x if x.shape[-2:] == size else adaptive_max_pool(x, size)


def max_pool(x: Tensor, stride: int, size: Size | None = None) -> Tensor:
    """Max-pool whose last windows are cut short at the border; spread windows where that misses `size`."""
    pooled = F.max_pool2d(x, stride, ceil_mode=True)
    return pooled if size is None or pooled.shape[-2:] == size else adaptive_max_pool(x, size)


def max_pool3(x: Tensor, stride: int, size: Size | None = None) -> Tensor:
    """Max-pool with windows that overlap; spread windows where that misses `size`."""
    pooled = F.max_pool2d(x, stride + 1, stride, padding=stride // 2)
    return pooled if size is None or pooled.shape[-2:] == size else adaptive_max_pool(x, size)


def max_pool3_same(x: Tensor, stride: int, size: Size | None = None) -> Tensor:
    """Max-pool with windows that overlap, after TensorFlow's SAME padding; spread ones where that misses `size`."""
    (top, bottom), (left, right) = (same_padding(side, stride) for side in x.shape[-2:])
    padded = F.pad(x, (left, right, top, bottom), value=float("-inf"))
    pooled = F.max_pool2d(padded, stride + 1, stride)
    return pooled if size is None or pooled.shape[-2:] == size else adaptive_max_pool(x, size)


def max_pool_padded(x: Tensor, size: Size) -> Tensor:
    """Max-pool after zero padding to a multiple of `size` on both sides."""
    rows, top, bottom = tiles(x.shape[-2], size[0])
    columns, left, right = tiles(x.shape[-1], size[1])
    return tile_max_pool(pad(x, (left, right, top, bottom)), (rows, columns))


def halve(x: Tensor) -> Tensor:
    """2x2 max-pool that drops an odd border, but keeps the last pixel."""
    height, width = x.shape[-2:]
    if min(height, width) > 1:
        return F.max_pool2d(x, 2)
    return F.adaptive_max_pool2d(x, (max(1, height // 2), max(1, width // 2)))


def laid_out(x: Tensor) -> Tensor:
    """On a CPU in channels_last, which convolutions without gradients are quickest in; elsewhere as it is."""
    if x.device.type == "cpu" and not torch.is_grad_enabled():
        return x.contiguous(memory_format=torch.channels_last)
    return x


def always_laid_out(x: Tensor) -> Tensor:
    """On a CPU in channels_last, which separable convolutions are quickest in; elsewhere as it is."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


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


def tile_max_pool(x: Tensor, kernel: Size) -> Tensor:
    """`torch.nn.functional.max_pool2d` with windows that tile the map; a traced one has the kernel of one size."""
    if not torch.compiler.is_exporting():
        return F.max_pool2d(x, kernel)
    tiled = x.unflatten(-1, (x.shape[-1] // kernel[1], kernel[1]))
    return tiled.unflatten(-3, (x.shape[-2] // kernel[0], kernel[0])).amax(dim=(-3, -1))


def pad(x: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    """`torch.nn.functional.pad`, which in eager mode copies a map that it adds nothing to."""
    return F.pad(x, sides) if torch.compiler.is_compiling() or any(sides) else x


TRACEABLE = {
    "adaptive_max_pool": "F.adaptive_max_pool2d",
    "tile_max_pool": "F.max_pool2d",
}
"""Functions here that differ from PyTorch's only in what a trace of them can do, and those."""


def _strided(pool: Callable[..., Tensor], down: str, x: Tensor, stride: int, size: Size | None = None) -> Tensor:
    pooled = pooled_by_kernel(x, stride, size, down)
    return pool(x, stride, size) if pooled is None else pooled


def _padded(x: Tensor, size: Size) -> Tensor:
    pooled = pooled_by_kernel(x, 0, size, "max_pool_padded")
    return max_pool_padded(x, size) if pooled is None else pooled


POOLS: dict[str, Callable[..., Tensor]] = {
    "max_pool": partial(_strided, max_pool, "max_pool"),
    "max_pool3": partial(_strided, max_pool3, "max_pool3"),
    "max_pool3_same": partial(_strided, max_pool3_same, "max_pool3_same"),
    "max_pool_padded": _padded,
}
"""The pools of `necks.choices.Down`, with our kernel where it is quicker."""


def resample(x: Tensor, size: Size, *, shift: int, down: str = "max_pool") -> Tensor:
    """Bring a map to `size`, `shift` levels coarser (finer where negative).

    Up is nearest. Down is one max-pool as `necks.choices.Down` says; that of `max_pool` covers the border. Where the
    pool does not give `size` (a backbone that rounds down), the windows are spread over the map.
    """
    if shift == 0:
        return x
    if shift < 0:
        return up(x, size)
    return POOLS[down](x, size) if down == "max_pool_padded" else POOLS[down](x, 2**shift, size)


def pooled_term(x: Tensor, weight: float, gate: Tensor | None, down: str, stride: int, size: Size) -> Term:
    """A larger map as a term of a merge; pooled before where no one window gives the size."""
    window = pool_window(size_of(x), (size[0], size[1]), stride=stride, down=down)
    if window is not None:
        return Term(x, weight, gate, window)
    return Term(POOLS[down](x, size) if down == "max_pool_padded" else POOLS[down](x, stride, size), weight, gate)

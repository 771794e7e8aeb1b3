"""Sizes of maps, and windows of the pools that lead from one to another.

Shapes: a map is (N, C, H, W); a size is (H, W).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

Size = tuple[int, int]

LARGEST_WINDOW = 2**15
"""Most pixels in a window of our GPU kernel, which counts them in 16 bits."""


class Window(NamedTuple):
    """Max-pooling by hand: output row i is the largest of the rows from i * stride - before on, `kernel` of them.

    Attributes:
        fill: what is taken beyond the border.
    """

    kernel: Size
    stride: Size
    before: Size
    fill: float


def size_of(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]


def ceil_div(side: int, divisor: int) -> int:
    """Quotient rounded up, for positive numbers; ONNX rounds negative ones (`-(-side // divisor)`) differently."""
    return (side + divisor - 1) // divisor


def same_padding(side: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after a side, for windows of `stride` + 1."""
    missing = max(0, (ceil_div(side, stride) - 1) * stride + stride + 1 - side)
    return missing // 2, missing - missing // 2


def tiles(side: int, count: int) -> tuple[int, int, int]:
    """Windows that tile a side: their length, and the padding before and after."""
    length = ceil_div(side, count)
    missing = length * count - side
    return length, missing // 2, missing - missing // 2


def pool_window(source: Size, size: Size, *, stride: int, down: str) -> Window | None:
    """Window of the pool `down` (`necks.choices.Down`) from size `source` to `size`; None if its windows are not equal,
    or too large for the GPU kernel."""
    if down == "max_pool_padded":
        (rows, top, _), (columns, left, _) = (tiles(*sides) for sides in zip(source, size, strict=True))
        window = Window((rows, columns), (rows, columns), (top, left), 0.0)
    else:
        side = stride if down == "max_pool" else stride + 1
        (top, rows), (left, columns) = (_along(length, stride, down) for length in source)
        if (rows, columns) != size:
            return None
        window = Window((side, side), (stride, stride), (top, left), -math.inf)
    return window if math.prod(window.kernel) <= LARGEST_WINDOW else None


def _along(side: int, stride: int, down: str) -> tuple[int, int]:
    """Places before the border, and windows, in one direction."""
    if down == "max_pool3":
        return stride // 2, (side + 2 * (stride // 2) - stride - 1) // stride + 1
    return same_padding(side, stride)[0] if down == "max_pool3_same" else 0, ceil_div(side, stride)

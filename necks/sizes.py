"""Sizes of maps and windows of pooling.

Shapes: a map is (N, C, H, W); a size is (H, W).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Size = tuple[int, int]


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

"""One term of the sum that a cell merges on a GPU."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from necks.sizes import Window


class Term(NamedTuple):
    """weight * gate * a map at the cell's size.

    Attributes:
        x: (N, C, h, w); a smaller map is repeated to the size, as `F.interpolate` with `nearest` does.
        window: of the max-pool that makes a larger map smaller; None for others.
        gate: (N, C, 1, 1).
    """

    x: Tensor
    window: Window | None = None
    weight: float = 1.0
    gate: Tensor | None = None

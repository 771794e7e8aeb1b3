"""Bounds on the size of a genotype, and checks of the numbers in it.

Everything that this project does with the largest genotype (fingerprint, cost, picture, neck) ends within a second.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, TypeGuard

MAX_CELLS = 128
"""Cells of a genotype. Published necks have up to 23 over five levels (quad FPN), and stack them by `repeats`; even
unrolled, eight BiFPN layers have 64."""
MAX_LEVEL = 16
"""Coarsest level: one cell of its map stands for 65,536 x 65,536 pixels."""
MAX_INPUTS = MAX_LEVEL + 1
"""Inputs of a cell; published cells have one per level at most."""
MAX_REPEATS = 64
"""Stacked copies of a neck; published detectors have 8 at most."""
MAX_CHANNELS = 8192
"""Channels of a map: those of the widest published backbone (ResNet-152x4)."""
MAX_SPACE_CELLS = 64
"""Cells of a search space's genotypes, four times as many as PAFPN has: every cell is four decisions or more, and a
controller looks at all of them for each proposal."""


class GenotypeError(ValueError):
    """A genotype that cannot be built; the message says which cell, what was wrong and what is allowed."""


def is_whole(value: object) -> TypeGuard[int]:
    """True for an integer; `True` and `4.0` are none, though they equal one."""
    return isinstance(value, int) and not isinstance(value, bool)


class _Short(reprlib.Repr):
    """Long integers by their size: Python writes none of more than 4,300 digits."""

    def repr_int(self, x: int, level: int) -> str:
        return f"an integer of {x.bit_length()} bits" if x.bit_length() > 64 else repr(x)


_SHORT = _Short()
_SHORT.maxtuple = _SHORT.maxlist = 10


def shown(value: Any) -> str:
    """A value for an error message, cut short."""
    return _SHORT.repr(value)


def check_levels(levels: Sequence[int]) -> None:
    """
    Raises:
        GenotypeError: for levels that are not distinct, ascending and in 0 .. `MAX_LEVEL`.
    """
    valid = all(is_whole(level) and 0 <= level <= MAX_LEVEL for level in levels)
    if not levels or not valid or list(levels) != sorted(set(levels)):
        raise GenotypeError(
            f"levels must be distinct non-negative integers, fine to coarse, like (3, 4, 5, 6, 7), {MAX_LEVEL} at "
            f"most; got {shown(levels)}"
        )


def check_num_cells(name: str, value: object, least: int) -> None:
    """
    Raises:
        ValueError: for a number of cells that a search space cannot have.
    """
    if not is_whole(value) or not least <= value <= MAX_SPACE_CELLS:
        raise ValueError(f"{name} must be an integer in {least}..{MAX_SPACE_CELLS}, got {shown(value)}")

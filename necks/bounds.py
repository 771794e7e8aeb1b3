"""Bounds on the size of a neck; what is beyond is refused at construction, before it takes time or memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from search_space.bounds import is_whole, shown

MAX_STACKED_INPUTS = 4000
"""Inputs of all cells of all repeats: each is a module, and so many are built in about a second. EfficientDet-D7x has
two hundred."""
MAX_PARAMS = 10**9
"""Parameters, 4 GB in single precision; the largest published necks have a tenth."""
WIDE = 1024
"""Width from which parameters are counted before there is memory for them; M2Det, the widest published, has 2048."""

Made = TypeVar("Made", bound=nn.Module)


def check_count(name: str, value: object, most: int) -> None:
    """
    Raises:
        ValueError: unless it is an integer in 1 .. most.
    """
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name} must be positive, a whole number of {most} at most, got {shown(value)}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {shown(value)}")


def check_whole(name: str, values: Sequence[object], least: int, most: int) -> None:
    """
    Raises:
        ValueError: unless all are integers in least .. most.
    """
    if not all(is_whole(value) and least <= value <= most for value in values):
        raise ValueError(f"{name} must be whole numbers in {least}..{most}, got {shown(tuple(values))}")


def check_params(params: int) -> None:
    """
    Raises:
        ValueError: for more parameters than `MAX_PARAMS`.
    """
    if params > MAX_PARAMS:
        raise ValueError(f"this neck would have {params:,} parameters, allowed are {MAX_PARAMS:,}; make it narrower")


def built(make: Callable[[], Made], widths: Sequence[int]) -> Made:
    """Module that `make` gives; a wide one is made without memory first, to count its parameters.

    Raises:
        ValueError: as `check_params`.
    """
    if any(is_whole(width) and width > WIDE for width in widths):
        with torch.device("meta"):
            check_params(sum(parameter.numel() for parameter in make().parameters()))
    return make()

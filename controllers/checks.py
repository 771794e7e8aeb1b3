"""Checks of controllers' arguments: the kind of each number and its range."""

from __future__ import annotations

import math

from search_space.bounds import shown

MAX_COUNT = 100_000
"""Largest population, batch or window: more than any search has trials."""
MAX_UNITS = 8192
"""Largest width of a policy: one proposal takes seconds with it."""


def check_count(name: str, value: object, least: int, most: int = MAX_COUNT) -> None:
    """
    Raises:
        ValueError: unless it is an integer in least .. most; `True` and `8.0` are none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be an integer of {least} or more, got {shown(value)}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:,}, got {shown(value)}")


def check_number(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> None:
    """
    Raises:
        ValueError: unless it is a finite number from low to high, low itself not allowed if `open_low`.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < value if open_low else low <= value) or value > high:  # type: ignore[operator]
        raise ValueError(
            f"{name} must be a number {'above' if open_low else 'from'} {low:g} to {high:g}, got {shown(value)}"
        )

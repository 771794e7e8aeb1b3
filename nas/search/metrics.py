"""Metrics of a task, checked where they come in: journal, reports and controllers see finite numbers only."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from nas.search.reward import AVERAGE_PRECISION, COSTS, RewardError, shown_metric

MAX_AP = 100.0
ROUNDING = 1e-6
"""By which an AP in percent may be off 0 or 100."""
MAX_VALUE = 1e18
"""Largest absolute value of any metric: a million times the multiply-adds of the largest detectors. Means and squares
of a thousand such numbers are finite, too."""


def plain_metrics(metrics: object, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Metrics of a task as plain data for JSON: numbers of any library as Python's, and no NaN.

    Average precisions, costs and what is needed for the reward are what a search decides by, and must be right. Other
    numbers that are not finite, such as a loss before the first step, are None: not measured.

    Args:
        needed: further metrics that must be right; see `RewardConfig.needed`.

    Raises:
        RewardError: for an average precision outside 0..100, a negative cost, one of these that is no finite number,
            numbers beyond `MAX_VALUE`, text, or what is no mapping of names to numbers.
    """
    if not isinstance(metrics, Mapping):
        raise RewardError(f"the task's metrics must be a mapping of names to numbers, got {shown_metric(metrics)}")
    return {_name(name): _plain(name, value, needed) for name, value in metrics.items()}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise RewardError(f"names of metrics must be text, got {shown_metric(name)}")
    return name


def _plain(name: str, value: Any, needed: Sequence[str]) -> Any:
    decisive = name in COSTS or name in needed or AVERAGE_PRECISION.fullmatch(name) is not None
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if value is None or (not decisive and isinstance(value, bool)):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise RewardError(f"{name} must be a number or None, got {shown_metric(value)}")
    number = value if isinstance(value, int) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        if decisive:
            raise RewardError(f"{name} is {number}; it must be a finite number")
        return None
    _check_range(name, number)
    return number


def _check_range(name: str, number: float) -> None:
    if abs(number) > MAX_VALUE:
        raise RewardError(f"{name} is {shown_metric(number)}; allowed are numbers up to {MAX_VALUE:g}")
    if name in COSTS and number < 0:
        raise RewardError(f"{name} is {number:g}; a cost is not negative")
    if AVERAGE_PRECISION.fullmatch(name) and not -ROUNDING <= number <= MAX_AP + ROUNDING:
        raise RewardError(f"{name} is {number:g}; an average precision is in percent, 0..100")

"""Costs of the user's own: functions of a genotype and its neck, named by reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.references import call
from nas.search.reward import AVERAGE_PRECISION, COSTS, RewardError, shown_metric
from search_space import Genotype

if TYPE_CHECKING:
    from necks import Neck


class CostError(RewardError):
    """A function of costs that failed, or returned something else than named numbers."""


def own_costs(references: Sequence[str], genotype: Genotype, neck: Neck | None) -> dict[str, float]:
    """Costs that the functions return, together.

    Args:
        references: of functions `(genotype, neck)` that return numbers by name, less of which is better.
        neck: as the task built it; None for a task that tells none.

    Raises:
        CostError: if one fails, does not return finite numbers of 0 or more by name, or takes a name that is taken.
    """
    costs: dict[str, float] = {}
    for reference in references:
        for name, value in _returned(reference, genotype, neck).items():
            if name in COSTS or name in costs or AVERAGE_PRECISION.fullmatch(name) or not name.isidentifier():
                raise CostError(
                    f"the cost {reference} returned {name!r:.60}; a cost needs a name of letters, digits and _ that no "
                    "other metric has"
                )
            costs[name] = _number(reference, name, value)
    return costs


def _returned(reference: str, genotype: Genotype, neck: Neck | None) -> Mapping[str, Any]:
    try:
        returned = call(reference, genotype, neck)
    except Exception as error:
        raise CostError(f"the cost {reference} failed: {type(error).__name__}: {error}") from error
    if not isinstance(returned, Mapping) or not all(isinstance(name, str) for name in returned):
        raise CostError(
            f"the cost {reference} must return a mapping of names to numbers, it returned {shown_metric(returned)}"
        )
    return returned


def _number(reference: str, name: str, value: Any) -> float:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    if not fits:
        raise CostError(
            f"the cost {reference} must return finite numbers of 0 or more, its {name} is {shown_metric(value)}"
        )
    return float(value)

"""Results that trials report to Tune: the task's metrics, `reward` and `state`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nas.search.config import SearchConfig
from nas.search.constraints import Measured, measure_of, violations
from nas.search.reward import AVERAGE_PRECISION, COSTS, reward_of

REWARD = "reward"
TRAINING, COMPLETE, REJECTED = "training", "complete", "rejected"
"""Values of `state`: scored at a rung, trained to the end, over a limit and not trained."""

_PRECISIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def scored(config: SearchConfig, metrics: Mapping[str, Any], *, steps: int, state: str) -> dict[str, Any]:
    """Result of a trial that was scored after some steps.

    Raises:
        RewardError: if the metrics make no reward.
    """
    return {**metrics, REWARD: reward_of(config.reward, metrics), "steps": steps, "state": state}


def rejected(config: SearchConfig, measured: Measured) -> dict[str, Any]:
    """Result of a trial over a limit. Rewards and precisions are NaN: Tune wants its metric in every result."""
    reason = "; ".join(map(str, violations(config.constraints, measured)))
    unknown = dict.fromkeys((REWARD, config.reward.metric, *_PRECISIONS), math.nan)
    return {**unknown, **measured, "steps": 0, "state": REJECTED, "reason": f"constraint: {reason}"}


def kept(result: Mapping[str, Any], metric: str, config: SearchConfig) -> dict[str, Any]:
    """The part of a result by which a controller learns, as plain data for JSON: no bookkeeping of Tune's."""
    limited = map(measure_of, config.constraints.limits())
    names = {metric, REWARD, config.reward.metric, config.reward.cost, *COSTS, *limited}
    found = {
        name: _number(value) for name, value in result.items() if name in names or AVERAGE_PRECISION.fullmatch(name)
    }
    return {**found, "state": str(result.get("state", COMPLETE))}


def _number(value: Any) -> int | float | None:
    """A finite number of any library as Python's; None for what is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None

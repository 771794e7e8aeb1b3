"""Reward that a search maximises, computed from a trial's metrics."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import Float

CostName = Literal["params", "macs", "latency_ms"]


class RewardError(ValueError):
    """Metrics from which no reward can be made."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RewardConfig:
    """The reward of a trial; its metrics keep the raw numbers, so that it can be computed again."""

    objective: Literal["ap", "mnasnet", "pareto"] = "ap"
    """`ap`: the metric alone, as in NAS-FPN. `mnasnet`: metric * (cost / target) ** exponent (MnasNet, arXiv 1807.11626
    equation 2). `pareto`: controllers for several objectives (nsga2, tpe) get (metric, -cost), both to be maximised;
    for others the reward is the metric, and the Pareto front is reported."""

    metric: str = Field(default="AP", pattern=r"^AP(50|75|s|m|l|/.+)?$")
    """Average precision that counts: AP, AP50, AP75, APs, APm, APl, or `AP/<class>`."""

    cost: CostName = "macs"
    """Of the neck for one image; the Pareto front is drawn over it whatever the objective."""

    target: Float | None = Field(default=None, gt=0)
    """The cost that `mnasnet` neither rewards nor punishes: parameters, multiply-adds or milliseconds."""

    exponent: Float = Field(default=-0.07, ge=-10, le=0)
    """At -0.07, the paper's, twice the cost is worth as much as 5 % more AP."""

    @model_validator(mode="after")
    def _target_where_used(self) -> Self:
        if self.objective == "mnasnet" and self.target is None:
            raise ValueError(f"mnasnet needs a target for {self.cost}, such as the cost of the neck to replace")
        if self.objective != "mnasnet" and self.target is not None:
            raise ValueError(f"target belongs to objective mnasnet; with {self.objective} leave it out")
        return self

    @property
    def name(self) -> str:
        """How tables call the reward."""
        return "reward" if self.objective == "mnasnet" else self.metric


def reward_of(config: RewardConfig, metrics: Mapping[str, Any]) -> float:
    """The number to maximise.

    Raises:
        RewardError: if a measure that it needs is missing or not finite, or a cost is not positive.
    """
    ap = _measure(metrics, config.metric)
    if config.objective != "mnasnet":
        return ap
    assert config.target is not None
    cost = _measure(metrics, config.cost)
    if cost <= 0:
        raise RewardError(f"{config.cost} is {cost}; mnasnet needs a positive cost")
    try:
        return float(ap * (cost / config.target) ** config.exponent)
    except OverflowError as error:
        raise RewardError(f"{config.cost} is {cost:g}, too far from the target {config.target:g}") from error


def objectives_of(config: RewardConfig, metrics: Mapping[str, Any]) -> tuple[float, ...] | None:
    """(metric, -cost), both to be maximised, where the objective is `pareto`; else None.

    Raises:
        RewardError: if one of them is missing or not finite.
    """
    if config.objective != "pareto":
        return None
    return _measure(metrics, config.metric), -_measure(metrics, config.cost)


def shown_metric(value: object) -> str:
    """A metric of a task, in one short line."""
    return " ".join(reprlib.repr(value).split())


def _measure(metrics: Mapping[str, Any], name: str) -> float:
    value = metrics.get(name)
    if value is None:
        raise RewardError(f"{name} was not measured; for the parts of AP the reward split must have such objects")
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise RewardError(f"{name} is {shown_metric(value)}")
    return float(value)

"""Reward that a search maximises, computed from a trial's metrics."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import Float
from nas.references import Name, call, is_reference, require_known

COSTS = ("params", "macs", "latency_ms")
AVERAGE_PRECISION = re.compile(r"AP(50|75|s|m|l|/.+)?")
OBJECTIVES = ("ap", "mnasnet", "pareto")


class RewardError(ValueError):
    """Error for metrics from which no reward can be computed."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RewardConfig:
    """Settings of the reward. A trial's metrics keep the raw numbers, so its reward can be computed again."""

    objective: Name = "ap"
    """`ap`: the reward is the metric, as in NAS-FPN. `mnasnet`: metric * (cost / target) ** exponent (MnasNet, arXiv
    1807.11626 equation 2). `pareto`: controllers for several objectives (nsga2, tpe) maximise both metric and -cost;
    for other controllers the reward is the metric, and the Pareto front is reported. A reference (`my_file.py:reward`):
    a function of a trial's metrics that returns the number to maximise."""

    metric: str = Field(default="AP", min_length=1)
    """Metric of the reward: AP, AP50, AP75, APs, APm, APl, or `AP/<class>`. With a task of your own, any metric that
    the task returns and for which more is better."""

    cost: str = Field(default="macs", min_length=1)
    """Cost of the neck for one image: `params`, `macs`, `latency_ms`, or a cost of your own (`SearchConfig.costs`). The
    report draws the Pareto front over this cost, whatever the objective."""

    target: Float | None = Field(default=None, gt=0)
    """Cost that `mnasnet` neither rewards nor penalises, in parameters, multiply-adds or milliseconds."""

    exponent: Float = Field(default=-0.07, ge=-10, le=0)
    """Exponent of `mnasnet`. With the paper's -0.07, twice the cost must bring 5 % more AP to keep the reward."""

    @model_validator(mode="after")
    def _known_objective(self) -> Self:
        require_known("objective", self.objective, OBJECTIVES, "my_file.py:reward")
        return self

    @model_validator(mode="after")
    def _target_where_used(self) -> Self:
        if self.objective == "mnasnet" and self.target is None:
            raise ValueError(f"mnasnet needs a target for {self.cost}, such as the cost of the neck to replace")
        if self.objective != "mnasnet" and self.target is not None:
            raise ValueError(f"target is only for the objective mnasnet; leave it out with {self.objective}")
        return self

    @property
    def name(self) -> str:
        """Name of the reward in tables."""
        return self.metric if self.objective in ("ap", "pareto") else "reward"

    @property
    def is_ap(self) -> bool:
        """True if the reward is an average precision, alone or weighed against a cost."""
        return self.objective in OBJECTIVES and AVERAGE_PRECISION.fullmatch(self.metric) is not None

    def shown(self, value: float, *, signed: bool = False) -> str:
        """Text of a reward or of a difference of two: average precisions with one decimal, others with three
        figures."""
        text = f"{value:z.1f}" if self.is_ap else figures(value)
        return f"+{text}" if signed and not text.startswith("-") else text

    @property
    def needed(self) -> tuple[str, ...]:
        """Metrics that every trial must have."""
        needed = {"ap": (self.metric,), "mnasnet": (self.metric, self.cost), "pareto": (self.metric, self.cost)}
        return needed.get(self.objective, ())


def reward_of(config: RewardConfig, metrics: Mapping[str, Any]) -> float:
    """Reward of a trial: the number to maximise.

    Raises:
        RewardError: if a metric that the reward needs is missing or not finite, or a cost is not positive; or if a
            function by reference fails or does not return a finite number.
    """
    if is_reference(config.objective):
        return _by_reference(config.objective, metrics)
    ap = _measure(metrics, config.metric)
    if config.objective != "mnasnet":
        return ap
    assert config.target is not None
    if ap < 0 and not AVERAGE_PRECISION.fullmatch(config.metric):
        raise RewardError(
            f"{config.metric} is {ap:g}; mnasnet needs a metric of 0 or more, as a cost makes a negative one better"
        )
    cost = _measure(metrics, config.cost)
    if cost <= 0:
        raise RewardError(f"{config.cost} is {cost}; mnasnet needs a positive cost")
    try:
        return float(ap * (cost / config.target) ** config.exponent)
    except OverflowError as error:
        raise RewardError(f"{config.cost} is {cost:g}, too far from the target {config.target:g}") from error


def objectives_of(config: RewardConfig, metrics: Mapping[str, Any]) -> tuple[float, ...] | None:
    """(metric, -cost), both to be maximised, if the objective is `pareto`; None otherwise.

    Raises:
        RewardError: if the metric or the cost is missing or not finite.
    """
    if config.objective != "pareto":
        return None
    return _measure(metrics, config.metric), -_measure(metrics, config.cost)


def _by_reference(name: str, metrics: Mapping[str, Any]) -> float:
    try:
        value = call(name, dict(metrics))
    except Exception as error:
        raise RewardError(f"the reward {name} failed: {type(error).__name__}: {error}") from error
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RewardError(f"the reward {name} must return a finite number, it returned {shown_metric(value)}")
    return float(value)


def figures(value: float) -> str:
    """Text of a number with three significant figures; large numbers are written in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def shown_metric(value: object) -> str:
    """Text of a metric, in one short line."""
    return " ".join(reprlib.repr(value).split())


def _measure(metrics: Mapping[str, Any], name: str) -> float:
    value = metrics.get(name)
    if value is None:
        hint = (
            "; for the parts of AP the reward split must have such objects" if AVERAGE_PRECISION.fullmatch(name) else ""
        )
        raise RewardError(f"{name} was not measured{hint}")
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise RewardError(f"{name} is {shown_metric(value)}")
    return float(value)

"""Early stopping of candidates that score worse than the others: asynchronous successive halving."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import Float, Int

RUNG_METRIC = "reward@"
"""Prefix of the metric that keeps a trial's reward at a rung; the step follows."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StoppingConfig:
    """Early stopping by ASHA (Li et al. 2018, arXiv 1810.05934) without promotions: a stopped trial never continues.

    At each rung a candidate is scored on the reward split. Its training continues if the candidate is among the best
    1 / `reduction_factor` of those scored at that rung so far. The first `reduction_factor` - 1 candidates at a rung
    always continue. Known necks are never stopped, and candidates are not compared with them.
    """

    rungs: tuple[Int, ...] = ()
    """Training steps of the rungs, in ascending order. Without rungs, every training runs to its end."""

    reduction_factor: Float = Field(default=3, gt=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(rung < 1 for rung in self.rungs) or sorted(set(self.rungs)) != list(self.rungs):
            raise ValueError(f"rungs must be ascending steps of 1 or more, got {self.rungs}")
        return self


class Rungs:
    """Rewards of all trials at each rung. A trial that runs again replaces its earlier rewards."""

    def __init__(self, config: StoppingConfig) -> None:
        self._factor = config.reduction_factor
        self._rewards: dict[int, dict[int, float]] = {step: {} for step in config.rungs}

    def remember(self, number: int, step: int, reward: float) -> None:
        """Record a reward. A reward at a step that is not a rung is ignored."""
        if step in self._rewards:
            self._rewards[step][number] = reward

    def stops(self, number: int, step: int, reward: float) -> bool:
        """Record the reward; True if the trial is to be stopped at this step."""
        self.remember(number, step, reward)
        rewards = self._rewards.get(step, {})
        better = sum(other > reward for other in rewards.values())
        return len(rewards) >= self._factor and better >= len(rewards) / self._factor

"""Early stopping of candidates that are behind the others: asynchronous successive halving."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import Float, Int

RUNG_METRIC = "reward@"
"""With the step behind it, the metric under which a trial's reward at a rung is kept."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StoppingConfig:
    """ASHA (Li et al. 2018, arXiv 1810.05934), without its promotions: a trial that is stopped is over.

    At each rung a candidate is scored on the reward split. It goes on if it is among the best 1 / `reduction_factor`
    of those scored at that rung so far; the first `reduction_factor` - 1 at a rung always do. Known necks are neither
    stopped nor compared with.
    """

    rungs: tuple[Int, ...] = ()
    """Steps of the training, ascending; none: every training runs to its end."""

    reduction_factor: Float = Field(default=3, gt=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(rung < 1 for rung in self.rungs) or sorted(set(self.rungs)) != list(self.rungs):
            raise ValueError(f"rungs must be ascending steps of 1 or more, got {self.rungs}")
        return self


class Rungs:
    """Rewards at each rung; a trial that is run again replaces its earlier ones."""

    def __init__(self, config: StoppingConfig) -> None:
        self._factor = config.reduction_factor
        self._rewards: dict[int, dict[int, float]] = {step: {} for step in config.rungs}

    def remember(self, number: int, step: int, reward: float) -> None:
        """Take in a reward; one at a step that is no rung is ignored."""
        if step in self._rewards:
            self._rewards[step][number] = reward

    def stops(self, number: int, step: int, reward: float) -> bool:
        """True if the trial ends here; the reward is remembered."""
        self.remember(number, step, reward)
        rewards = self._rewards.get(step, {})
        better = sum(other > reward for other in rewards.values())
        return len(rewards) >= self._factor and better >= len(rewards) / self._factor

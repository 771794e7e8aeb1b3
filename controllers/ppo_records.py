"""PPO's records of outcomes: examples to learn from, and the reward's moving averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_space import Choices


@dataclass(frozen=True)
class Example:
    """One outcome to learn from.

    Args:
        choices: what was proposed.
        reward: what it was worth.
        log_prob: of the genotype under the policy that proposed it.
    """

    choices: Choices
    reward: float
    log_prob: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the arguments by name."""
        return {"choices": dict(self.choices), "reward": self.reward, "log_prob": self.log_prob}


class RunningScale:
    """Exponential moving averages of a number and of its squared distance from the first average.

    Both start without weight, so the first numbers count in full (the correction of Adam, arXiv 1412.6980 section 3).
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._weight = self._sum = self._squares = 0.0

    @property
    def mean(self) -> float:
        """nan before the first number."""
        return self._sum / self._weight if self._weight else math.nan

    @property
    def scale(self) -> float:
        """Root of the mean squared distance; 1 where that is 0."""
        return math.sqrt(self._squares / self._weight) if self._squares else 1.0

    def add(self, value: float) -> None:
        """Take in a number; its distance is that from the mean which it is already a part of."""
        share = 1 - self._decay
        self._weight = self._decay * self._weight + share
        self._sum = self._decay * self._sum + share * value
        self._squares = self._decay * self._squares + share * (value - self.mean) ** 2

    def to_dict(self) -> dict[str, float]:
        """Plain data for JSON."""
        return {"weight": self._weight, "sum": self._sum, "squares": self._squares}

    def load(self, state: Mapping[str, float]) -> None:
        """Replace everything by what `to_dict` wrote."""
        self._weight, self._sum, self._squares = state["weight"], state["sum"], state["squares"]

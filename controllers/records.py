"""Records that a controller hands out (proposals) and gets back (outcomes)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from search_space import Choice, Genotype

State = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True)
class Child:
    """Genotype that was bred from the genotype of an earlier proposal.

    Args:
        parent: id of the earlier proposal; of several parents, the first.
    """

    genotype: Genotype
    parent: int


@dataclass(frozen=True)
class Proposal:
    """Genotype that a controller proposes.

    Args:
        id: 0, 1, 2, ... in the order in which one controller proposed.
        genotype: topology of the candidate.
        choices: encoding of the genotype in the space; must not be changed.
        info: finite numbers that the controller keeps with the proposal. A journal stores them and returns them
            unchanged on replay.
        parent: id of the earlier proposal from which the genotype was bred, or None. Training may start from the
            weights of that candidate.
    """

    id: int
    genotype: Genotype
    choices: dict[str, Choice] = field(hash=False)
    info: dict[str, float] = field(default_factory=dict, hash=False)
    parent: int | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a proposal.

    Args:
        proposal: the proposal as the controller made it.
        reward: finite number to maximise; None if and only if the trial failed.
        state: `complete`; `stopped`: stopped early, the reward is the last one measured; `failed`: no reward.
        metrics: other measurements; controllers do not read them.
        objectives: finite numbers to maximise, for controllers with several objectives; None for a failed trial.
            `reward` is still the one number by which trials are ranked for the user.

    Raises:
        ValueError: if state and reward do not belong together, or a number is not finite.
    """

    proposal: Proposal
    reward: float | None
    state: State = "complete"
    metrics: Mapping[str, Any] = field(default_factory=dict, hash=False)
    objectives: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        who = f"outcome of proposal {self.proposal.id}"
        if self.state not in get_args(State):
            raise ValueError(f"{who}: state {self.state!r} is unknown; allowed are {get_args(State)}")
        if self.state == "failed":
            self._check_failed(who)
            return
        if self.reward is None:
            raise ValueError(f"{who}: state {self.state!r} needs a reward; report a trial without one as 'failed'")
        object.__setattr__(self, "reward", float(self.reward))
        if not math.isfinite(self.reward):
            raise ValueError(f"{who}: the reward must be finite, got {self.reward}; report the trial as 'failed'")
        if self.objectives is not None:
            object.__setattr__(self, "objectives", tuple(float(value) for value in self.objectives))
            if not all(map(math.isfinite, self.objectives)):
                raise ValueError(
                    f"{who}: objectives must be finite, got {self.objectives}; report the trial as 'failed'"
                )

    def _check_failed(self, who: str) -> None:
        if self.reward is not None:
            raise ValueError(f"{who}: a failed trial has no reward, got {self.reward!r}; pass reward=None")
        if self.objectives is not None:
            raise ValueError(f"{who}: a failed trial has no objectives, got {self.objectives!r}; pass None")

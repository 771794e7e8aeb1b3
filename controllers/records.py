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
    """A genotype bred from that of an earlier proposal.

    Args:
        parent: id of that proposal; of several parents, the first.
    """

    genotype: Genotype
    parent: int


@dataclass(frozen=True)
class Proposal:
    """A genotype to try.

    Args:
        id: 0, 1, 2, ... in the order in which one controller proposed.
        genotype: what to build.
        choices: the space's encoding of the genotype; nobody may change it.
        info: finite numbers that the controller keeps with the proposal for later. Whoever keeps a journal stores them
            and hands them back on replay, unread; nobody may change them.
        parent: id of the earlier proposal from which it was bred, if it was: training may start from what that one
            learned.
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
        reward: the number to maximise, finite; None exactly when the trial failed.
        state: `complete`; `stopped` = cut early, the reward is the last one measured; `failed` = no reward at all.
        metrics: whatever else was measured; controllers do not read it.
        objectives: the numbers to maximise where there are several, finite; read by controllers with several objectives
            only, and `reward` is then still the one number by which a reader ranks trials. None for a failed trial.

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
                raise ValueError(f"{who}: objectives must be finite, got {self.objectives}; report it as 'failed'")

    def _check_failed(self, who: str) -> None:
        if self.reward is not None:
            raise ValueError(f"{who}: a failed trial has no reward, got {self.reward!r}; pass reward=None")
        if self.objectives is not None:
            raise ValueError(f"{who}: a failed trial has no objectives, got {self.objectives!r}; pass None")

"""Spaces, rewards and made-up runs with every kind of outcome in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Self

import pytest

from controllers.base import Controller
from controllers.records import Outcome, Proposal
from search_space import Genotype, NasFpnSpace

PARTS = ("outcomes", "proposals", "recovery")
pytest.register_assert_rewrite(*(f"controllers.testing.{part}" for part in PARTS))  # asserts that show their values

Make = Callable[..., Controller]
"""A controller's class, or a function with its arguments: space, `seed=0`, `initial=()`."""

SPACE = NasFpnSpace(4, levels=(3, 4, 5))
"""518,400 points, quick to sample."""

TINY = NasFpnSpace(2, levels=(3, 4))
"""24 points."""


class Suite:
    """Base of all parts of the suite."""

    @pytest.fixture
    def make(self) -> Make:
        """The controller to test, as `Make`; to be overridden."""
        raise NotImplementedError("override the fixture make: it returns a Controller's class, or what makes one")


def reward(genotype: Genotype) -> float:
    """A fixed pseudo-random number from 0 to 1 that knows nothing of the genotype's structure."""
    return int(genotype.fingerprint, 16) / 16**16


def outcome(proposal: Proposal) -> Outcome:
    """The outcome of a proposal: every fifth trial fails and every fourth is stopped."""
    if proposal.id % 5 == 3:
        return Outcome(proposal, None, "failed")
    return Outcome(proposal, reward(proposal.genotype), "stopped" if proposal.id % 4 == 2 else "complete")


class Journal:
    """Run of a controller and what a journal would hold of it: proposals by id, outcomes as observed."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.proposals: list[Proposal] = []
        self.outcomes: list[Outcome] = []

    def run(self, trials: int, slots: int = 3) -> Self:
        """Keep `slots` proposals pending; report the oldest and the newest in turn, so that outcomes are unordered."""
        waiting = deque(self.controller.pending)
        for _ in range(trials):
            while len(waiting) < slots:
                new = self.controller.propose(1)
                self.proposals += new
                waiting += new
            done = waiting.pop() if self.controller.num_proposed % 2 else waiting.popleft()
            self.outcomes.append(outcome(done))
            self.controller.observe([self.outcomes[-1]])
        return self


def trajectory(controller: Controller, trials: int = 40) -> list[str]:
    """Fingerprints of everything proposed in a run."""
    return [proposal.genotype.fingerprint for proposal in Journal(controller).run(trials).proposals]

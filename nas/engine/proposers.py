"""Controllers of a search: the random baseline, then the one that searches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from nas.engine.constraint_filter import ConstraintFilter
from nas.search.config import SearchConfig, build_space
from nas.search.proposing import build_baseline, build_controller, candidate_of, outcome_of, replay
from nas.search.records import RANDOM, SEARCH, Candidate, Trial
from nas.search.widths import candidate_channels


class Proposers:
    """Each controller proposes until it has its number of candidates that keep the limits.

    Args:
        constraint_filter: knows how many were rejected, and counts multiply-adds.
        trials: of the journal so far; they are replayed.

    Attributes:
        controllers: by origin of their candidates.
        space_choices: name of a decision -> all its choices but None.
        budget: what is left of it.

    Raises:
        ConfigError: for a controller and a space that do not fit together.
    """

    def __init__(self, config: SearchConfig, constraint_filter: ConstraintFilter, trials: Sequence[Trial]) -> None:
        self._config = config
        self._filter = constraint_filter
        space = build_space(config)
        self.space_choices = {
            name: tuple(choice for choice in choices if choice is not None)
            for name, choices in space.decisions().items()
        }
        self.budget = config.budget_of(trials, time.monotonic)
        self.controllers = {RANDOM: build_baseline(config, space), SEARCH: build_controller(config, space)}
        for origin, controller in self.controllers.items():
            replay(controller, [trial for trial in trials if trial.candidate.origin == origin], config.reward)

    @property
    def num_proposed(self) -> int:
        """Candidates of all controllers so far."""
        return sum(controller.num_proposed for controller in self.controllers.values())

    @property
    def num_kept(self) -> dict[str, int]:
        """Candidates so far that were not rejected, by origin."""
        return {
            origin: controller.num_proposed - self._filter.rejected(origin)
            for origin, controller in self.controllers.items()
        }

    def next_origin(self) -> str | None:
        """Origin of the next proposal; None when all have their number, or the budget is spent."""
        if self.budget.is_spent:
            return None
        drawn, kept = self._config.random_trials + self._config.more_random(self.budget), self.num_kept
        limits = {RANDOM: drawn, SEARCH: self._config.trials}
        return next((origin for origin, limit in limits.items() if kept[origin] < limit), None)

    def next(self) -> Candidate | None:
        """The next proposal, at its width; None when all have their number."""
        if (origin := self.next_origin()) is None:
            return None
        (proposal,) = self.controllers[origin].propose(1)
        candidate = candidate_of(origin, proposal)
        return replace(candidate, channels=candidate_channels(self._config, candidate.genotype, self._filter.count))

    def observe(self, trial: Trial) -> None:
        """Tell the controller that proposed a finished trial, if one did."""
        if (controller := self.controllers.get(trial.candidate.origin)) is not None:
            controller.observe([outcome_of(trial, self._config.reward)])

    def refuse_long_rows(self) -> None:
        """
        Raises:
            UnsatisfiedError: if the latest proposals of a controller were rejected, too many in a row.
        """
        for origin, controller in self.controllers.items():
            self._filter.refuse_long_row(origin, controller.num_proposed - 1)

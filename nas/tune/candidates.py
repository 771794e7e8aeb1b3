"""Candidates of a controller that keep the limits, numbered as in `nasfpn search`."""

from __future__ import annotations

from dataclasses import replace

from controllers import Controller, Outcome, Proposal
from nas.engine.constraint_filter import ConstraintFilter, Rejection
from nas.search.config import SearchConfig
from nas.search.constraints import Measured, static_cost
from nas.search.proposing import build_baseline, candidate_of
from nas.search.records import RANDOM, SEARCH, Candidate, Trial
from nas.search.widths import candidate_channels


class Candidates:
    """Proposals of a controller at their width; those over a limit are told to it as failed, and passed over."""

    def __init__(self, config: SearchConfig, controller: Controller) -> None:
        self._config = config
        self._controller = controller
        self._filter = ConstraintFilter(config.constraints, lambda: static_cost(config.proxy), ())
        self._first_number: int | None = None

    def next(self) -> Proposal:
        """A proposal that keeps the limits that can be checked without a worker.

        Raises:
            UnsatisfiedError: if too many in a row are over a limit.
        """
        self._filter.refuse_long_row(SEARCH, self._controller.num_proposed - 1)
        while True:
            (proposal,) = self._controller.propose(1)
            if (rejection := self._rejection(proposal, SEARCH)) is None:
                return proposal
            self._controller.observe([Outcome(proposal, None, "failed", rejection.measured)])
            self._filter.refuse_long_row(SEARCH, proposal.id)

    def of(self, proposal: Proposal, origin: str = SEARCH) -> Candidate:
        """The candidate of a proposal, at its width."""
        candidate = candidate_of(origin, proposal)
        return replace(candidate, channels=candidate_channels(self._config, candidate.genotype, self._filter.count))

    def number(self, proposal: Proposal) -> int:
        """Number of the trial in a `nasfpn search` with one worker, where known necks and baseline come first.

        Candidates of the baseline that are over a limit which only a worker measures are not counted here.

        Raises:
            UnsatisfiedError: if too many candidates of the baseline in a row are over a limit.
        """
        if self._first_number is None:
            self._first_number = len(set(self._config.known)) + self._baseline_proposals()
        return self._first_number + proposal.id

    def reject(self, proposal: Proposal, measured: Measured) -> None:
        """Take in that a worker found a candidate to be over a limit."""
        candidate = self.of(proposal)
        if (rejection := self._filter.judge(candidate, measured)) is not None:
            self._remember(candidate, rejection)

    def _rejection(self, proposal: Proposal, origin: str) -> Rejection | None:
        candidate = self.of(proposal, origin)
        if (rejection := self._filter.check(candidate)) is not None:
            self._remember(candidate, rejection)
        return rejection

    def _baseline_proposals(self) -> int:
        """Proposals of the random baseline, those over a limit included."""
        baseline = build_baseline(self._config, self._controller.space)
        passed = 0
        while passed < self._config.random_trials:
            (proposal,) = baseline.propose(1)
            if self._rejection(proposal, RANDOM) is None:
                passed += 1
            else:
                self._filter.refuse_long_row(RANDOM, proposal.id)
        return baseline.num_proposed

    def _remember(self, candidate: Candidate, rejection: Rejection) -> None:
        trial = Trial(
            number=candidate.proposal or 0,
            candidate=candidate,
            state="failed",
            reward=None,
            metrics=rejection.measured,
            error=rejection.reason,
            copied_from=None,
            order=None,
            rejected=rejection.limits,
        )
        self._filter.remember(trial)

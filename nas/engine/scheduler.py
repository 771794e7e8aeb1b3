"""Order of the trials of a search, and what becomes of each in the journal."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from controllers.records import State
from nas.engine.constraint_filter import ConstraintFilter, Count, Rejection
from nas.engine.proposers import Proposers
from nas.engine.twins import Twins
from nas.proxy.config import ProxyConfig
from nas.runs.journal import Journal
from nas.search.config import SearchConfig
from nas.search.confirmation import Confirmation
from nas.search.constraints import Measured, static_cost
from nas.search.inheritance import Lineages
from nas.search.proposing import known_neck
from nas.search.records import CONFIRM_PREFIX, KNOWN_PREFIX, Candidate, Trial
from nas.search.reward import reward_of
from nas.search.widths import known_channels

MakeCost = Callable[[ProxyConfig], Count]

MAX_HELD = 4
"""Children that may wait for their controls before others are proposed."""


class TrialScheduler:
    """First the known necks, then the random baseline, then what the controller proposes, then the confirmation.

    Where children inherit, the controls of their lineages come before what is proposed next; see `Lineages`.

    Built from the journal, so that a search goes on where it stopped: finished trials are told to the controllers
    in the order in which they finished, trials cut off with their process are run first, under their numbers.

    A candidate of a controller that is over a limit is recorded as rejected, told to the controller as failed, and
    replaced by another.

    Args:
        on_outcome: called with every trial that finishes, after it is in the journal.
        cost: makes what counts a candidate's `params` and `macs` before it is handed out.
        kept: numbers of the trials whose weights others can start from.

    Raises:
        ConfigError: for a controller, a space and necks that do not fit together.
    """

    def __init__(
        self,
        config: SearchConfig,
        journal: Journal,
        on_outcome: Callable[[Trial], None],
        cost: MakeCost = static_cost,
        kept: Container[int] = (),
    ) -> None:
        self.config = config
        self.journal = journal
        self.on_outcome = on_outcome
        self._known = {KNOWN_PREFIX + name: known_neck(name, config) for name in config.known}
        trials = journal.trials()
        self.constraint_filter = ConstraintFilter(config.constraints, lambda: cost(config.proxy), trials)
        self.proposers = Proposers(config, self.constraint_filter, trials)
        self._candidates = {trial.number: trial.candidate for trial in trials}
        self._origins = {trial.candidate.origin for trial in trials}
        self.lineages = Lineages(config.inherit, kept, trials)
        self._begun = Counter(trial.candidate.kind for trial in trials)
        self._ended = Counter(trial.candidate.kind for trial in trials if trial.state != "running")
        interrupted = [trial for trial in trials if trial.state == "running"]
        interrupted.sort(key=lambda trial: (not trial.candidate.is_known, trial.number))
        self._held: list[int] = []
        self._ready = deque(trial.number for trial in interrupted)
        self._twins = Twins(config.proxy.neck.channels, trials)

    @property
    def total(self) -> int:
        """Trials that the search will have when it is done, rejected ones and controls that have yet to begin not
        counted."""
        return self.journal.num_finished - self.constraint_filter.total + self.left

    @property
    def left(self) -> int:
        """Trials that the search has yet to finish."""
        others = self._candidates_left + self._begun["control"] - self._ended["control"]
        confirmation = self._confirmation()
        return others + (self.config.confirm.trainings if confirmation is None else confirmation.left)

    @property
    def _candidates_left(self) -> int:
        """Trials yet to finish before the confirmation begins."""
        begun = {"known": self._begun["known"], **self.proposers.num_kept}
        ended = self._ended["known"] + self._ended["proposed"] - self.constraint_filter.total
        planned = self.config.planned_trials(self.proposers.budget, begun)
        return max(planned, sum(begun.values())) - ended

    def _confirmation(self) -> Confirmation | None:
        """None as long as candidates are left to train, whose rewards choose the contenders."""
        return None if self._candidates_left else Confirmation(self.config.confirm, self.journal.trials())

    @property
    def may_go_on(self) -> bool:
        """True if a trial in work may yet be rejected, so that another has to take its place."""
        return self.constraint_filter.needs_worker and self._twins.any_running

    def prepare(self) -> None:
        """Find a first candidate that keeps the limits, before anything is trained; not needed to go on.

        Raises:
            UnsatisfiedError: if too many in a row are over a limit, now or when the search was stopped.
        """
        self.proposers.refuse_long_rows()
        if not self.constraint_filter.counts_cost or self.proposers.num_proposed > self.constraint_filter.total:
            return
        while (candidate := self.proposers.next()) is not None:
            number = self._add(candidate)
            if (rejection := self.constraint_filter.check(candidate)) is None:
                self._ready.append(number)
                return
            self._reject(number, rejection)

    def next(self) -> tuple[int, Candidate] | None:
        """Number and candidate of the next trial to train, or None when nothing is left to start.

        A candidate that computes the same function as a finished one of its width gets that result at once and is
        passed over; one that computes the same as a trial in work waits for that result. One that inherits waits for
        its control.

        Raises:
            UnsatisfiedError: if too many candidates in a row are over a limit.
        """
        while (number := self._next_number()) is not None:
            candidate = self._candidates[number]
            if not candidate.is_candidate:
                return self._handed_out(number, candidate)
            if (rejection := self.constraint_filter.check(candidate)) is not None:
                self._reject(number, rejection)
            elif (twin := self._twins.result(candidate)) is not None:
                self._share(number, twin)
            elif self._twins.parked(number, candidate):
                continue
            elif self.lineages.waits(number):
                self._held.append(number)
            else:
                self._twins.begin(number, candidate)
                return self._handed_out(number, candidate)
        return None

    def is_published(self, number: int) -> bool:
        """True if a trial is the function of one of the search's known necks."""
        fingerprint = self._candidates[number].genotype.fingerprint
        return any(genotype.fingerprint == fingerprint for genotype in self._known.values())

    def is_control(self, number: int) -> bool:
        """True if a trial only tells what a lineage gains by training."""
        return self._candidates[number].kind == "control"

    def settled(
        self, number: int, metrics: Mapping[str, Any], *, inherited: bool = False
    ) -> tuple[float, Mapping[str, Any]]:
        """The reward of a trial in work with these metrics, and all that is recorded of it; see `complete`.

        Raises:
            RewardError: if the metrics make no reward.
        """
        reward, facts = self.lineages.settled(number, reward_of(self.config.reward, metrics), inherited=inherited)
        return reward, {**metrics, **facts} if facts else metrics

    def complete(
        self, number: int, metrics: Mapping[str, Any], *, stopped: bool = False, inherited: bool = False
    ) -> None:
        """A trial was trained and scored, or scored at the rung at which it was stopped.

        Args:
            inherited: whether it started from the weights that `Lineages.begun` names.

        Raises:
            RewardError: if the metrics make no reward.
            UnsatisfiedError: as `reject`; a published neck's twin may be over a limit.
        """
        if self._candidates[number].controls is not None and not inherited:
            self.fail(number, "it was not trained on from the weights of its root, so that it controls nothing")
            return
        reward, metrics = self.settled(number, metrics, inherited=inherited)
        trial = self._finish(number, metrics, reward=reward, stopped=stopped)
        for copy in self._twins.released(self._candidates[number]):
            self._share(copy, trial)

    def fail(self, number: int, error: str) -> None:
        """A trial has no score; the reason goes into the journal, and the search goes on."""
        self._finish(number, {}, error=error)
        for copy in self._twins.released(self._candidates[number]):
            self._finish(copy, {}, error=f"the same function as trial {number}, which failed: {error}")

    def reject(self, number: int, measured: Measured) -> None:
        """A worker found a trial to be over a limit, and did not train it.

        Raises:
            UnsatisfiedError: if it is one too many in a row.
        """
        rejection = self.constraint_filter.judge(self._candidates[number], measured)
        assert rejection is not None
        for same in (number, *self._twins.released(self._candidates[number])):
            self._reject(same, rejection)

    def _share(self, number: int, twin: Trial) -> None:
        """Give a trial the result of one that is the same function, if that keeps the limits; it took no steps."""
        if (rejection := self.constraint_filter.judge(self._candidates[number], twin.metrics)) is not None:
            self._reject(number, rejection)
        else:
            stopped = twin.state == "stopped"
            metrics = {name: 0 if name == "steps" else value for name, value in twin.metrics.items()}
            self._finish(number, metrics, reward=twin.reward, copied_from=twin.number, stopped=stopped)

    def _reject(self, number: int, rejection: Rejection) -> None:
        trial = self._finish(number, rejection.measured, error=rejection.reason, rejected=rejection.limits)
        self.constraint_filter.refuse_long_row(trial.candidate.origin, trial.candidate.proposal)

    def _next_number(self) -> int | None:
        """Known necks come before the rest, so that a twin among the rest shares their result and not they its."""
        if self._ready and self._candidates[self._ready[0]].is_known:
            return self._ready.popleft()
        if (candidate := self._next_known()) is None:
            if self._ready:
                return self._ready.popleft()
            if (released := next((held for held in self._held if not self.lineages.waits(held)), None)) is not None:
                self._held.remove(released)
                return released
            candidate = self.lineages.next_control(ahead=self.proposers.next_origin() is not None)
            if candidate is None and len(self._held) < MAX_HELD:
                candidate = self.proposers.next() or self._next_confirmation()
        return None if candidate is None else self._add(candidate)

    def _handed_out(self, number: int, candidate: Candidate) -> tuple[int, Candidate]:
        self.lineages.begin(number)
        self.proposers.budget.begin(number)
        return number, candidate

    def _add(self, candidate: Candidate) -> int:
        number = self.journal.add(candidate, space_choices=self.proposers.space_choices)
        self._candidates[number] = candidate
        self._begun[candidate.kind] += 1
        self.lineages.add(number, candidate)
        self._origins.add(candidate.origin)
        return number

    def _finish(
        self,
        number: int,
        metrics: Mapping[str, Any],
        *,
        reward: float | None = None,
        error: str | None = None,
        copied_from: int | None = None,
        rejected: Sequence[str] = (),
        stopped: bool = False,
    ) -> Trial:
        state: State = "failed" if reward is None else "stopped" if stopped else "complete"
        trial = self.journal.finish(
            number, state, reward, metrics, error=error, copied_from=copied_from, rejected=rejected
        )
        self._ended[trial.candidate.kind] += 1
        self.lineages.finish(trial)
        self._twins.finish(trial)
        self.proposers.budget.finish(trial)
        if rejected:
            self.constraint_filter.remember(trial)
        self.proposers.observe(trial)
        self.on_outcome(trial)
        return trial

    def _next_known(self) -> Candidate | None:
        for origin, genotype in self._known.items():
            if origin not in self._origins:
                channels = known_channels(self.config, genotype, self.constraint_filter.count)
                return Candidate(origin=origin, genotype=genotype, channels=channels)
        return None

    def _next_confirmation(self) -> Candidate | None:
        confirmation = self._confirmation()
        trial = None if confirmation is None else confirmation.next()
        if trial is None:
            return None
        neck = trial.candidate
        return Candidate(origin=f"{CONFIRM_PREFIX}{trial.number}", genotype=neck.genotype, channels=neck.channels)

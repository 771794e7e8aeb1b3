"""What a search tries and in which order, and what becomes of it in the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from controllers import CONTROLLERS, Controller, Outcome, Proposal, RandomController
from nas.configuration import ConfigError
from nas.search.config import SearchConfig, build_space
from nas.search.journal import KNOWN_PREFIX, RANDOM, SEARCH, Candidate, Journal, Trial
from search_space import Choice, SearchSpace, known_genotype


class Plan:
    """First the known necks, then the random baseline, then what the controller proposes.

    Built from the journal, so that a search goes on where it stopped: finished trials are told to the controllers
    in the order in which they finished, trials cut off with their process are run first, under their numbers.

    Args:
        on_outcome: called with every trial that finishes, after it is in the journal.
    """

    def __init__(self, config: SearchConfig, journal: Journal, on_outcome: Callable[[Trial], None]) -> None:
        self.config = config
        self.journal = journal
        self.on_outcome = on_outcome
        self.space = build_space(config)
        self.controllers = {SEARCH: build_controller(config, self.space), RANDOM: _baseline(config, self.space)}
        trials = journal.trials()
        self._candidates = {trial.number: trial.candidate for trial in trials}
        self._interrupted = deque(trial.number for trial in trials if trial.state == "running")
        self._running: dict[str, int] = {}
        self._parked: dict[str, list[int]] = {}
        self._done = {
            trial.candidate.genotype.fingerprint: trial
            for trial in trials
            if trial.state == "complete" and trial.copied_from is None
        }
        for origin, controller in self.controllers.items():
            _replay(controller, [trial for trial in trials if trial.candidate.origin == origin])
        self._space_choices = _fixed_choices(self.space)

    def total(self) -> int:
        """Trials that the search will have when it is done."""
        return max(self.config.total_trials, len(self._candidates))

    def next(self) -> tuple[int, Candidate] | None:
        """Number and candidate of the next trial to train, or None when nothing is left to start.

        A candidate that computes the same function as a finished one gets that result at once and is passed over; one
        that computes the same as a trial in work waits for that result.
        """
        while (number := self._next_number()) is not None:
            fingerprint = self._candidates[number].genotype.fingerprint
            if (twin := self._done.get(fingerprint)) is not None:
                self._finish(number, twin.reward, twin.metrics, copied_from=twin.number)
            elif fingerprint in self._running:
                self._parked.setdefault(fingerprint, []).append(number)
            else:
                self._running[fingerprint] = number
                return number, self._candidates[number]
        return None

    def complete(self, number: int, reward: float, metrics: Mapping[str, Any]) -> None:
        """A trial was trained and scored."""
        self._finish(number, reward, metrics)
        for copy in self._waiting(number):
            self._finish(copy, reward, metrics, copied_from=number)

    def fail(self, number: int, error: str) -> None:
        """A trial has no score; the reason goes into the journal, and the search goes on."""
        self._finish(number, None, {}, error=error)
        for copy in self._waiting(number):
            self._finish(copy, None, {}, error=f"the same function as trial {number}, which failed: {error}")

    def _waiting(self, number: int) -> list[int]:
        """Trials parked for the result of one that is now finished."""
        fingerprint = self._candidates[number].genotype.fingerprint
        self._running.pop(fingerprint, None)
        return self._parked.pop(fingerprint, [])

    def _next_number(self) -> int | None:
        if self._interrupted:
            return self._interrupted.popleft()
        if (candidate := self._propose()) is None:
            return None
        number = self.journal.add(candidate, space_choices=self._space_choices)
        self._candidates[number] = candidate
        return number

    def _finish(
        self,
        number: int,
        reward: float | None,
        metrics: Mapping[str, Any],
        *,
        error: str | None = None,
        copied_from: int | None = None,
    ) -> None:
        candidate = self._candidates[number]
        state = "failed" if reward is None else "complete"
        self.journal.finish(number, state, reward, metrics, error=error, copied_from=copied_from)  # type: ignore[arg-type]
        trial = self.journal.trials()[number]
        if reward is not None and copied_from is None:
            self._done[candidate.genotype.fingerprint] = trial
        if (controller := self.controllers.get(candidate.origin)) is not None:
            controller.observe([_outcome(trial)])
        self.on_outcome(trial)

    def _propose(self) -> Candidate | None:
        seen = {candidate.origin for candidate in self._candidates.values()}
        for name in self.config.known:
            if KNOWN_PREFIX + name not in seen:
                genotype = known_genotype(name, self.config.proxy.neck.levels)
                return Candidate(origin=KNOWN_PREFIX + name, genotype=genotype)
        for origin, limit in ((RANDOM, self.config.random_trials), (SEARCH, self.config.trials)):
            controller = self.controllers[origin]
            if controller.num_proposed < limit:
                (proposal,) = controller.propose(1)
                return Candidate(
                    origin=origin, genotype=proposal.genotype, proposal=proposal.id, choices=proposal.choices
                )
        return None


def build_controller(config: SearchConfig, space: SearchSpace) -> Controller:
    """The configured controller.

    Raises:
        ConfigError: for options that it does not take, or initial necks outside the space.
    """
    make = CONTROLLERS[config.controller.name]
    try:
        initial = [known_genotype(name, config.proxy.neck.levels) for name in config.controller.initial]
        return make(space, seed=config.seed, initial=initial, **config.controller.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"controller {config.controller.name} (its options or initial necks): {error}") from error


def _baseline(config: SearchConfig, space: SearchSpace) -> Controller:
    """Random search with a seed of its own, so that it draws other candidates than the search does."""
    return RandomController(space, seed=config.seed + 1_000_003)


def _replay(controller: Controller, trials: list[Trial]) -> None:
    proposals = sorted((_proposal(trial) for trial in trials), key=lambda proposal: proposal.id)
    finished = [trial for trial in trials if trial.state != "running"]
    finished.sort(key=lambda trial: trial.order or 0)
    controller.replay(proposals, [_outcome(trial) for trial in finished])


def _proposal(trial: Trial) -> Proposal:
    assert trial.candidate.proposal is not None
    return Proposal(trial.candidate.proposal, trial.candidate.genotype, dict(trial.candidate.choices))


def _outcome(trial: Trial) -> Outcome:
    return Outcome(_proposal(trial), trial.reward, trial.state, trial.metrics)  # type: ignore[arg-type]


def _fixed_choices(space: SearchSpace) -> dict[str, tuple[Choice, ...]]:
    """Every decision's fixed choices, by walking one sequence: the names are the same in all of them."""
    choices: dict[str, Choice] = {}
    fixed = {}
    while (decision := space.next_decision(choices)) is not None:
        fixed[decision.name] = decision.choices
        choices[decision.name] = decision.allowed[0]
    return fixed

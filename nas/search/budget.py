"""Budget of a search: limits, besides the number of trials, after which it proposes no more candidates."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_SECONDS, Float
from nas.search.records import RANDOM, SEARCH, Trial

HOUR = 3600.0
MISSED = 0.05
"""Share of a search's time that the times of its trials do not cover: starts of Ray, and gaps between trials."""
RECENT = 20
"""Number of latest trials whose median time predicts the time of the next one. Older trials may have taken longer,
because children that inherit weights are trained for fewer steps."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BudgetConfig:
    """Limits after which a search proposes no more candidates; None is no limit.

    Trials that run at that time are finished. Then the confirmation follows, for which time is set aside. Known necks
    are always scored. `SearchConfig.trials` also applies: the limit that is reached first ends the proposals.
    """

    hours: Float | None = Field(default=None, gt=0, le=MAX_SECONDS / HOUR)
    """Hours during which trials of the search run. Pauses between two starts do not count."""

    gpu_hours: Float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    """Hours of all trials together, times the GPUs of each trial (`resources.gpus`)."""

    until: Float | None = None
    """Reward to reach. Once a candidate has this reward, no more candidates are proposed. Known necks among the
    proposals do not count."""

    @property
    def is_set(self) -> bool:
        return (self.hours, self.gpu_hours, self.until) != (None, None, None)


class Budget:
    """Remaining budget of a search, computed from the trials of the journal and the time since `start`.

    Args:
        gpus: GPUs of each trial.
        trainings: number of trainings of the confirmation, for which time is set aside.
        steps: steps of a whole training; None: those of the longest trial so far.
        trials: trials of the journal so far.
        clock: function that returns seconds, of which only differences count; None: count only the time of the trials,
            for a search that is not running.
    """

    def __init__(
        self,
        config: BudgetConfig,
        gpus: float,
        trainings: int,
        steps: int | None,
        trials: Iterable[Trial],
        clock: Callable[[], float] | None = time.monotonic,
    ) -> None:
        self._config = config
        self._gpus = gpus
        self._trainings = trainings
        self._steps = steps
        self._longest = 0.0
        self._stopped: list[float] = []
        self._known: set[str] = set()
        self._busy = 0.0
        self._in_work: dict[int, float] = {}
        self._best: float | None = None
        self._latest: deque[float] = deque(maxlen=RECENT)
        self._spent = False
        trials = list(trials)
        self._worked_before = worked_seconds(trials)
        self._clock = clock
        self._start: float | None = None
        for trial in trials:
            self.finish(trial)
        self._spent = self._was_spent(trials)

    @property
    def is_spent(self) -> bool:
        """True if no more candidates are to be proposed. It stays true until the next start."""
        if not self._spent and self._config.is_set:
            self._spent = self._is_reached() or (self.more is not None and self.more < 1)
        return self._spent

    @property
    def more(self) -> int | None:
        """Number of further candidates that the budget has time for, besides the confirmation; None if unknown."""
        limits = []
        if self._latest:
            seconds = statistics.median(self._latest)
            passed = self._passed
            ahead = sum(max(0.0, seconds - each) for each in passed)
            if self._config.hours is not None:
                limits.append(((self._config.hours * HOUR - self._worked) * self._at_once - ahead) / seconds)
            if self._config.gpu_hours is not None and self._gpus:
                busy = self._busy + sum(passed)
                limits.append((self._config.gpu_hours * HOUR / self._gpus - busy - ahead) / seconds)
        elif self._config.hours is not None and self._worked >= self._config.hours * HOUR:
            return 0
        return int(max(0.0, min(limits) - self._trainings)) if limits else None

    @property
    def trainings_saved(self) -> int:
        """Whole trainings that could be made of the steps that rungs saved on random candidates."""
        whole = self._longest if self._steps is None else self._steps
        return int(sum(max(0.0, whole - steps) for steps in self._stopped) // whole) if whole else 0

    def start(self) -> None:
        """Start the clock: trials run from now on."""
        if self._clock is not None and self._start is None:
            self._start = self._clock()

    def begin(self, number: int) -> None:
        """A trial is handed out."""
        if self._clock is not None:
            self._in_work[number] = self._clock()

    def finish(self, trial: Trial) -> None:
        """Record a finished trial of the journal."""
        self._in_work.pop(trial.number, None)
        seconds = trial.metrics.get("seconds")
        if seconds is not None and trial.copied_from is None and seconds > 0:
            self._busy += seconds
            self._latest.append(seconds)
        if trial.candidate.is_known:
            self._known.add(trial.candidate.genotype.fingerprint)
        self._count_steps(trial)
        is_new = trial.candidate.origin in (SEARCH, RANDOM) and trial.candidate.genotype.fingerprint not in self._known
        if is_new and trial.reward is not None:
            self._best = trial.reward if self._best is None else max(self._best, trial.reward)

    def _count_steps(self, trial: Trial) -> None:
        if (steps := trial.metrics.get("steps")) is None or trial.copied_from is not None:
            return
        if trial.state == "complete":
            self._longest = max(self._longest, steps)
        elif trial.state == "stopped" and trial.candidate.origin == RANDOM:
            self._stopped.append(steps)

    @property
    def _passed(self) -> list[float]:
        """Seconds that each trial in work has taken so far."""
        now = 0.0 if self._clock is None else self._clock()
        return [now - begun for begun in self._in_work.values()]

    @property
    def _worked(self) -> float:
        if self._clock is None or self._start is None:
            return self._worked_before
        return self._worked_before + self._clock() - self._start

    @property
    def _at_once(self) -> float:
        """Average number of trials that run at once, at least one."""
        return max(1.0, (self._busy + sum(self._passed)) / self._worked) if self._worked > 0 else 1.0

    def _was_spent(self, trials: list[Trial]) -> bool:
        """True if an earlier start of the search had already spent the budget.

        The times of the trials leave out the starts of Ray, so a spent budget seems to have some time left. The budget
        counts as spent if the remaining time is no more than `MISSED` allows for, and if the confirmation had begun or
        the search is not running.
        """
        if not self._config.is_set:
            return False
        confirms = [trial.candidate.kind == "confirmation" for trial in trials]
        if self._clock is None and confirms[-1:] == [True]:
            return True
        is_over = self._clock is None or any(confirms)
        return is_over and bool(self._latest) and self.more is not None and self.more <= self._missed

    @property
    def _missed(self) -> float:
        """Number of trials that fit into the share `MISSED` of the budget."""
        seconds = statistics.median(self._latest)
        hours = self._config.hours or (self._config.gpu_hours or 0.0) / (self._gpus or 1.0)
        return max(1.0, MISSED * hours * HOUR * self._at_once / seconds)

    def _is_reached(self) -> bool:
        until = self._config.until
        return until is not None and self._best is not None and self._best >= until


def worked_seconds(trials: Iterable[Trial]) -> float:
    """Seconds during which at least one of the trials ran."""
    spans = sorted(
        (trial.ended - trial.metrics["seconds"], trial.ended)
        for trial in trials
        if trial.ended is not None and trial.metrics.get("seconds") is not None and trial.copied_from is None
    )
    worked, until = 0.0, float("-inf")
    for begin, end in spans:
        worked += max(0.0, end - max(begin, until))
        until = max(until, end)
    return worked

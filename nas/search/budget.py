"""Budget of a search: when it proposes no further candidates, besides the number of its trials."""

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
"""Share of a search's time that the times of its trials may miss: starts of Ray, and moments between two trials."""
RECENT = 20
"""Latest trials whose median time stands for the next one: children that inherit take less than their ancestors."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BudgetConfig:
    """Limits after which a search proposes nothing more; None is no limit.

    What is in work then is finished, and the confirmation follows, for which time is set aside. Known necks are always
    scored. `SearchConfig.trials` holds as well: whichever comes first ends the proposals.
    """

    hours: Float | None = Field(default=None, gt=0, le=MAX_SECONDS / HOUR)
    """Time of the whole search, in which trials were in work; pauses between two starts do not count."""

    gpu_hours: Float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    """Time of all trials together, times the GPUs of each (`resources.gpus`)."""

    until: Float | None = None
    """Reward: the first candidate that is observed to have it is the last to be proposed."""

    @property
    def is_set(self) -> bool:
        return (self.hours, self.gpu_hours, self.until) != (None, None, None)


class Budget:
    """Rest of the budget, from the trials of the journal and the time since `start`.

    Args:
        gpus: of each trial.
        trainings: of the confirmation, for which time is set aside.
        steps: of a whole training.
        trials: of the journal so far.
        clock: seconds, of which only differences count; None: the time of the trials alone, as for a search that is
            not running.
    """

    def __init__(
        self,
        config: BudgetConfig,
        gpus: float,
        trainings: int,
        steps: int,
        trials: Iterable[Trial],
        clock: Callable[[], float] | None = time.monotonic,
    ) -> None:
        self._config = config
        self._gpus = gpus
        self._trainings = trainings
        self._steps = steps
        self._saved = 0
        self._busy = 0.0
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
        """True if nothing more is to be proposed; it stays true until the next start."""
        if not self._spent and self._config.is_set:
            self._spent = self._is_reached() or (self.more is not None and self.more < 1)
        return self._spent

    @property
    def more(self) -> int | None:
        """Candidates that there is time for, the confirmation being set aside; None where nothing says."""
        limits = []
        if self._latest:
            seconds = statistics.median(self._latest)
            if self._config.hours is not None:
                limits.append((self._config.hours * HOUR - self._worked) * self._at_once / seconds)
            if self._config.gpu_hours is not None and self._gpus:
                limits.append((self._config.gpu_hours * HOUR / self._gpus - self._busy) / seconds)
        elif self._config.hours is not None and self._worked >= self._config.hours * HOUR:
            return 0
        return int(max(0.0, min(limits) - self._trainings)) if limits else None

    @property
    def steps_saved(self) -> int:
        """Training steps that rungs saved on random candidates."""
        return self._saved

    def start(self) -> None:
        """Trials are in work from now on."""
        if self._clock is not None and self._start is None:
            self._start = self._clock()

    def finish(self, trial: Trial) -> None:
        """Take in a trial of the journal that has finished."""
        seconds = trial.metrics.get("seconds")
        if seconds is not None and trial.copied_from is None and seconds > 0:
            self._busy += seconds
            self._latest.append(seconds)
        if trial.candidate.origin == RANDOM and trial.state == "stopped" and trial.copied_from is None:
            self._saved += max(0, self._steps - int(trial.metrics.get("steps", self._steps)))
        if trial.candidate.origin in (SEARCH, RANDOM) and trial.reward is not None:
            self._best = trial.reward if self._best is None else max(self._best, trial.reward)

    @property
    def _worked(self) -> float:
        if self._clock is None or self._start is None:
            return self._worked_before
        return self._worked_before + self._clock() - self._start

    @property
    def _at_once(self) -> float:
        """Trials in work at once, on average; one at least."""
        return max(1.0, self._busy / self._worked) if self._worked > 0 else 1.0

    def _was_spent(self, trials: list[Trial]) -> bool:
        """True if an earlier start had ended the proposals.

        The times of the trials leave out the starts of Ray, so that a spent budget seems to have some time left. It
        counts as spent if the confirmation had begun, or nothing runs, and no more is left than they may leave out.
        """
        confirms = [trial.candidate.kind == "confirmation" for trial in trials]
        if self._clock is None and confirms[-1:] == [True]:
            return True
        is_over = self._clock is None or any(confirms)
        return is_over and bool(self._latest) and self.more is not None and self.more <= self._missed

    @property
    def _missed(self) -> float:
        """Trials for which there would be time in `MISSED` of the budget."""
        seconds = statistics.median(self._latest)
        hours = self._config.hours or (self._config.gpu_hours or 0.0) / (self._gpus or 1.0)
        return max(1.0, MISSED * hours * HOUR * self._at_once / seconds)

    def _is_reached(self) -> bool:
        until = self._config.until
        return until is not None and self._best is not None and self._best >= until


def worked_seconds(trials: Iterable[Trial]) -> float:
    """Seconds in which one or more of the trials were in work."""
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

"""The engine's pool of workers in virtual time, on machines that come and go; and what arithmetic says of it."""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

HOUR = 3600.0
QUANTILES = 500
"""Quantiles of the trials' lengths, over which `on_paper` averages."""


@dataclass(frozen=True)
class Cluster:
    """Machines with one worker each, and what a trial takes. Times in seconds.

    Args:
        preemptions: of a machine per hour, at a constant rate.
        away: until another machine has taken the place of a preempted one and is ready.
        checkpoint: training between two checkpoints; None: a trial that loses its worker starts anew.
        saving: what a checkpoint takes.
        max_retries: as `ResourceConfig.max_retries`.
        mean, spread: of a trial's training: lognormal, the spread that of the logarithm.
        driver: of the driver alone, per trial that it hands out.
    """

    workers: int
    preemptions: float = 0.0
    away: float = 600.0
    checkpoint: float | None = None
    saving: float = 5.0
    max_retries: int = 2
    mean: float = HOUR
    spread: float = 0.2
    driver: float = 0.02

    def training(self, normal: float) -> float:
        """Seconds of a trial, from a standard normal number."""
        return self.mean * math.exp(self.spread * normal - self.spread**2 / 2)

    def segments(self, training: float) -> list[float]:
        """Lengths of the parts after each of which a trial can go on elsewhere; the last one ends it."""
        if self.checkpoint is None:
            return [training]
        saves = math.ceil(training / self.checkpoint) - 1
        return [self.checkpoint + self.saving] * saves + [training - saves * self.checkpoint]

    @property
    def kind(self) -> str:
        if not self.preemptions:
            return "no preemption"
        return "goes on from checkpoints" if self.checkpoint else "starts anew"


@dataclass
class _Job:
    """A trial that is not over; the first `reached` segments need not be done again."""

    proposal: Any
    segments: list[float]
    proposed_after: int
    reached: int = 0
    losses: int = 0

    @property
    def left(self) -> float:
        return sum(self.segments[self.reached :])


@dataclass(frozen=True)
class Timing:
    """Result of a simulated search; shares are of all workers' time from start to end.

    Attributes:
        wasted: share that went into work that was lost, and into trials that failed.
        away: share for which preempted machines had no successor.
        saving: share that finished trials' checkpoints took.
        idle: share that workers waited for a trial, at the end above all.
        driver: busy share of the driver.
        lost_work: mean seconds of work thrown away per preemption.
        overtaken: per trial, the outcomes observed between its proposal and its end.
    """

    hours: float
    wasted: float
    away: float
    saving: float
    idle: float
    driver: float
    losses: int
    failed: int
    lost_work: float
    overtaken: list[int] = field(repr=False)


class Simulation:
    """The engine's pool: a free worker gets a trial that lost its worker, else the next of the controller.

    Machines without a trial are not preempted; they are few before the end.

    Args:
        propose: gives the next trial.
        tell: is told of each trial when it ends, and whether it has a score.
    """

    def __init__(
        self,
        cluster: Cluster,
        trials: int,
        seed: int,
        propose: Callable[[], Any] = lambda: None,
        tell: Callable[[Any, bool], None] = lambda proposal, scored: None,
    ) -> None:
        self._cluster, self._trials, self._propose, self._tell = cluster, trials, propose, tell
        self._durations, self._fates = random.Random(f"durations {seed}"), random.Random(f"fates {seed}")
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self._again: deque[_Job] = deque()
        self._idle = cluster.workers
        self._proposed = self._started = self._losses = self._failed = 0
        self._driver_free = self._busy = self._useful = self._saving = self._away = self._lost_work = 0.0
        self._overtaken: list[int] = []

    def run(self) -> Timing:
        """Until every trial is finished or has lost too many workers."""
        now = 0.0
        self._assign(now)
        while len(self._overtaken) < self._trials:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
            self._assign(now)
        away = self._away - sum(at - now for at, _, _ in self._events)
        total = self._cluster.workers * now
        return Timing(
            hours=now / HOUR,
            wasted=(self._busy - self._useful - self._saving) / total,
            away=away / total,
            saving=self._saving / total,
            idle=(total - self._busy - away) / total,
            driver=self._started * self._cluster.driver / now,
            losses=self._losses,
            failed=self._failed,
            lost_work=self._lost_work / max(1, self._losses),
            overtaken=self._overtaken,
        )

    def _at(self, time: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), happen))

    def _assign(self, now: float) -> None:
        while self._idle and (self._again or self._proposed < self._trials):
            job = self._again.popleft() if self._again else self._next()
            self._idle -= 1
            self._started += 1
            self._driver_free = max(now, self._driver_free) + self._cluster.driver
            self._start(job, self._driver_free)

    def _next(self) -> _Job:
        self._proposed += 1
        segments = self._cluster.segments(self._cluster.training(self._durations.gauss(0, 1)))
        return _Job(self._propose(), segments, proposed_after=len(self._overtaken))

    def _start(self, job: _Job, start: float) -> None:
        """A machine's age says nothing about its end, so that is drawn anew with every trial."""
        rate, need = self._cluster.preemptions / HOUR, job.left
        life = self._fates.expovariate(rate) if rate else math.inf
        if life < need:
            self._at(start + life, lambda now: self._lose(job, life, now))
        else:
            self._at(start + need, lambda now: self._finish(job, need))

    def _finish(self, job: _Job, took: float) -> None:
        self._idle += 1
        self._busy += took
        saving = (len(job.segments) - 1) * self._cluster.saving
        self._saving += saving
        self._useful += sum(job.segments) - saving
        self._end(job, scored=True)

    def _lose(self, job: _Job, lived: float, now: float) -> None:
        self._losses += 1
        self._busy += lived
        self._away += self._cluster.away
        self._at(now + self._cluster.away, self._return)
        job.losses += 1
        while lived >= job.segments[job.reached]:
            lived -= job.segments[job.reached]
            job.reached += 1
        self._lost_work += lived
        if job.losses <= self._cluster.max_retries:
            self._again.append(job)
        else:
            self._failed += 1
            self._end(job, scored=False)

    def _return(self, now: float) -> None:
        self._idle += 1

    def _end(self, job: _Job, *, scored: bool) -> None:
        overtaken = len(self._overtaken) - job.proposed_after
        self._tell(job.proposal, scored)
        self._overtaken.append(overtaken)


@dataclass(frozen=True)
class Paper:
    """Results that `Simulation` should come to, by arithmetic.

    Attributes:
        losses: per trial.
        lost_work: seconds per loss.
        failed: chance that a trial loses `max_retries` + 1 workers.
        hours: of a search of many trials per worker, whose end does not count.
    """

    losses: float
    lost_work: float
    failed: float
    hours: float


def on_paper(cluster: Cluster, trials: int) -> Paper:
    """Means over the quantiles of a trial's length; where `Paper.failed` is small."""
    rate = cluster.preemptions / HOUR
    losses = lost = failed = takes = 0.0
    for index in range(QUANTILES):
        segments = cluster.segments(cluster.training(statistics.NormalDist().inv_cdf((index + 0.5) / QUANTILES)))
        chances = [1.0] + [0.0] * cluster.max_retries
        for length in segments:
            stays = math.exp(-rate * length)
            losses += (1 - stays) / stays
            lost += ((1 - stays) / rate - length * stays) / stays if rate else 0.0
            for number, chance in enumerate(chances):
                chances[number] = stays * chance + (1 - stays) * (chances[number - 1] if number else 0.0)
        failed += 1 - sum(chances)
        takes += sum(segments)
    seconds = (takes + lost + losses * cluster.away) / QUANTILES + cluster.driver
    each = lost / losses if losses else 0.0
    return Paper(losses / QUANTILES, each, failed / QUANTILES, seconds * trials / cluster.workers / HOUR)

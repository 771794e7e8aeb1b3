"""Output of a search while it runs: one line per trial, the expected cost and the actual one."""

from __future__ import annotations

import math
import platform
import statistics
import time
from typing import Self

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from nas.bounds import MAX_TRIALS
from nas.engine.scheduler import TrialScheduler
from nas.engine.usage import Usage
from nas.results.compare import cell_lines
from nas.results.labels import width_note
from nas.results.summary import COST_TITLES, TITLES, cell, cost_titles
from nas.results.time_left import latest_seconds, left_phrase, seconds_left
from nas.results.units import duration, resource_hours
from nas.search.config import SearchConfig
from nas.search.inheritance import INHERITED_FROM
from nas.search.proposing import staleness
from nas.search.records import SEARCH, Trial
from nas.search.standings import scored
from nas.terminal import console, shown
from nas.text import MESSAGE_LIMIT, plain
from nas.tracking.trackers import NO_TRACKERS, Trackers


class Progress:
    """Prints to the terminal: a line per trial, and where there is a terminal a bar below them.

    Used as a context, so that the bar is gone however the search ends.

    Args:
        trackers: get every trial with a reward, too.
        verbose: a second line per trial: all APs, latency, and what its cells compute.
    """

    def __init__(self, config: SearchConfig, trackers: Trackers = NO_TRACKERS, *, verbose: bool = False) -> None:
        self.config = config
        self._trackers = trackers
        self._verbose = verbose
        self._best = -math.inf
        self._shown = config.reward.shown
        self._done = 0
        self._failed = 0
        self._done_before = 0
        self._workers = 1
        self._per_trial: float | None = None
        self._start = time.monotonic()
        self._bar = Bar(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("waiting for the first worker", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def expect(self, scheduler: TrialScheduler, workers: int, estimate: float | None) -> None:
        """Print how long the trials left will take.

        Args:
            workers: trials at once.
            estimate: seconds per trial, for a search that has measured none yet.
        """
        self._done = self._done_before = scheduler.total - scheduler.left
        self._workers, self._start = workers, time.monotonic()
        measured = latest_seconds(scheduler.journal.trials())
        seconds = self._per_trial = statistics.median(measured) if measured else estimate
        is_endless = scheduler.left >= MAX_TRIALS
        amount = "trials until the budget is spent" if is_endless else f"{scheduler.left} trials to go"
        line = f"{amount}, {workers} at once"
        if seconds is not None and not is_endless:
            how = f"median of {len(measured)}" if measured else "estimated from a few steps"
            whole = duration(seconds_left(seconds, scheduler.left, workers))
            line += f"; {duration(seconds)} per trial ({how}): about {whole}"
            line += f", {resource_hours(self.config.resources, scheduler.left * seconds)}"
        console.print(line, soft_wrap=True)
        if (warning := staleness(scheduler.proposers.controllers[SEARCH], workers)) is not None:
            console.print(f"warning: {warning}", soft_wrap=True)
        self._bar.reset(
            self._task, total=scheduler.total, completed=self._done, description=shown(self._state(scheduler.total))
        )

    def finished(self, trial: Trial, scheduler: TrialScheduler) -> None:
        """Rejected candidates get no line: there may be many for each that is trained."""
        if trial.rejected:
            return
        if self._best == -math.inf:
            self._best = max((t.reward or 0.0 for t in scored(scheduler.journal.trials())), default=-math.inf)
        if trial in scored([trial]) and trial.reward is not None:
            self._best = max(self._best, trial.reward)
        if trial.reward is not None and trial.order is not None:
            self._trackers.log(trial.order, {"reward": trial.reward, "best": self._best, **trial.metrics})
        self._done += 1
        self._failed += trial.state == "failed"
        name = f"trial {trial.number} {trial.candidate.origin}"
        left = self._left(scheduler.total)
        line = f"[{self._done:3d}/{scheduler.total}] {name:23s} {self._result(trial)}{f'; {left}' if left else ''}"
        console.print(line, soft_wrap=True)
        if self._verbose:
            console.print(f"      {_details(trial)}", soft_wrap=True)
        self._bar.update(
            self._task, completed=self._done, total=scheduler.total, description=shown(self._state(scheduler.total))
        )

    def ended(self, usage: Usage) -> None:
        """Print the time that the search took."""
        self._bar.stop()
        lost = f"; {usage.lost} attempts were lost with their workers" if usage.lost else ""
        gpus = f", {', '.join(usage.gpus)}" if usage.gpus else ""
        hours = resource_hours(self.config.resources, usage.worker_seconds)
        console.print(
            f"took {duration(usage.seconds)}, {hours} on up to {usage.workers} workers "
            f"({platform.machine()}{gpus}){lost}",
            soft_wrap=True,
        )

    def _state(self, total: int) -> str:
        best = "" if self._best == -math.inf else f"best {self.config.reward.name} {self._shown(self._best)}"
        failed = f"{self._failed} failed" if self._failed else ""
        return ", ".join(filter(None, (f"{self._done}/{total} trials", best, failed, self._left(total))))

    def _left(self, total: int) -> str:
        """By the time that trials took since the start, or each of the first ones; empty at the end, and where nothing
        says how long one takes."""
        left, done = total - self._done, self._done - self._done_before
        if done >= 2 * self._workers:
            seconds = left * (time.monotonic() - self._start) / done
        elif self._per_trial is not None:
            seconds = seconds_left(self._per_trial, left, self._workers)
        else:
            return ""
        return left_phrase(seconds) if left > 0 else ""

    def _result(self, trial: Trial) -> str:
        if trial.reward is None:
            return f"failed: {plain(trial.error or '', MESSAGE_LIMIT)}"
        text = f"{self.config.reward.name} {self._shown(trial.reward):>5s}  "
        if trial.copied_from is not None:
            return text + f"the same function as trial {trial.copied_from}"
        seconds = f"{trial.metrics.get('seconds', 0):5.1f} s"
        if trial.state == "stopped":
            return text + f"stopped early, {seconds}"
        cost = " ".join(f"{cell(trial, name):>6s} {title}" for name, title in self._costs(trial))
        inherited = ", inherited" if INHERITED_FROM in trial.metrics else ""
        return text + f"best {self._shown(self._best):>5s}  {cost} {seconds}{width_note(trial)}{inherited}"

    def _costs(self, trial: Trial) -> list[tuple[str, str]]:
        """Costs that a trial has, with their units; of one's own ones the names."""
        own = {name: name for name in cost_titles(self.config) if name not in COST_TITLES}
        return [
            (name, title) for name, title in {**TITLES, **own}.items() if name in trial.metrics and name != "latency_ms"
        ]


def _details(trial: Trial) -> str:
    """Text that `--verbose` adds to a trial's line."""
    shown = [f"{name} {cell(trial, name)}" for name in ("AP50", "APs", "APm", "APl") if cell(trial, name) != "-"]
    latency = cell(trial, "latency_ms")
    facts = [*shown, *([f"{latency} ms"] if latency != "-" else [])]
    cells = "; ".join(cell_lines(trial.candidate.genotype))
    return f"{', '.join(facts)}: {cells}" if facts else cells

"""Overhead of the engine itself: a search over candidates that train in no time, or that only sleep."""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from experiments.benchmarks.results import write_result
from nas.data.config import DataConfig
from nas.engine.run import TrialPool, drive, run_search
from nas.engine.scheduler import TrialScheduler
from nas.engine.trial import Scored, TrialRequest
from nas.engine.usage import Usage
from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Trained
from nas.runs.journal import Journal
from nas.runs.run_directory import RunDirectory
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.records import Trial
from nas.workers.answers import Ready
from nas.workers.pool import Pool
from nas.workers.ray_session import Node, connected
from search_space import Genotype

Search = Callable[[SearchConfig, RunDirectory, "Notes"], None]

KIB_PER_MIB = 2**10
STAGES = 10


class Sleeper:
    """Sleeps for as many milliseconds as the configuration has steps; AP from the fingerprint."""

    def __init__(self, config: SearchConfig) -> None:
        self.seconds = config.proxy.steps / 1000

    def run(self, genotype: Genotype, seed: int, *callbacks: Any) -> Trained:
        time.sleep(self.seconds)
        return Trained({"AP": int(genotype.fingerprint, 16) % 10_000 / 100}, None)


def make_sleeper(config: SearchConfig) -> Sleeper:
    return Sleeper(config)


@dataclass(frozen=True)
class Measured:
    """One search.

    Attributes:
        wall: seconds from the call to the last outcome, start of Ray and workers included.
        busy: share of the slots' time from the first trial's start to the last one's end that trials slept.
        stages: per tenth of the trials, milliseconds of wall time per trial.
        memory: largest resident set of the driver so far at the end of each tenth, in MiB.
        journal: size of the journal in MiB.
    """

    trials: int
    slots: int
    seconds: float
    wall: float
    busy: float
    stages: list[float]
    memory: list[float]
    journal: float


class Notes:
    """Time and the driver's memory at each outcome."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.memory: list[float] = []

    def expect(self, scheduler: TrialScheduler, workers: int, estimate: float | None) -> None:
        pass

    def finished(self, trial: Trial, scheduler: TrialScheduler) -> None:
        self.times.append(time.perf_counter())
        self.memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB)

    def ended(self, usage: Usage) -> None:
        pass


class Crowd:
    """Many simulated workers in one process: each trial is a coroutine that sleeps."""

    async def prepare(self, *, estimate: bool) -> Ready:
        return Ready()

    async def run(self, request: TrialRequest, seconds: float) -> Scored:
        await asyncio.sleep(seconds)
        return Scored(metrics={"AP": request.number % 100})


class _Slot:
    """A worker of the crowd, as the pool sees it."""

    def __init__(self, crowd: Any, seconds: float) -> None:
        self.prepare = crowd.prepare
        self.run = _Run(crowd, seconds)


class _Run:
    def __init__(self, crowd: Any, seconds: float) -> None:
        self._crowd, self._seconds = crowd, seconds

    def remote(self, *arguments: Any) -> Any:
        return self._crowd.run.remote(*arguments, self._seconds)


def config_of(trials: int, slots: int, seconds: float) -> SearchConfig:
    return SearchConfig(
        name="engine",
        data=DataConfig(root="."),
        proxy=ProxyConfig(steps=round(1000 * seconds)),
        controller=ControllerConfig(name="evolution"),
        resources=ResourceConfig(workers=slots, cpus=1),
        known=(),
        confirm=ConfirmConfig(trainings=0),
        random_trials=0,
        trials=trials,
    )


def run_processes(config: SearchConfig, run: RunDirectory, notes: Notes) -> None:
    """The whole engine, a process per worker."""
    run_search(config, run, notes, make_task=make_sleeper)


def run_crowd(config: SearchConfig, run: RunDirectory, notes: Notes) -> None:
    """TrialScheduler, journal, controller and pool as in the engine; the workers are simulated."""
    slots, seconds = config.resources.workers or 1, config.proxy.steps / 1000
    scheduler = TrialScheduler(
        config, Journal(run.journal_file, writable=True), lambda trial: notes.finished(trial, scheduler)
    )
    with connected(replace(config.resources, workers=1), None):
        crowd = ray.remote(Crowd).options(max_concurrency=2 * slots).remote()
        pool: TrialPool = Pool(
            lambda _: _Slot(crowd, seconds), config.resources, lambda: [Node("0" * 56, "simulated", slots)]
        )
        drive(scheduler, pool, run, lambda: None)
        ray.kill(crowd)


KINDS: dict[Search, str] = {run_processes: "processes", run_crowd: "simulated"}


def measure(trials: int, slots: int, seconds: float, search: Search) -> Measured:
    config, notes = config_of(trials, slots, seconds), Notes()
    with TemporaryDirectory() as directory:
        run = RunDirectory(Path(directory) / "run")
        start = time.perf_counter()
        with run.claim(config):
            search(config, run, notes)
        journal = run.journal_file.stat().st_size / 2**20
    return summarised(notes, trials, slots, seconds, notes.times[-1] - start, journal)


def summarised(notes: Notes, trials: int, slots: int, seconds: float, wall: float, journal: float) -> Measured:
    times = notes.times
    marks = [len(times) * stage // STAGES for stage in range(STAGES)] + [len(times) - 1]
    return Measured(
        trials,
        slots,
        seconds,
        wall,
        seconds * (len(times) - 1) / (slots * (times[-1] - times[0] + seconds)),
        [1000 * (times[last] - times[first]) / max(1, last - first) for first, last in pairwise(marks)],
        [notes.memory[mark] for mark in marks[1:]],
        journal,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="engine", help="of the result files")
    parser.add_argument("--free", type=int, nargs="*", default=[1000, 10_000], help="trials that train in no time")
    parser.add_argument("--processes", type=int, nargs="*", default=[8], help="workers, for trials of a second")
    parser.add_argument("--simulated", type=int, nargs="*", default=[100, 200], help="the same, simulated workers")
    parser.add_argument("--per-slot", type=int, default=20, help="trials of a second per slot")
    arguments = parser.parse_args()
    jobs = [(trials, 2, 0.0, run_processes) for trials in arguments.free]
    jobs += [(slots * arguments.per_slot, slots, 1.0, run_processes) for slots in arguments.processes]
    jobs += [(slots * arguments.per_slot, slots, 1.0, run_crowd) for slots in arguments.simulated]
    runs, rows = [], []
    for trials, slots, seconds, search in jobs:
        runs.append(measure(trials, slots, seconds, search))
        rows.append(f"| {KINDS[search]} {row(runs[-1])}")
        print(rows[-1], flush=True)
    header = (
        "The whole engine: evolution, journal on disk, Ray; everything on this one machine. Trials return at once, or "
        "sleep\na second. Milliseconds of wall time per trial from the first outcome to the last. `processes`: real "
        "workers;\n`simulated`: all workers are coroutines of one process, since this machine has no room for more.\n\n"
        "| workers | trials | slots | s per trial | wall s | ms per trial | first tenth | last tenth | slots busy | "
        "driver MiB | journal MiB |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    body = header + "\n".join(rows)
    print(write_result(arguments.name, "Overhead of the engine", body, [asdict(run) for run in runs]))


def row(run: Measured) -> str:
    per_trial = statistics.mean(run.stages)
    return (
        f"| {run.trials} | {run.slots} | {run.seconds:g} | {run.wall:.1f} | {per_trial:.1f} | {run.stages[0]:.1f} "
        f"| {run.stages[-1]:.1f} | {100 * run.busy:.0f} % | {run.memory[-1]:.0f} | {run.journal:.1f} |"
    )


if __name__ == "__main__":
    main()

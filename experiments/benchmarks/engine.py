"""What the engine itself costs: a search over candidates that train in no time, or that only sleep."""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.benchmarks.results import write_result
from nas.data.config import DataConfig
from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Trained
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig
from nas.search.engine import run_search
from nas.search.plan import Plan
from nas.search.records import Trial
from nas.search.run_directory import RunDirectory
from nas.search.usage import Usage
from search_space import Genotype

KIB_PER_MIB = 2**10
STAGES = 10


class Sleeper:
    """Sleeps for as many milliseconds as the configuration has steps; AP from the fingerprint."""

    def __init__(self, config: SearchConfig) -> None:
        self.seconds = config.proxy.steps / 1000

    def run(self, genotype: Genotype, seed: int, *hooks: Any) -> Trained:
        time.sleep(self.seconds)
        return Trained({"AP": int(genotype.fingerprint, 16) % 10_000 / 100}, None)


def make_sleeper(config: SearchConfig) -> Sleeper:
    return Sleeper(config)


@dataclass(frozen=True)
class Measured:
    """One search.

    Attributes:
        wall: seconds from the call to the last outcome, start of Ray and workers included.
        steady: seconds from the first outcome to the last.
        busy: share of the slots' time between first and last outcome that trials slept.
        stages: per tenth of the trials, milliseconds of wall time per trial.
        memory: largest resident set of the driver so far at the end of each tenth, in MiB.
        journal: size of the journal in MiB.
    """

    trials: int
    slots: int
    seconds: float
    wall: float
    steady: float
    busy: float
    stages: list[float]
    memory: list[float]
    journal: float


class Notes:
    """Time and the driver's memory at each outcome."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.memory: list[float] = []

    def expect(self, plan: Plan, workers: int, estimate: float | None) -> None:
        pass

    def finished(self, trial: Trial, plan: Plan) -> None:
        self.times.append(time.perf_counter())
        self.memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB)

    def ended(self, usage: Usage) -> None:
        pass


def measure(trials: int, slots: int, seconds: float) -> Measured:
    config = SearchConfig(
        name="engine",
        data=DataConfig(root="."),
        proxy=ProxyConfig(steps=round(1000 * seconds)),
        controller=ControllerConfig(name="evolution"),
        resources=ResourceConfig(workers=slots, cpus=1),
        known=(),
        random_trials=0,
        trials=trials,
    )
    notes = Notes()
    times, memory = notes.times, notes.memory
    with TemporaryDirectory() as directory:
        run = RunDirectory(Path(directory) / "run")
        start = time.perf_counter()
        with run.claim(config):
            run_search(config, run, notes, make_task=make_sleeper)
        journal = run.journal_file.stat().st_size / 2**20
    steady = times[-1] - times[0]
    marks = [len(times) * stage // STAGES for stage in range(STAGES)] + [len(times) - 1]
    return Measured(
        trials,
        slots,
        seconds,
        times[-1] - start,
        steady,
        seconds * (len(times) - 1) / (slots * steady),
        [1000 * (times[last] - times[first]) / max(1, last - first) for first, last in pairwise(marks)],
        [memory[mark] for mark in marks[1:]],
        journal,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="engine", help="of the result files")
    parser.add_argument("--free", type=int, nargs="*", default=[1000, 10_000], help="trials that train in no time")
    parser.add_argument("--sleep", type=int, nargs="*", default=[8, 100], help="slots, for trials of a second")
    parser.add_argument("--per-slot", type=int, default=20, help="trials of a second per slot")
    arguments = parser.parse_args()
    jobs = [(trials, 2, 0.0) for trials in arguments.free]
    jobs += [(slots * arguments.per_slot, slots, 1.0) for slots in arguments.sleep]
    runs = []
    for job in jobs:
        runs.append(measure(*job))
        print(row(runs[-1]), flush=True)
    header = (
        "The whole engine: evolution, journal on disk, Ray's workers as processes of this one machine.\n`free` trials "
        "return at once, the others sleep a second. Milliseconds per trial between the first outcome and the last.\n\n"
        "| trials | slots | s per trial | wall s | ms per trial | first tenth | last tenth | slots busy | "
        "driver MiB | journal MiB |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    body = header + "\n".join(map(row, runs))
    print(write_result(arguments.name, "Overhead of the engine", body, [asdict(run) for run in runs]))


def row(run: Measured) -> str:
    per_trial = statistics.mean(run.stages)
    return (
        f"| {run.trials} | {run.slots} | {run.seconds:g} | {run.wall:.1f} | {per_trial:.1f} | {run.stages[0]:.1f} "
        f"| {run.stages[-1]:.1f} | {100 * run.busy:.0f} % | {run.memory[-1]:.0f} | {run.journal:.1f} |"
    )


if __name__ == "__main__":
    main()

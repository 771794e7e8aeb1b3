"""Many trainings for one command: what is said while they run, and where their results are kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nas.atomic_write import atomic_write
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import Result, TrainingJob
from nas.environment import environment
from nas.plain_json import dumps
from nas.results.units import duration
from nas.search.config import SearchConfig
from nas.search.resources import ResourceConfig
from nas.terminal import console

STORE = "trainings.jsonl"


def train(jobs: Sequence[TrainingJob], resources: ResourceConfig, out: Path, address: str | None) -> ResultStore:
    """Train what is not in `out` yet, and say how it gets on."""
    from nas.comparison.run_all import run_all

    store = ResultStore(out / STORE)
    with store.claim():
        left = [job for job in jobs if not store.metrics(job)]
        console.print(
            f"{len(jobs)} trainings, {len(left)} of them to do; results are kept in {store.path}, and the same "
            "command goes on with them",
            soft_wrap=True,
        )
        run_all(jobs, store, resources, _Progress(left), address=address)
    return store


def write_record(out: Path, name: str, config: SearchConfig, data: dict[str, Any]) -> Path:
    """Write results as JSON, with versions and hardware."""
    path = out / f"{name}.json"
    record = {"experiment": config.name, "environment": environment(), **data}
    atomic_write(path, dumps(record, indent=1) + "\n")
    return path


def make_table(title: str, *columns: str) -> Table:
    """The first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index)
    return table


def listed(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.1f}" for value in values)


class _Progress:
    """One line per training, with the time that is left by the steps that are."""

    def __init__(self, left: Sequence[TrainingJob]) -> None:
        self._start = time.monotonic()
        self._steps = sum(job.proxy.steps for job in left)
        self._done = 0

    def __call__(self, job: TrainingJob, result: Result, left: int) -> None:
        self._done += job.proxy.steps
        passed = time.monotonic() - self._start
        rest = passed / max(1, self._done) * (self._steps - self._done)
        said = f"failed: {result.error}" if result.ap is None else f"AP {result.ap:.1f}"
        more = f"; {left} left, about {duration(rest)}" if left else ""
        line = f"{job.label}, {job.proxy.steps} steps, seed {job.seed}: {said}{more}"
        console.print(line, soft_wrap=True)

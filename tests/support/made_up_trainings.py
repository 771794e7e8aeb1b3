"""Trainings that never were: a plan, and a store with scores as wished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from experiments.signs import smoke
from nas.comparison.check import CheckPlan, longer
from nas.comparison.necks import diverse_necks
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import Result, TrainingJob

CONFIG = replace(smoke(), proxy=replace(smoke().proxy, steps=100))


def plan(necks: int = 14, seeds: int = 2) -> CheckPlan:
    return CheckPlan(
        config=CONFIG,
        necks=diverse_necks(CONFIG, necks),
        proxy=CONFIG.proxy,
        reference=longer(CONFIG.proxy, 10),
        seeds=seeds,
        reference_seeds=seeds,
    )


def metrics(ap: float, seconds: float = 10.0) -> dict[str, float]:
    return {"AP": ap, "seconds": seconds, "seconds/loss": seconds / 4, "params": 5, "latency_ms": 1.0}


def filled(path: Path, jobs: list[TrainingJob], score: Callable[[TrainingJob], Result | None]) -> ResultStore:
    """A store with what `score` gives; None leaves a job out."""
    store = ResultStore(path / "trainings.jsonl")
    with store.claim():
        for job in jobs:
            if (result := score(job)) is not None:
                store.add(job, result)
    return store

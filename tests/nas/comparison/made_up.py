"""Trainings that never were: a plan, and a bank with scores as wished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from experiments.signs import smoke
from nas.comparison.bank import Bank
from nas.comparison.case import Case, Result
from nas.comparison.check import CheckPlan, longer
from nas.comparison.necks import diverse_necks

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


def filled(path: Path, cases: list[Case], score: Callable[[Case], Result | None]) -> Bank:
    """A bank with what `score` gives; None leaves a case out."""
    bank = Bank(path / "trainings.jsonl")
    with bank.claim():
        for case in cases:
            if (result := score(case)) is not None:
                bank.add(case, result)
    return bank

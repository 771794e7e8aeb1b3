"""Estimates of how long a search has yet to go."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from nas.results.units import duration
from nas.search.budget import RECENT
from nas.search.records import Trial


def latest_seconds(trials: Sequence[Trial]) -> list[float]:
    """Seconds of the latest trials that were trained."""
    trained = [trial for trial in trials if "seconds" in trial.metrics and trial.copied_from is None]
    return [trial.metrics["seconds"] for trial in trained[-RECENT:]]


def seconds_left(per_trial: float, left: int, workers: int) -> float:
    """Seconds until the last of the trials that are left has ended, several being trained at once."""
    return math.ceil(left / workers) * per_trial


def estimated_left(trials: Sequence[Trial], left: int, workers: int) -> float | None:
    """`seconds_left` by the median of the latest trials; None where none was trained yet."""
    seconds = latest_seconds(trials)
    return seconds_left(statistics.median(seconds), left, workers) if seconds else None


def left_phrase(seconds: float) -> str:
    return f"about {duration(seconds)} left"

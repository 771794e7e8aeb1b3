"""Times as people say them."""

from __future__ import annotations

from nas.search.resources import ResourceConfig


def duration(seconds: float) -> str:
    """Such as `40 s`, `7 min`, `3.2 h`, `12 days`."""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def resource_hours(resources: ResourceConfig, worker_seconds: float) -> str:
    """Time on GPUs, or on CPU cores for workers without GPUs, such as `3.2 GPU-hours`."""
    kind, share = ("GPU", resources.gpus) if resources.gpus else ("CPU", resources.cpus)
    hours = worker_seconds * share / 3600
    return f"{hours:.1f} {kind}-hours" if hours >= 1 else f"{60 * hours:.1f} {kind}-minutes"

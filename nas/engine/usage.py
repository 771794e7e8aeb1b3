"""Listener that a search reports to: progress, trials and the resources used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nas.engine.scheduler import TrialScheduler
    from nas.search.records import Trial


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Resources that one start of a search used.

    Args:
        seconds: from start to end.
        worker_seconds: of all trials together, lost attempts included.
        lost: attempts that lost their worker.
        workers: most trials at once.
        gpus: kinds of accelerators in the cluster.
    """

    seconds: float
    worker_seconds: float
    lost: int
    workers: int
    gpus: tuple[str, ...] = ()


class Listener(Protocol):
    """Is called in the process that drives the search."""

    def expect(self, scheduler: TrialScheduler, workers: int, estimate: float | None) -> None:
        """Called once, when the first worker is ready; see `Progress.expect`."""

    def finished(self, trial: Trial, scheduler: TrialScheduler) -> None:
        """Called with each trial that finishes, after it is in the journal."""

    def ended(self, usage: Usage) -> None:
        """Called when the workers are gone, however the search ended."""

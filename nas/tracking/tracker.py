"""Contract of a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """The run that is tracked.

    Args:
        id: the same for every start of the same run, and different for all others.
        name: of the search or training.
        directory: of the run, on this machine.
        config: plain data, without passwords.
    """

    id: str
    name: str
    directory: Path
    config: Mapping[str, Any]


class Tracker(Protocol):
    """A place that runs are logged to; made without arguments, and called in the process that drives the run.

    What it raises is a warning, after which it hears nothing more of that run: no run ends because of its tracker.
    """

    def start(self, run: Tracked) -> None:
        """Called once, before anything else; a run that was stopped and goes on starts again, with the same id."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """A finished trial at its number in the order of finishing, or an epoch; finite numbers only."""
        ...

    def artifact(self, path: Path) -> None:
        """A file of the finished run: the report, the picture of the best neck."""
        ...

    def end(self) -> None:
        """Called once, however the run ended."""
        ...

"""Interface of trackers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """Run that is tracked.

    Args:
        id: identifier that is the same for every start of one run, and different for all other runs.
        name: name of the search or training.
        directory: run directory on this machine.
        config: configuration as plain data, without passwords.
    """

    id: str
    name: str
    directory: Path
    config: Mapping[str, Any]


class Tracker(Protocol):
    """Tracker: logs runs. It is made without arguments, and called in the process that drives the run.

    If it raises an exception, there is a warning, and it is not called again for that run. The run itself continues.
    """

    def start(self, run: Tracked) -> None:
        """Called first, once per start of the run. A run that continues after a stop is started again with the same
        id."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the finite metrics of a finished trial, with its place in the order of finishing, or of an epoch."""
        ...

    def artifact(self, path: Path) -> None:
        """Log a file of the finished run, such as the report or the picture of the best neck."""
        ...

    def end(self) -> None:
        """Called once, however the run ended."""
        ...

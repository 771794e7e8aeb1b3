"""Trackers of a run: opened before it, told of what happens, and silenced when they fail."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.configuration import ConfigError, to_dict
from nas.credentials import without_credentials_in
from nas.references import load_object, require_known
from nas.terminal import console
from nas.text import MESSAGE_LIMIT, plain
from nas.tracking.services import EXTRAS, TRACKERS
from nas.tracking.tracker import Tracked, Tracker

METHODS = ("start", "log", "artifact", "end")


class Trackers:
    """Those that are still listening."""

    def __init__(self, listening: dict[str, Tracker]) -> None:
        self._listening = listening

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Send the metrics that are finite numbers to all."""
        numbers = {name: float(value) for name, value in metrics.items() if _is_finite(value)}
        self.each(lambda tracker: tracker.log(step, numbers))

    def artifact(self, path: Path) -> None:
        """A file, if it is there."""
        if path.is_file():
            self.each(lambda tracker: tracker.artifact(path))

    def each(self, tell: Callable[[Tracker], None]) -> None:
        """Call one method of all; one that raises hears nothing more."""
        for name, tracker in list(self._listening.items()):
            try:
                tell(tracker)
            except Exception as error:
                del self._listening[name]
                reason = plain(f"{type(error).__name__}: {error}", MESSAGE_LIMIT)
                console.print(f"warning: the tracker {name} failed and is told nothing more: {reason}", soft_wrap=True)


NO_TRACKERS = Trackers({})


def made(names: Sequence[str]) -> dict[str, Tracker]:
    """
    Args:
        names: of `TRACKERS`, or references to classes.

    Raises:
        ConfigError: for one whose package is not installed, or that is none.
    """
    return {name: _made(name) for name in dict.fromkeys(names)}


@contextmanager
def tracked(trackers: dict[str, Tracker], config: Any, directory: Path, key: str) -> Iterator[Trackers]:
    """The trackers of a run, which end with the context.

    Args:
        trackers: as `made` gives them.
        config: dataclass with a `name`.
        directory: of the run.
        key: of the run, the same for every start.
    """
    listening = Trackers(dict(trackers))
    run = Tracked(
        id=hashlib.sha256(key.encode()).hexdigest()[:16],
        name=config.name,
        directory=directory,
        config=without_credentials_in(to_dict(config)),
    )
    listening.each(lambda tracker: tracker.start(run))
    try:
        yield listening
    finally:
        listening.each(lambda tracker: tracker.end())


def _made(name: str) -> Tracker:
    if name in TRACKERS:
        if name in EXTRAS and importlib.util.find_spec(name) is None:
            raise ConfigError(f"track: {name} is not installed; pip install 'nas-fpn[{name}]'")
        return TRACKERS[name]()
    try:
        require_known("track", name, TRACKERS, "my_file.py:MyTracker")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    try:
        tracker: Tracker = load_object(name)()
    except ConfigError as error:
        raise ConfigError(f"track: {error}") from error
    except Exception as error:
        raise ConfigError(f"track: {name} could not be made: {type(error).__name__}: {error}") from error
    if missing := [method for method in METHODS if not callable(getattr(tracker, method, None))]:
        raise ConfigError(f"track: {name} is not a tracker: it lacks {', '.join(missing)}; see nas.tracking.tracker")
    return tracker


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

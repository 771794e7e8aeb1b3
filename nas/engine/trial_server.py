"""Server that workers on any machine ask while a trial runs: whether it goes on, and for its checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.atomic_write import atomic_write
from nas.search.records import Trial
from nas.search.stopping import RUNG_METRIC, Rungs, StoppingConfig


class TrialServer:
    """Lives beside the driver, so that no other machine needs to see the run directory.

    Args:
        stopping: rungs and how many pass them.
        checkpoints: directory for checkpoints of trials in work.
        trials: of the journal so far, for what they scored at the rungs.
    """

    def __init__(self, stopping: StoppingConfig, checkpoints: Path, trials: Iterable[Trial]) -> None:
        self._rungs = Rungs(stopping)
        self._checkpoints = checkpoints
        for trial in trials:
            if trial.candidate.is_limited and trial.copied_from is None:
                self.remember(trial.number, trial.metrics)

    def stops(self, number: int, step: int, reward: float) -> bool:
        """See `Rungs.stops`."""
        return self._rungs.stops(number, step, reward)

    def remember(self, number: int, rewards: Mapping[str, float]) -> None:
        """Take in a trial's rewards at the rungs of an earlier attempt, by the names in its metrics."""
        for name, reward in rewards.items():
            if name.startswith(RUNG_METRIC):
                self._rungs.remember(number, int(name.removeprefix(RUNG_METRIC)), reward)

    def save_checkpoint(self, key: str, data: bytes) -> None:
        """Durable and whole when this returns, or not there."""
        self._checkpoints.mkdir(exist_ok=True)  # not the run directory: one that is gone is not made anew
        path = checkpoint_file(self._checkpoints, key)
        atomic_write(path, data)

    def load_checkpoint(self, key: str) -> bytes | None:
        """The latest, or None."""
        path = checkpoint_file(self._checkpoints, key)
        return path.read_bytes() if path.is_file() else None


def checkpoint_file(directory: Path, key: str) -> Path:
    return directory / f"{key}.checkpoint"

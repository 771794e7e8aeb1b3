"""Trained weights of the best candidates, as files in the run directory."""

from __future__ import annotations

import shutil
from bisect import insort
from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.search.records import Trial
from nas.search.run_directory import RunDirectory, RunDirectoryError


class KeptWeights:
    """Known necks and confirmations keep their weights, and of the other candidates the best by reward; of equals the
    earlier.

    Directories that a killed driver left, and that belong to none of these, are deleted.

    Args:
        keep: how many of the others.
        trials: of the journal so far.
    """

    def __init__(self, run: RunDirectory, keep: int, trials: Iterable[Trial]) -> None:
        self._run = run
        self._keep = keep
        self._best: list[tuple[float, int]] = []
        self._spent: set[Path] = set(run.trials.iterdir()) if run.trials.is_dir() else set()
        for trial in trials:
            if trial.state == "complete" and trial.copied_from is None:
                if not trial.candidate.is_limited:
                    self._spent.discard(run.trial(trial.number))
                else:
                    self._rank(trial.number, trial.reward or 0.0)
        self._spent -= {run.trial(number) for _, number in self._best}
        self.clear()

    def add(self, number: int, files: Mapping[str, bytes], *, reward: float, keep: bool) -> None:
        """Write the files of a trial that is about to be recorded, if it is to be kept.

        Args:
            keep: whatever its reward.

        Raises:
            RunDirectoryError: if they cannot be written.
        """
        displaced = None if keep else self._rank(number, reward)
        if displaced != number:
            self._write(number, files)
        if displaced is not None:
            self._spent.add(self._run.trial(displaced))

    def clear(self) -> None:
        """Delete what was displaced; to be called when what displaced it is recorded."""
        for directory in self._spent:
            shutil.rmtree(directory, ignore_errors=True)
        self._spent.clear()

    def _write(self, number: int, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        directory = self._run.trial(number)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (directory / name).write_bytes(content)
        except OSError as error:
            raise RunDirectoryError(
                f"{directory} cannot be written: {error}; make room, and run the same command again to go on"
            ) from error

    def _rank(self, number: int, reward: float) -> int | None:
        """Take a trial in; the number of the one that falls out."""
        insort(self._best, (-reward, number))
        return self._best.pop()[1] if len(self._best) > self._keep else None

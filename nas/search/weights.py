"""Trained weights of the best candidates, as files in the run directory."""

from __future__ import annotations

import shutil
from bisect import insort
from collections.abc import Iterable, Mapping

from nas.search.records import Trial
from nas.search.run_directory import RunDirectory, RunDirectoryError


class KeptWeights:
    """Known necks keep their weights, and of the other candidates the best by reward; of equals the earlier.

    Args:
        keep: how many of the others.
        trials: of the journal so far.
    """

    def __init__(self, run: RunDirectory, keep: int, trials: Iterable[Trial]) -> None:
        self._run = run
        self._keep = keep
        self._best: list[tuple[float, int]] = []
        for trial in trials:
            if trial.state == "complete" and trial.copied_from is None and not trial.candidate.is_known:
                self._rank(trial.number, trial.reward or 0.0)

    def add(self, number: int, files: Mapping[str, bytes], *, reward: float, is_known: bool) -> None:
        """Write the files of a trial that is about to be recorded, if it is to be kept; delete those it displaces.

        Raises:
            RunDirectoryError: if they cannot be written.
        """
        displaced = None if is_known else self._rank(number, reward)
        if not files or displaced == number:
            return
        self._write(number, files)
        if displaced is not None:
            shutil.rmtree(self._run.trial(displaced), ignore_errors=True)

    def _write(self, number: int, files: Mapping[str, bytes]) -> None:
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

"""Trained weights of the best candidates, as files in the run directory."""

from __future__ import annotations

import logging
import shutil
from bisect import insort
from collections.abc import Iterable, Mapping

from nas.runs.copies import UNKNOWN, new_beside
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.search.records import Trial

_log = logging.getLogger(__name__)


class KeptWeights:
    """Known necks and confirmations keep their weights, and of the other candidates the best by reward; of equals the
    earlier. A candidate that is a known neck comes after all new ones.

    What a killed driver left of other trials in the journal is deleted. Weights of trials that are not in the journal
    are moved aside: they may be all that is left of a lost journal, and are not those of a trial that gets the number.

    Args:
        keep: how many of the others.
        trials: of the journal so far.

    Raises:
        RunDirectoryError: if they cannot be moved.
    """

    def __init__(self, run: RunDirectory, keep: int, trials: Iterable[Trial]) -> None:
        self._run = run
        self._keep = keep
        self._best: list[tuple[bool, float, int]] = []
        trials = list(trials)
        self._spent = {run.trial(trial.number) for trial in trials}
        self._move_unknown()
        published = {trial.candidate.genotype.fingerprint for trial in trials if trial.candidate.is_known}
        for trial in trials:
            if trial.state == "complete" and trial.copied_from is None:
                if not trial.candidate.is_limited:
                    self._spent.discard(run.trial(trial.number))
                else:
                    self._rank(trial.number, trial.reward or 0.0, trial.candidate.genotype.fingerprint in published)
        self._spent -= {run.trial(number) for *_, number in self._best}
        self.clear()

    def add(
        self, number: int, files: Mapping[str, bytes], *, reward: float, keep: bool, is_published: bool = False
    ) -> None:
        """Write the files of a trial that is about to be recorded, if it is to be kept.

        Args:
            keep: whatever its reward.
            is_published: whether it is the function of a known neck.

        Raises:
            RunDirectoryError: if they cannot be written.
        """
        displaced = None if keep else self._rank(number, reward, is_published)
        if displaced != number:
            self._write(number, files)
        if displaced is not None:
            self._spent.add(self._run.trial(displaced))

    def clear(self) -> None:
        """Delete what was displaced; to be called when what displaced it is recorded."""
        for directory in self._spent:
            shutil.rmtree(directory, ignore_errors=True)
        self._spent.clear()

    def _move_unknown(self) -> None:
        """Move aside what is named like the weights of a trial that is not in the journal."""
        found = self._run.trials.iterdir() if self._run.trials.is_dir() else ()
        unknown = sorted(path for path in found if path.name.isdecimal() and path not in self._spent)
        if not unknown:
            return
        try:
            aside = new_beside(self._run.trials, UNKNOWN)
            for path in unknown:
                path.rename(aside / path.name)
        except OSError as error:
            raise RunDirectoryError(f"{self._run.path} cannot be written to: {error}") from error
        _log.warning(
            "%s of trials that are not in the journal (%s) were moved to %s",
            self._run.trials,
            ", ".join(path.name for path in unknown),
            aside,
        )

    def _write(self, number: int, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        directory = self._run.trial(number)
        try:
            self._run.trials.mkdir(exist_ok=True)  # not the run directory: one that is gone is not made anew
            directory.mkdir(exist_ok=True)
            for name, content in files.items():
                (directory / name).write_bytes(content)
        except OSError as error:
            raise RunDirectoryError(
                f"{directory} cannot be written: {error}; make room, and run the same command again to go on"
            ) from error

    def _rank(self, number: int, reward: float, is_published: bool) -> int | None:
        """Take a trial in; the number of the one that falls out."""
        insort(self._best, (is_published, -reward, number))
        return self._best.pop()[-1] if len(self._best) > self._keep else None

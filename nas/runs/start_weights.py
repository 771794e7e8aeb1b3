"""Weights that children of a search start from, as files in the run directory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Container
from pathlib import Path

from nas.atomic_write import atomic_write
from nas.runs.run_directory import RunDirectory, RunDirectoryError

_log = logging.getLogger(__name__)

SUFFIX = ".weights"


class StartWeights(Container[int]):
    """One file per trial, whole or not there: a line with the SHA-256 of the rest comes first.

    A damaged file counts as none, so that a child of that trial is trained from nothing.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._directory = run.start_weights

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.get(number) is not None

    def get(self, number: int) -> bytes | None:
        """Weights that `add` was given, or None."""
        try:
            digest, _, data = self.file(number).read_bytes().partition(b"\n")
        except OSError:
            return None
        if digest.decode(errors="replace") != hashlib.sha256(data).hexdigest():
            _log.warning("%s is damaged; children of trial %d are trained from nothing", self.file(number), number)
            return None
        return data

    def add(self, number: int, data: bytes) -> None:
        """Durable when this returns.

        Raises:
            RunDirectoryError: if it cannot be written.
        """
        path = self.file(number)
        try:
            self._directory.mkdir(exist_ok=True)  # not the run directory: one that is gone is not made anew
            atomic_write(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
        except OSError as error:
            raise RunDirectoryError(
                f"{path} cannot be written: {error}; make room, and run the same command again to go on"
            ) from error

    def keep(self, numbers: Container[int]) -> None:
        """Delete those of all other trials."""
        if not self._directory.is_dir():
            return
        for path in self._directory.iterdir():
            if not path.stem.isdecimal() or int(path.stem) not in numbers:
                path.unlink(missing_ok=True)

    def file(self, number: int) -> Path:
        """Path of a trial's weights; the file may not exist."""
        return self._directory / f"{number:04d}{SUFFIX}"

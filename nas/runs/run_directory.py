"""The one directory that a search writes to, and who may write there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from nas.configuration import ConfigError, differences, from_dict, to_dict
from nas.credentials import without_credentials_in
from nas.environment import environment
from nas.errors import UserError
from nas.runs.copies import RESCUED, copies_of
from nas.runs.journal_ends import has_line
from nas.runs.locks import hold, is_locked, wait_until_free
from nas.runs.made_directory import made
from nas.runs.record_kind import kind_of
from nas.runs.run_record import RunRecord, completed
from nas.search.config import LAUNCH_FIELDS, SearchConfig
from nas.search.constraints import tightened
from search_space.files import FileError, read_json

LOCK_SECONDS = 2
"""`nasfpn status` holds the lock for an instant; a search holds it for as long as it runs."""

RECORDS = ("config.json", "config.partial", "search.lock")
"""Files of a search that has not begun."""


class RunDirectoryError(UserError):
    """A run directory that cannot be used as asked; the message says what to do."""


class RunDirectory:
    """Where things lie in a run directory.

    `config.json` holds the resolved configuration with versions and hardware, `journal.log` every proposal and
    outcome (unless they are in a database), `trials/NNNN/` the trained neck of a trial, `best/` the exported best,
    `report/` the report, `final/` what was trained in full and scored on the test split, `checkpoints/` how far trials
    in work are, `start_weights/` what children of a trial start from, `tensorboard/` event files if asked for,
    `search.log` what was said beside the trials.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(os.path.realpath(path))  # Path.resolve raises for links in a circle
        self.config_file = self.path / "config.json"
        self.journal_file = self.path / "journal.log"
        self.start_weights = self.path / "start_weights"
        self.trials = self.path / "trials"
        self.best = self.path / "best"
        self.report = self.path / "report"
        self.final = self.path / "final"
        self.tensorboard = self.path / "tensorboard"
        self.log = self.path / "search.log"
        self.checkpoints = self.path / "checkpoints"
        self.lock_file = self.path / "search.lock"
        self._lock = FileLock(self.lock_file)

    def trial(self, number: int) -> Path:
        return self.trials / f"{number:04d}"

    def require(self) -> None:
        """
        Raises:
            RunDirectoryError: if no search was ever started here, or its journal is gone.
        """
        try:
            if self._has_search():
                return
            if self.config_file.is_file():
                self._refuse_lost_journal()
        except OSError as error:
            raise RunDirectoryError(f"{self.path} cannot be read: {error}") from error
        raise RunDirectoryError(f"{self.path} holds no search; start one with: nasfpn search ... --run-dir DIR")

    def study(self) -> str:
        """Name of the search among those in the same database."""
        if (study := self._read().study) is None:
            raise RunDirectoryError(f"{self.config_file} names no study; it was written by another version or damaged")
        return study

    def results(self) -> list[str]:
        """Names of what is here that only a search makes which has begun, so that there has to be a journal."""
        places = (self.trials, self.report, self.best, self.final, self.checkpoints, self.start_weights)
        found = [f"{place.name}/" for place in places if place.is_dir() and any(place.iterdir())]
        return found + [path.name for path in copies_of(self.journal_file) if RESCUED in path.suffix]

    def _has_search(self) -> bool:
        """True if a search was begun here; until then its settings may be changed."""
        if not self.config_file.is_file():
            return False
        return self.journal_file.exists() or self.read_config().storage is not None

    def _refuse_lost_journal(self) -> None:
        """
        Raises:
            RunDirectoryError: if there are results of a search, and no journal in a file that says what they are.
        """
        if not (found := self.results()) or self.read_config().storage is not None:
            return
        if not self.journal_file.exists():
            problem = "is missing"
        elif has_line(self.journal_file):
            return
        else:
            problem = "is empty" if self.journal_file.stat().st_size == 0 else "has no whole line"
        copies = [path.name for path in copies_of(self.journal_file)]
        copy = f" (there are {', '.join(copies)})" if copies else ""
        raise RunDirectoryError(
            f"{self.path} holds results of a search ({', '.join(found)}), but its {self.journal_file.name} {problem}: "
            f"restore it from a copy{copy}, or use another --run-dir; to start anew, remove the directory"
        )

    def read_config(self) -> SearchConfig:
        """
        Raises:
            RunDirectoryError: if there is no readable configuration.
        """
        return self._read().config

    def is_live(self) -> bool:
        """True if a search is running here now, on this machine or on one that shares its file locks."""
        try:
            locked = is_locked(self.lock_file)
            return self._lock_is_taken() if locked is None else locked or bool(is_locked(self.config_file))
        except OSError as error:
            raise RunDirectoryError(f"{self.path} cannot be read: {error}") from error

    def _lock_is_taken(self) -> bool:
        if not self.path.is_dir():
            return False
        try:
            with FileLock(self.lock_file, timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def claim(self, config: SearchConfig) -> Iterator[None]:
        """Be the only search on this directory. The operating system ends the claim when the process dies.

        Raises:
            RunDirectoryError: if another process has it, or it belongs to a search with other settings.
        """
        with self._made(config), self._locked(), ExitStack() as stack:
            try:
                if self.config_file.is_file():
                    self._refuse_lost_journal()
                stack.enter_context(self._write_config(config))
            except OSError as error:
                raise RunDirectoryError(
                    f"{self.path} cannot be written to: {error}; nothing in it was lost: once that is mended, the "
                    "same command goes on"
                ) from error
            yield

    @contextmanager
    def _made(self, config: SearchConfig) -> Iterator[None]:
        """The directory, which is gone again if the search is refused; a journal in a database is looked for here."""
        with ExitStack() as stack:
            try:
                if self.path.exists() and not self.path.is_dir():
                    raise RunDirectoryError(f"{self.path} is a file; give --run-dir a directory")
                if self.path.is_dir() and not self.config_file.exists() and _foreign(self.path):
                    raise RunDirectoryError(f"{self.path} is not empty; give --run-dir a new or empty directory")
                stack.enter_context(made(self.path, RECORDS if config.storage is None else ()))
            except OSError as error:
                raise RunDirectoryError(f"{self.path} cannot be written to: {error}") from error
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise self._in_use() from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path} cannot be written to: {error}") from error
        try:
            yield
        finally:
            self._lock.release()

    def _in_use(self) -> RunDirectoryError:
        return RunDirectoryError(f"a search is running in {self.path}; see `nasfpn status`, or use another --run-dir")

    @contextmanager
    def _write_config(self, config: SearchConfig) -> Iterator[None]:
        """Within, the file that was written is locked, in case somebody deletes the lock file."""
        if not wait_until_free(self.config_file, LOCK_SECONDS):
            raise self._in_use()
        new = without_credentials_in(to_dict(config))
        study = f"{config.name}-{uuid4().hex[:8]}"
        commands = [tuple(without_credentials_in(sys.argv))]
        if self._has_search():
            latest = self._read()
            study, before = latest.study or study, latest.config
            is_new = without_credentials_in(to_dict(before)) != new
            commands = [latest.command, *latest.later_commands, *(commands if is_new else ())]
            changed = differences(_identity(to_dict(before)), _identity(new))
            if changed:
                raise RunDirectoryError(
                    f"{self.path} belongs to a search with other settings ({'; '.join(changed[:5])}); use another "
                    "--run-dir, or the settings that it was started with; to go on as it was configured, with N "
                    f"candidates more: nasfpn extend {self.path} --trials +N"
                )
            if tighter := tightened(before.constraints, config.constraints):
                raise RunDirectoryError(
                    f"{self.path} has candidates that were accepted under looser limits ({'; '.join(tighter)}); limits "
                    "may be relaxed, not tightened: use another --run-dir"
                )
        record = {
            "config": new,
            "command": commands[0],
            "later_commands": commands[1:],
            "environment": environment(),
            "study": study,
        }
        partial = self.config_file.with_suffix(".partial")
        with partial.open("w") as file:
            hold(file.fileno())
            file.write(json.dumps(record, indent=2) + "\n")
            file.flush()
            partial.replace(self.config_file)
            yield

    def read_record(self) -> dict[str, Any]:
        """Configuration and environment of the latest start, and the commands of all."""
        return to_dict(self._read())

    def _read(self) -> RunRecord:
        try:
            record = read_json(self.config_file)
            if kind_of(record) == "training":
                raise RunDirectoryError(
                    f"{self.path} is the directory of a training (nasfpn train), not of a search; its detector is in "
                    f"{self.path / 'model'}: nasfpn evaluate and nasfpn export take that"
                )
            return from_dict(RunRecord, completed(record))
        except (FileError, ConfigError) as error:
            raise RunDirectoryError(
                f"{self.config_file} cannot be read ({error}); it was written by another version or damaged"
            ) from error


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in LAUNCH_FIELDS}


def _foreign(path: Path) -> bool:
    return any(entry.name not in RECORDS for entry in path.iterdir())

"""The one directory that a training writes to, and who may write there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas.atomic_write import atomic_write
from nas.configuration import ConfigError, differences, from_dict, to_dict
from nas.credentials import without_credentials_in
from nas.detection.saved import WEIGHTS_FILE
from nas.environment import environment
from nas.errors import UserError
from nas.plain_json import dumps
from nas.runs.made_directory import made
from nas.runs.record_kind import kind_of
from nas.runs.run_directory import LOCK_SECONDS
from nas.training.config import LAUNCH_FIELDS, TrainConfig
from search_space.files import is_there, read_json

RECORDS = ("config.json", "config.partial", "training.lock")
"""Files of a training that has not begun."""


class TrainingDirectoryError(UserError):
    """A directory that cannot be used as asked; the message says what to do."""


class TrainingDirectory:
    """Where things lie.

    `config.json` holds the resolved configuration with versions and hardware, `checkpoints/epoch_NNNN/` what the
    training goes on from, `epochs.jsonl` one line per epoch, `model/` the trained detector, `tensorboard/` event files
    if asked for, `failure.log` the traceback of an error that ended the training.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.config_file = self.path / "config.json"
        self.epochs_file = self.path / "epochs.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.tensorboard = self.path / "tensorboard"
        self.failure_log = self.path / "failure.log"

    @contextmanager
    def claim(self, config: TrainConfig) -> Iterator[None]:
        """Be the only training in this directory. The operating system ends the claim when the process dies.

        Raises:
            TrainingDirectoryError: if another process has it, or it holds other things or another training.
        """
        lock = FileLock(self.path / "training.lock")
        with ExitStack() as stack:
            try:
                if self.path.is_dir():
                    self._refuse_others()
                stack.enter_context(made(self.path, RECORDS))
                lock.acquire(timeout=LOCK_SECONDS)
                stack.callback(lock.release)
            except Timeout:
                raise TrainingDirectoryError(f"a training is running in {self.path}; use another --run-dir") from None
            except OSError as error:
                raise TrainingDirectoryError(f"{self.path} cannot be written to: {error}") from error
            self._write_config(config)
            yield

    def _refuse_others(self) -> None:
        """
        Raises:
            TrainingDirectoryError: if the directory is that of a search, or holds other things.
        """
        if not self.config_file.exists():
            if any(entry.name not in RECORDS for entry in self.path.iterdir()):
                raise TrainingDirectoryError(f"{self.path} is not empty; give --run-dir a new directory")
        elif kind_of(read_json(self.config_file, TrainingDirectoryError)) == "search":
            raise TrainingDirectoryError(
                f"{self.path} is the directory of a search; give --run-dir a new directory, and to train the neck that "
                f"the search found: --neck {self.path}"
            )

    def read_config(self) -> TrainConfig:
        """
        Raises:
            TrainingDirectoryError: if there is no readable configuration of a training.
        """
        try:
            return from_dict(TrainConfig, read_json(self.config_file, TrainingDirectoryError)["config"])
        except (KeyError, TypeError, ConfigError) as error:
            raise TrainingDirectoryError(f"{self.config_file} is no configuration of a training: {error}") from error

    def read_epochs(self) -> list[dict[str, float]]:
        """Entries that `write_epochs` wrote, up to the first line that is damaged."""
        entries: list[dict[str, float]] = []
        with suppress(OSError, ValueError):
            for line in self.epochs_file.read_text().splitlines():
                entries.append(json.loads(line))
        return entries

    def is_finished(self, epochs: int) -> bool:
        """True if so many epochs are recorded and the detector was written after them."""
        detector = self.model / WEIGHTS_FILE
        if len(self.read_epochs()) < epochs or not is_there(detector):
            return False
        return detector.stat().st_mtime_ns >= self.epochs_file.stat().st_mtime_ns

    def write_epochs(self, history: list[dict[str, float]]) -> None:
        """One line of JSON per epoch; those of an earlier start are written anew."""
        atomic_write(self.epochs_file, "".join(dumps(entry) + "\n" for entry in history))

    def _write_config(self, config: TrainConfig) -> None:
        new = without_credentials_in(to_dict(config))
        if self.config_file.exists():
            changed = differences(_identity(to_dict(self.read_config())), _identity(new))
            if changed:
                raise TrainingDirectoryError(
                    f"{self.path} belongs to a training with other settings ({'; '.join(changed[:5])}); use another "
                    "--run-dir, or the settings that it was started with"
                )
        record = {"config": new, "command": without_credentials_in(sys.argv), "environment": environment()}
        atomic_write(self.config_file, json.dumps(record, indent=2) + "\n")


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in LAUNCH_FIELDS}

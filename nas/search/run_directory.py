"""The one directory that a search writes to, and who may write there."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from nas.configuration import ConfigError, differences, from_dict, to_dict
from nas.credentials import without_credentials_in
from nas.errors import UserError
from nas.search.config import LAUNCH_FIELDS, SearchConfig
from nas.search.constraints import tightened

LOCK_SECONDS = 2
"""`nasfpn status` holds the lock for an instant; a search holds it for as long as it runs."""

PACKAGES = ("nas-fpn", "torch", "torchvision", "ray", "optuna", "pycocotools", "numpy")


class RunDirectoryError(UserError):
    """A run directory that cannot be used as asked; the message says what to do."""


class RunDirectory:
    """Where things lie in a run directory.

    `config.json` holds the resolved configuration with versions and hardware, `journal.log` every proposal and
    outcome (unless they are in a database), `trials/NNNN/` the trained neck of a trial, `best/` the exported best,
    `report/` the report, `final/` what was trained in full and scored on the test split, `checkpoints/` how far trials
    in work are, `tensorboard/` event files if asked for, `search.log` what was said beside the trials.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        self.config_file = self.path / "config.json"
        self.journal_file = self.path / "journal.log"
        self.trials = self.path / "trials"
        self.best = self.path / "best"
        self.report = self.path / "report"
        self.final = self.path / "final"
        self.tensorboard = self.path / "tensorboard"
        self.log = self.path / "search.log"
        self.checkpoints = self.path / "checkpoints"
        self._lock = FileLock(self.path / "search.lock")

    def trial(self, number: int) -> Path:
        return self.trials / f"{number:04d}"

    def require(self) -> None:
        """
        Raises:
            RunDirectoryError: if no search was ever started here.
        """
        if not self._has_search():
            raise RunDirectoryError(f"{self.path} holds no search; start one with: nasfpn search ... --run-dir DIR")

    def study(self) -> str:
        """Name of the search among those in the same database."""
        return str(self._read()["study"])

    def _has_search(self) -> bool:
        """Whether a search was begun here; as long as it was not, its settings may be mended."""
        if not self.config_file.is_file():
            return False
        return self.journal_file.is_file() or self.read_config().storage is not None

    def read_config(self) -> SearchConfig:
        """
        Raises:
            RunDirectoryError: if there is no readable configuration.
        """
        return from_dict(SearchConfig, self._read()["config"])

    def is_live(self) -> bool:
        """Whether a search is running here now, on this machine or on one that shares its file locks."""
        if not self.path.is_dir():
            return False
        try:
            with FileLock(self.path / "search.lock", timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def claim(self, config: SearchConfig) -> Iterator[None]:
        """Be the only search on this directory. The operating system ends the claim when the process dies.

        Raises:
            RunDirectoryError: if another process has it, or it belongs to a search with other settings.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is a file; give --run-dir a directory")
        if self.path.is_dir() and not self.config_file.exists() and _foreign(self.path):
            raise RunDirectoryError(f"{self.path} has other things in it; give --run-dir a new or empty directory")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise RunDirectoryError(
                f"a search is running in {self.path}; see `nasfpn status`, or use another --run-dir"
            ) from None
        except OSError as error:
            raise RunDirectoryError(f"{self.path} cannot be written to: {error}") from error
        try:
            self._write_config(config)
            yield
        finally:
            self._lock.release()

    def _write_config(self, config: SearchConfig) -> None:
        new = without_credentials_in(to_dict(config))
        study = f"{config.name}-{uuid4().hex[:8]}"
        if self._has_search():
            study = self._read().get("study", study)
            before = self.read_config()
            changed = differences(_identity(to_dict(before)), _identity(new))
            if changed:
                raise RunDirectoryError(
                    f"{self.path} belongs to a search with other settings ({'; '.join(changed[:5])}); use another "
                    "--run-dir, or the settings that it was started with"
                )
            if tighter := tightened(before.constraints, config.constraints):
                raise RunDirectoryError(
                    f"{self.path} has candidates that were accepted under looser limits ({'; '.join(tighter)}); limits "
                    "may be relaxed, not tightened: use another --run-dir"
                )
        record = {
            "config": new,
            "command": without_credentials_in(sys.argv),
            "environment": environment(),
            "study": study,
        }
        partial = self.config_file.with_suffix(".partial")
        partial.write_text(json.dumps(record, indent=2) + "\n")
        partial.replace(self.config_file)

    def read_record(self) -> dict[str, Any]:
        """Configuration, command and environment of the latest start."""
        return self._read()

    def _read(self) -> dict[str, Any]:
        try:
            record = json.loads(self.config_file.read_text())
            from_dict(SearchConfig, record["config"])
        except (OSError, json.JSONDecodeError, KeyError, TypeError, ConfigError) as error:
            raise RunDirectoryError(
                f"{self.config_file} cannot be read ({error}); it was written by another version or damaged"
            ) from error
        return dict(record)


def environment() -> dict[str, Any]:
    """Versions and hardware that results depend on."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        **versions,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in LAUNCH_FIELDS}


def _foreign(path: Path) -> bool:
    return any(entry.name not in ("search.lock", "config.partial") for entry in path.iterdir())

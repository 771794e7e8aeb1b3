"""Results of trainings in one file, so that none is done twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas.comparison.training_job import Result, TrainingJob, plain_topology
from nas.configuration import ConfigError, from_dict, to_dict
from nas.errors import UserError
from nas.plain_json import dumps
from search_space.files import FileError, parse_json, read_bytes


class ResultStoreError(UserError):
    """A file of results that cannot be used."""


@dataclass(frozen=True)
class _Line:
    """Fields that are read of a line."""

    key: str
    metrics: dict[str, Any] | None
    error: str | None


class ResultStore:
    """Results by `TrainingJob.key`: one JSON object per line, each on the disk before anyone is told of it.

    A line that was torn by a crash is passed over, and its job trained again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Result] = {}
        if path.exists():
            self._read()

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Be the only one to write.

        Raises:
            ResultStoreError: if another process does, or the directory cannot be written to.
        """
        lock = FileLock(f"{self.path}.lock", timeout=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            self._read()
        except Timeout:
            raise ResultStoreError(
                f"another process writes to {self.path}; wait for its end, or choose another directory"
            ) from None
        except OSError as error:
            raise ResultStoreError(f"{self.path} cannot be written to: {error}") from error
        try:
            yield
        finally:
            lock.release()

    def get(self, job: TrainingJob) -> Result | None:
        return self._found.get(job.key)

    def metrics(self, job: TrainingJob) -> Mapping[str, Any]:
        """Of a job that was trained with success; else nothing."""
        result = self.get(job)
        return {} if result is None or result.metrics is None else result.metrics

    def add(self, job: TrainingJob, result: Result) -> None:
        """Keep a result; durable when this returns. Only within `claim`.

        Raises:
            ResultStoreError: if it cannot be written.
        """
        record = {
            "key": job.key,
            "label": job.label,
            "group": job.group,
            "seed": job.seed,
            "split": job.split,
            "genotype": plain_topology(job.topology),
            "proxy": to_dict(job.proxy),
            "metrics": result.metrics,
            "error": result.error,
        }
        try:
            self._append(dumps(record).encode() + b"\n")
        except OSError as error:
            raise ResultStoreError(
                f"{self.path} cannot be written: {error}; make room, and the same command goes on"
            ) from error
        self._found[job.key] = result

    def _append(self, line: bytes) -> None:
        with self.path.open("a+b") as file:
            if file.tell() and not self._ends_with_newline(file):
                file.write(b"\n")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        if not self.path.exists():
            return
        for line in read_bytes(self.path, ResultStoreError).splitlines():
            try:
                record = from_dict(_Line, parse_json(line, str(self.path)))
            except (FileError, ConfigError):
                continue
            self._found[record.key] = Result(record.metrics, record.error)

    @staticmethod
    def _ends_with_newline(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return bool(file.read(1) == b"\n")

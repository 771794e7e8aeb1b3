"""Where a journal is kept: a file, or a database that may be away for a while."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from nas.credentials import reason, without_credentials
from nas.errors import UserError

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_SECONDS = (0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8)
"""Waits before a database is tried again."""


GO_ON = "what was recorded is kept: once that is mended, the same command goes on"


class JournalError(UserError):
    """A journal that cannot be read or written."""


class Connection:
    """Optuna's storage, with every use of it tried again while a database is away.

    Args:
        place: an Optuna journal file, or a database URL.
        writable: see `Journal`.

    Attributes:
        retrying: whether the operation that runs now was begun before; it may have been carried out.

    Raises:
        JournalError: if it cannot be opened.
    """

    def __init__(self, place: Path | str, *, writable: bool) -> None:
        self.retrying = False
        self._backend: SoleWriter | None = None
        self._waits: tuple[float, ...] = () if isinstance(place, Path) else RETRY_SECONDS
        self._url = str(place)
        self._name = without_credentials(self._url)
        self.storage = self.do(lambda: self._open(place, writable))

    def _open(self, place: Path | str, writable: bool) -> BaseStorage:
        if not isinstance(place, Path):
            return RDBStorage(place, engine_kwargs={"pool_pre_ping": True})
        if not writable:
            return JournalStorage(JournalFileBackend(str(place)))
        mend(place)
        self._backend = SoleWriter(place)
        return JournalStorage(self._backend)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within, what is written to a file is durable at the end only; databases write at once.

        Raises:
            JournalError: at the end, if it cannot be written.
        """
        if self._backend is None:
            yield
            return
        try:
            with self._backend.together():
                yield
        except OSError as error:
            raise JournalError(f"the journal {self._name} cannot be written: {error}; {GO_ON}") from error

    def do(self, operation: Callable[[], Result]) -> Result:
        """
        Raises:
            JournalError: when a database stays away, or the file cannot be read or written.
        """
        self.retrying = False
        for wait in (*self._waits, None):
            try:
                return operation()
            except (StorageInternalError, SQLAlchemyError) as error:
                why = reason(error.__cause__ or error, self._url)
                if wait is None or not _may_come_back(error):
                    raise JournalError(f"the database {self._name} cannot be used: {why}; {GO_ON}") from error
                _log.warning("the database %s cannot be used (%s); trying again", self._name, why)
                sleep(wait)
                self.retrying = True
            except OSError as error:
                raise JournalError(f"the journal {self._name} cannot be used: {error}; {GO_ON}") from error
            except (ValueError, KeyError, ImportError) as error:
                raise JournalError(f"{self._name} cannot be read as a journal: {reason(error, self._url)}") from error
        raise AssertionError


class SoleWriter(BaseJournalBackend):
    """The journal file of the one process that may write it: records made `together` share one write to the disk."""

    def __init__(self, path: Path) -> None:
        self._file = JournalFileBackend(str(path))
        self._file_was_read = False
        self._unread: list[dict[str, Any]] = []
        self._unwritten: list[dict[str, Any]] = []
        self._holding = False

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """What the file held when it was opened, then what this process appended, each once."""
        if not self._file_was_read:
            self._file_was_read = True
            yield from self._file.read_logs(log_number_from)
        unread, self._unread = self._unread, []
        yield from unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Durable when this returns, or else at the end of `together`."""
        self._unread += json.loads(json.dumps(logs))
        self._unwritten += logs
        if not self._holding:
            self._flush()

    @contextmanager
    def together(self) -> Iterator[None]:
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            self._flush()

    def _flush(self) -> None:
        if self._unwritten:
            self._file.append_logs(self._unwritten)
            self._unwritten = []


def mend(path: Path) -> None:
    """Cut off a line of a journal file that a killed writer did not finish, and take away its lock."""
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            _log.warning("%s ended in an unfinished line of %d bytes; cut off", path, len(content) - whole)
            file.truncate(whole)


def _may_come_back(error: BaseException) -> bool:
    """Whether it is about the connection; a URL with an unknown dialect, say, stays wrong."""
    chain = [error, error.__cause__, error.__context__]
    return any(isinstance(one, DBAPIError | StorageInternalError) for one in chain)

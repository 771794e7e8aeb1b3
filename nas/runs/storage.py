"""Storage of a journal: a file, or a database that may be away for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from nas import interruption
from nas.credentials import reason, without_credentials
from nas.errors import UserError
from nas.runs.journal_file import Reader, SoleWriter
from nas.runs.journal_lines import JournalError, replayed

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_SECONDS = (0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8)
"""Waits before a database is tried again."""


GO_ON = "what was recorded is kept: once that is mended, the same command goes on"


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
        self._file: SoleWriter | Reader | None = None
        self._waits: tuple[float, ...] = () if isinstance(place, Path) else RETRY_SECONDS
        self._errors: tuple[type[Exception], ...] = (
            (StorageInternalError,) if isinstance(place, Path) else _errors_of_databases()
        )
        self._url = str(place)
        self.name = without_credentials(self._url)
        self.storage = self.do(lambda: self._open(place, writable))

    def _open(self, place: Path | str, writable: bool) -> BaseStorage:
        if not isinstance(place, Path):
            return RDBStorage(place, engine_kwargs={"pool_pre_ping": True})
        self._file = file = SoleWriter(place) if writable else Reader(place)
        storage = replayed(file.lines, lambda: JournalStorage(file))
        if isinstance(file, SoleWriter):
            file.mend()
        return storage

    @property
    def is_shared(self) -> bool:
        """True for a database, in which nobody holds a lock."""
        return self._file is None

    @property
    def is_begun(self) -> bool:
        """True if this is the writer of a file to which something was written."""
        return isinstance(self._file, SoleWriter) and not self._file.is_new

    def require_intact(self) -> None:
        """
        Raises:
            JournalError: see `SoleWriter.require_intact`.
        """
        if isinstance(self._file, SoleWriter):
            self.do(self._file.require_intact)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within, what is written to a file is durable at the end only; databases write at once.

        Raises:
            JournalError: at the end, if it cannot be written.
        """
        if not isinstance(self._file, SoleWriter):
            yield
            return
        try:
            with self._file.together():
                yield
        except OSError as error:
            raise JournalError(f"the journal {self.name} cannot be written: {error}; {GO_ON}") from error

    def read(self, operation: Callable[[], Result]) -> Result:
        """An operation that reads what was written up to now.

        Raises:
            JournalError: as `do`, and for lines of a file that are none of a journal.
        """
        if self._file is None:
            return self.do(operation)
        file = self._file
        return self.do(lambda: replayed(file.lines, operation))

    def do(self, operation: Callable[[], Result]) -> Result:
        """
        Raises:
            JournalError: when a database stays away, or the file cannot be read or written.
        """
        self.retrying = False
        for wait in (*self._waits, None):
            try:
                return operation()
            except self._errors as error:
                why = reason(error.__cause__ or error, self._url)
                if wait is None or not _may_come_back(error):
                    raise JournalError(f"the database {self.name} cannot be used: {why}; {GO_ON}") from error
                _log.warning("the database %s cannot be used (%s); trying again", self.name, why)
                interruption.check()
                sleep(wait)
                self.retrying = True
            except OSError as error:
                raise JournalError(f"the journal {self.name} cannot be used: {error}; {GO_ON}") from error
            except UserError:
                raise
            except (ValueError, KeyError, ImportError) as error:
                raise JournalError(f"{self.name} cannot be read as a journal: {reason(error, self._url)}") from error
        raise AssertionError


def _errors_of_databases() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError  # for databases alone: its import takes as long as all of the journal's

    return StorageInternalError, SQLAlchemyError


def _may_come_back(error: BaseException) -> bool:
    """True for an error of the connection; a URL with an unknown dialect, say, stays wrong."""
    from sqlalchemy.exc import DBAPIError

    chain = [error, error.__cause__, error.__context__]
    return any(isinstance(one, DBAPIError | StorageInternalError) for one in chain)

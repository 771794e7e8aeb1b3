"""Where a journal is kept: a file, or a database that may be away for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from nas.errors import UserError

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_SECONDS = (0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8)
"""Waits before a database is tried again."""


class JournalError(UserError):
    """A journal that cannot be read or written."""


class Connection:
    """Optuna's storage, with every use of it tried again while a database is away.

    Args:
        place: an Optuna journal file, or a database URL.

    Attributes:
        retrying: whether the operation that runs now was begun before; it may have been carried out.

    Raises:
        JournalError: if it cannot be opened.
    """

    def __init__(self, place: Path | str) -> None:
        self.retrying = False
        self._waits: tuple[float, ...] = () if isinstance(place, Path) else RETRY_SECONDS
        self._name = str(place)
        if not isinstance(place, Path):
            self._name = self.do(lambda: make_url(place).render_as_string(hide_password=True))
        self.storage = self.do(lambda: _open(place))

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
                reason = _first_line(error.__cause__ or error)
                if wait is None or not _may_come_back(error):
                    raise JournalError(f"the database {self._name} cannot be used: {reason}") from error
                _log.warning("the database %s cannot be used (%s); trying again", self._name, reason)
                time.sleep(wait)
                self.retrying = True
            except OSError as error:
                raise JournalError(f"the journal {self._name} cannot be used: {error}") from error
            except (ValueError, KeyError, ImportError) as error:
                raise JournalError(f"{self._name} cannot be read as a journal: {error}") from error
        raise AssertionError


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


def _open(place: Path | str) -> BaseStorage:
    if isinstance(place, Path):
        return JournalStorage(JournalFileBackend(str(place)))
    return RDBStorage(place, engine_kwargs={"pool_pre_ping": True})


def _may_come_back(error: BaseException) -> bool:
    """Whether it is about the connection; a URL with an unknown dialect, say, stays wrong."""
    chain = [error, error.__cause__, error.__context__]
    return any(isinstance(one, DBAPIError | StorageInternalError) for one in chain)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

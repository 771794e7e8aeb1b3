"""The journal file: how it is read, and the one process that writes to it."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file

from nas.runs.copies import CUT, RESCUED, save_beside
from nas.runs.journal_ends import is_whole, may_be_begun, refuse_other_ends, require_regular
from nas.runs.journal_lines import LINE, JournalError, Lines, is_note, parsed

_log = logging.getLogger(__name__)


class Reader(BaseJournalBackend):
    """A journal file that others may write to meanwhile; reading changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines = Lines(path)
        self._offset = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """New lines; a last line that is still being written is left for the next time."""
        if log_number_from == 0:
            self.lines.begin()
            self._offset = 0
        require_regular(self._path)
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < self._offset:
                raise JournalError(f"{self._path} was replaced or cut while it was read; start this command again")
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    refuse_other_ends(self._path, line)
                    return
                self._offset += len(line)
                yield self.lines.read(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """For Optuna's dashboard, in which notes can be made."""
        JournalFileBackend(str(self._path)).append_logs(logs)


class SoleWriter(BaseJournalBackend):
    """The journal file of the one process that may write it: records made `together` share one write to the disk.

    Before each write it looks whether the file is still the one that it opened, with nothing in it but what it knows;
    if not, all that it knows is saved elsewhere, and nothing is written any more.

    Raises:
        JournalError: if the file is no journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        if not path.exists():
            path.touch()
        require_regular(path)
        self._directory, self._file = _identity(path.parent), _identity(path)
        content = path.read_bytes()
        self._content = bytearray(content[: content.rfind(b"\n") + 1])
        self._tail = content[len(self._content) :]
        refuse_other_ends(path, self._tail)
        self._owed = b""
        if is_whole(self._tail):
            self._owed, self._tail = b"\n", b""
            self._content = bytearray(content + self._owed)
        self.lines = Lines(path)
        self._num_lines = self._content.count(b"\n")
        self._file_was_read = False
        self._unread: list[dict[str, Any]] = []
        self._unwritten: list[dict[str, Any]] = []
        self._holding = False
        self._lost: JournalError | None = None

    @property
    def is_new(self) -> bool:
        """True if nothing was ever written to the file."""
        return not self._num_lines

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Lines of the file when it was opened, then those that this process appended, each once."""
        if not self._file_was_read:
            self._file_was_read = True
            yield from map(self.lines.read, io.BytesIO(self._content))
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

    def mend(self) -> None:
        """Deal with a last line that a killed writer did not finish: it is cut off, and kept in a file beside it.

        To be called when the lines before it were read and found good.

        Raises:
            JournalError: if it is not the beginning of a line of this journal.
        """
        if self._owed:
            self._append(self._owed)
            self._owed = b""
        if not self._tail:
            return
        if not may_be_begun(self._tail):
            raise JournalError(
                f"{self._path} ends in {len(self._tail)} bytes that are no line of a journal; nothing was changed: "
                "restore it from a copy, or delete them"
            )
        copy = save_beside(self._path, CUT, self._tail)
        os.truncate(self._path, len(self._content))
        _log.warning(
            "%s ended in an unfinished line of %d bytes; it was cut off and is in %s", self._path, len(self._tail), copy
        )
        self._tail = b""

    def require_intact(self) -> None:
        """
        Raises:
            JournalError: if the file is no longer as it was left; all that is known was saved elsewhere.
        """
        if self._lost is None and (what := self._damage()) is not None:
            self._lost = JournalError(
                f"{self._path} {what} while the search ran, and the search was stopped; {self._rescued()}"
            )
        if self._lost is not None:
            raise self._lost

    def _flush(self) -> None:
        if not self._unwritten:
            return
        self.require_intact()
        with get_lock_file(JournalFileSymlinkLock(str(self._path))):
            self.require_intact()
            added = self._encoded()
            self._append(added)
            self._content += added
            self._num_lines += len(self._unwritten)
            self._unwritten = []

    def _encoded(self) -> bytes:
        numbered = ({**log, LINE: number} for number, log in enumerate(self._unwritten, start=self._num_lines + 1))
        return b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in numbered)

    def _append(self, added: bytes) -> None:
        """All of it is on the disk at the end, or nothing."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, added)
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)

    def _damage(self) -> str | None:
        """Damage to the file, if any; notes that were made in Optuna's dashboard are taken in."""
        if _identity(self._path.parent) != self._directory:
            return "is not there any more: its directory was deleted or renamed"
        if (found := _identity(self._path)) != self._file:
            return "was deleted or renamed" if found is None else "was replaced by another file"
        size = self._path.stat().st_size
        if size < len(self._content):
            return f"was cut from {len(self._content)} to {size} bytes"
        with self._path.open("rb") as file:
            file.seek(len(self._content))
            more = file.read()
        notes = list(io.BytesIO(more))
        if not all(line.endswith(b"\n") and is_note(line) for line in notes):
            return f"was written to by another program ({len(more)} bytes)"
        self._content += more
        self._num_lines += len(notes)
        self._unread += map(parsed, notes)
        return None

    def _rescued(self) -> str:
        """Where all that is known is now."""
        content = bytes(self._content) + self._encoded()
        places = [self._path] if _identity(self._path.parent) == self._directory else []
        name = f"{self._path.parent.name}-{self._path.name}"
        places += [Path(name), Path(gettempdir()) / name]
        reason: OSError | None = None
        for place in places:
            try:
                copy = save_beside(place, RESCUED, content)
            except OSError as error:
                reason = error
            else:
                return (
                    f"all that it recorded is in {copy.absolute()}: see that no other program uses the directory, move "
                    f"it to {self._path}, and the same command goes on"
                )
        return f"what it recorded since could not be saved elsewhere either: {reason}"


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _identity(path: Path) -> tuple[int, int] | None:
    """Of the file that is there now, if any."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino

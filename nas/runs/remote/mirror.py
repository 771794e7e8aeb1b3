"""Keeps a URL up to date with the local copy of a run directory that a search works in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nas import interruption
from nas.credentials import reason, without_credentials
from nas.errors import UserError
from nas.runs.remote import heartbeat
from nas.runs.remote.files import Remote
from nas.runs.remote.heartbeat import HEARTBEAT, is_alive, new_owner, read_beat, write_beat
from nas.runs.remote.staging import CONFIG, JOURNAL, Staging

_log = logging.getLogger(__name__)

LAST_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits before the last upload is tried again."""

_MAY_BE_DELETED = ("trials/", "checkpoints/", "start_weights/")


class MirrorError(UserError):
    """A run directory at a URL that cannot be used as asked; the message says what to do."""


class TakenOverError(MirrorError):
    """Another search writes to the URL."""


class Mirror:
    """One search's hold of a URL.

    A round uploads the heartbeat, then trained necks and all else, then the journal, and at last deletes what is gone
    here: the URL holds a whole journal at any time, and the weights that it speaks of.

    Args:
        url: for messages.
        remote: the files there.
        staging: the files here, claimed by this process.
    """

    def __init__(self, url: str, remote: Remote, staging: Staging) -> None:
        self._url, self._name = url, without_credentials(url)
        self._remote = remote
        self._staging = staging
        self._owner = new_owner()
        self._renewed = 0.0
        self._sent: dict[str, tuple[int, int] | None] = {}
        self._journal_sizes: set[int | None] = {None}
        self._stop = threading.Event()
        self._taken: TakenOverError | None = None

    def enter(self) -> None:
        """Put our heartbeat there, unless another search's beats, and bring the two places together.

        Raises:
            MirrorError: see `nas.runs.places.mirrored`.
        """
        found = read_beat(self._remote)
        if found is not None and found.owner != self._staging.owner:
            _log.info("%s was written to from %s; waiting whether that search is alive", self._name, found.host)
            if is_alive(self._remote, found):
                raise TakenOverError(
                    f"a search is running on {self._name}, on {found.host} (process {found.pid}); see `nasfpn status "
                    f"{self._name}`, or use another --run-dir"
                )
        self._staging.owner = self._owner
        write_beat(self._remote, self._owner)
        self._require_ours()
        self._bring()

    def leave(self) -> None:
        """Take our heartbeat away; if that fails, others see before long that it has stopped."""
        with suppress(Exception):
            found = read_beat(self._remote)
            if found is not None and found.owner == self._owner:
                self._remote.remove(HEARTBEAT)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Upload in the background, and the rest at the end; when another search takes over, ask the
        main thread to end (see `nas.interruption`).

        Raises:
            MirrorError: at the end, see `nas.runs.places.mirrored`.
        """
        thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        thread.start()
        ended: UserError | None = None
        try:
            yield
        except UserError as error:
            ended = error
            raise
        finally:
            self._stop.set()
            thread.join()
            if self._taken is not None:
                interruption.withdraw(self._taken)
            self._finish(ended)

    def round(self) -> None:
        """Upload what changed.

        Raises:
            TakenOverError: if another search has written to the URL.
        """
        self._renew()
        before = set(self._staging.files())
        journal = self._staging.whole_journal()
        for name, path in self._staging.files().items():
            self._send(name, path)
        self._require_ours()
        self._send_journal(journal)
        for name in set(self._sent) - before - set(self._staging.files()):
            self._remote.remove(name)
            del self._sent[name]
        self._staging.uploaded = True

    def _bring(self) -> None:
        names = self._remote.files() - {HEARTBEAT}
        if CONFIG not in names:
            if names:
                raise MirrorError(f"{self._name} is not empty; give --run-dir a new or empty directory")
            self._staging.begin()
            return
        journal = self._remote.read(JOURNAL)
        self._journal_sizes = {None if journal is None else len(journal)}
        if self._staging.goes_on_from(journal):
            self._sent = dict.fromkeys(name for name in names if name.startswith(_MAY_BE_DELETED))
            return
        with self._staging.replaced(journal) as directory:
            for name in names:
                self._remote.download(name, directory / name)
        self._sent = {name: _stamp(path) for name, path in self._staging.files().items()}

    def _work(self) -> None:
        while not self._stop.wait(heartbeat.ROUND_SECONDS):
            try:
                self.round()
            except TakenOverError as error:
                self._taken = error
                interruption.request(error)
                return
            except Exception as error:
                _log.warning(
                    "%s could not be brought up to date (%s); trying again", self._name, reason(error, self._url)
                )

    def _finish(self, ended: UserError | None) -> None:
        """The last round.

        Args:
            ended: with what the search ended, for the message.
        """
        problem = self._taken or self._last_rounds()
        if isinstance(problem, TakenOverError):
            raise problem
        if problem is not None:
            before = "" if ended is None else f"{ended}; and "
            why = reason(problem, self._url)
            raise MirrorError(
                f"{before}{self._name} could not be written: {why}; nothing is lost, all of it is in "
                f"{self._staging.path}: run the same command again on this machine, which goes on and uploads it"
            ) from problem

    def _last_rounds(self) -> Exception | None:
        """Try the last round several times; the error of the last try, or None after a success."""
        problem: Exception | None = None
        for wait in (0.0, *LAST_WAITS):
            time.sleep(wait)
            try:
                self.round()
                return None
            except TakenOverError as error:
                return error
            except Exception as error:
                _log.warning("%s could not be brought up to date (%s)", self._name, reason(error, self._url))
                problem = error
        return problem

    def _send(self, name: str, path: Path) -> None:
        """A file that changes meanwhile is sent again by the next round; one that goes away was not needed."""
        try:
            stamp = _stamp(path)
            if self._sent.get(name) == stamp:
                return
            if time.monotonic() - self._renewed > heartbeat.ROUND_SECONDS:
                self._renew()
            self._remote.upload(name, path)
        except FileNotFoundError:
            if path.exists():
                raise
            return
        self._sent[name] = stamp

    def _send_journal(self, journal: bytes | None) -> None:
        there = self._remote.size(JOURNAL)
        if there not in self._journal_sizes:
            raise self._taken_over(f"its journal has {there} bytes, which this search did not write")
        if journal is None or there == len(journal):
            return
        self._journal_sizes = {there, len(journal)}
        self._remote.write(JOURNAL, journal)
        self._journal_sizes = {len(journal)}

    def _renew(self) -> None:
        self._require_ours()
        write_beat(self._remote, self._owner)
        self._renewed = time.monotonic()

    def _require_ours(self) -> None:
        found = read_beat(self._remote)
        if found is not None and found.owner != self._owner:
            raise self._taken_over(f"it is on {found.host} (process {found.pid})")

    def _taken_over(self, reason: str) -> TakenOverError:
        return TakenOverError(
            f"another search has taken over {self._name}: {reason}; this one was stopped and uploads no more, what it "
            f"found is in {self._staging.path}"
        )


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns

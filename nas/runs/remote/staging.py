"""The local copy of a run directory at a URL."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.atomic_write import atomic_write
from nas.credentials import without_credentials
from nas.runs.remote.files import PARTIAL, RemoteError
from nas.runs.run_directory import LOCK_SECONDS
from search_space.caches import cache_path

_log = logging.getLogger(__name__)

CONFIG, JOURNAL = "config.json", "journal.log"


def staging_path(url: str) -> Path:
    """The same directory for the same URL, in the user's cache."""
    return cache_path("runs", url, without_credentials(url))


class Staging:
    """A directory, and beside it what must outlive a process: whose it is, and a copy of what it replaced.

    Args:
        path: see `staging_path`.
        name: of the URL, for messages.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self._name = name
        self._state_file = path.with_name(f"{path.name}.json")
        self._aside = path.with_name(f"{path.name}.before")

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Be the only search on this copy.

        Raises:
            RemoteError: if another process has it, or it cannot be written.
        """
        lock = FileLock(f"{self.path}.lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise RemoteError(
                f"a search is running on {self._name}, on this machine; see `nasfpn status`, or use another --run-dir"
            ) from None
        except OSError as error:
            raise RemoteError(
                f"{self.path}, the local copy of {self._name}, cannot be written: {error}; set XDG_CACHE_HOME to a "
                "directory that can"
            ) from error
        try:
            yield
        finally:
            lock.release()

    @property
    def owner(self) -> str | None:
        """Of the latest heartbeat that was written from here."""
        return self._state().get("owner")

    @owner.setter
    def owner(self, owner: str) -> None:
        self._update(owner=owner)

    @property
    def uploaded(self) -> bool:
        """True if this run was ever uploaded to the URL, or came from there."""
        return bool(self._state().get("uploaded"))

    @uploaded.setter
    def uploaded(self, uploaded: bool) -> None:
        if uploaded != self.uploaded:
            self._update(uploaded=uploaded)

    def whole_journal(self) -> bytes | None:
        """Its whole lines, while it is written to; None if there is none."""
        try:
            content = (self.path / JOURNAL).read_bytes()
        except FileNotFoundError:
            return None
        return content[: content.rfind(b"\n") + 1]

    def files(self) -> dict[str, Path]:
        """All to be uploaded but the journal, by name; the configuration first."""
        found = {path.relative_to(self.path).as_posix(): path for path in self.path.rglob("*") if path.is_file()}
        locks = (f"{JOURNAL}.lock", "search.lock")
        names = [name for name in found if not (name == JOURNAL or name.startswith(locks) or name.endswith(PARTIAL))]
        return {name: found[name] for name in sorted(names, key=lambda name: (name != CONFIG, name))}

    def goes_on_from(self, journal: bytes | None) -> bool:
        """True if what is here continues the run with that journal, so that replacing that one loses nothing."""
        ours = self.whole_journal() or b""
        return ours != b"" and ours.startswith(journal or b"") and (self.path / CONFIG).is_file()

    def begin(self) -> None:
        """The URL is empty: a run that was there before has been deleted, one that never got there is kept."""
        if self.uploaded:
            self._set_aside()
            self.path.mkdir()
            self.uploaded = False

    @contextmanager
    def replaced(self, journal: bytes | None) -> Iterator[Path]:
        """Fill the directory that is yielded; it takes the place of this one at the end, or never.

        Args:
            journal: that comes with it; what is here and not in it is set aside.
        """
        partial = self.path.with_name(f"{self.path.name}.download")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        ours = self.whole_journal()
        if (self.path / CONFIG).is_file() if ours is None else not (journal or b"").startswith(ours):
            self._set_aside()
        shutil.rmtree(self.path, ignore_errors=True)
        partial.rename(self.path)
        self.uploaded = True

    def _set_aside(self) -> None:
        _log.warning("%s holds another run than its copy on this machine; that is in %s now", self._name, self._aside)
        shutil.rmtree(self._aside, ignore_errors=True)
        self.path.rename(self._aside)

    def _state(self) -> dict[str, str | None]:
        try:
            state = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return {}
        return dict(state) if isinstance(state, dict) else {}

    def _update(self, **changes: object) -> None:
        atomic_write(self._state_file, json.dumps({**self._state(), **changes}))

"""A process beside a search that kills what the search's Ray leaves behind when the search itself is killed.

Ray's own processes end with the one that started them, but not at once: agents try for a minute to reach a server that
is gone. This file is run as a script, without site-packages, and so imports nothing of ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.5

REAP_SECONDS = 10.0
"""Processes that have been killed are gone by then, unless a device holds them."""

LOOKS = 3
"""Looks in a row that find no process, after which there is none."""

PROC = Path("/proc")
"""Where Linux shows processes with their environments; elsewhere Ray's own means must do."""

MARK = "NASFPN_RAY"
"""Variable in the environment of all processes of a Ray that we started; its value is the Ray's directory."""


def marked(directory: str) -> list[int]:
    """The processes of the Ray in a directory, and all that they started."""
    entries = PROC.iterdir() if PROC.is_dir() else ()
    numbered = [entry for entry in entries if entry.name.isdigit() and int(entry.name) != os.getpid()]
    return [int(entry.name) for entry in numbered if _is_marked(entry, directory) or _writes_to(entry, directory)]


def _is_marked(process: Path, directory: str) -> bool:
    try:
        environment = (process / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={directory}".encode() in environment.split(b"\0")


def _writes_to(process: Path, directory: str) -> bool:
    """True if it has a log of that Ray open for writing: agents overwrite part of their environment by their title."""
    try:
        for file in (process / "fd").iterdir():
            if str(file.readlink()).startswith(f"{directory}/") and file.lstat().st_mode & stat.S_IWUSR:
                return True
    except OSError:
        return False
    return False


def reap(directory: str) -> None:
    """Kill -9 the processes of the Ray in a directory, until there is none.

    A process that is just being started has no environment for an instant, so that one look is not enough.
    """
    deadline = time.monotonic() + REAP_SECONDS
    empty = 0
    while empty < LOOKS and time.monotonic() < deadline:
        pids = marked(directory)
        empty = 0 if pids else empty + 1
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def watch(parent: int, directory: str) -> None:
    """Wait for the end of the search, then kill its Ray's processes and remove its directory."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    reap(directory)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])

"""A thread that notices the end of Ray's head process while Ray is started; Ray itself waits a minute and aborts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from nas import interruption
from nas.terminal import shown
from nas.workers.head_watch import ENDED
from nas.workers.watchman import PROC

POLL_SECONDS = 0.5

GRACE_SECONDS = 10.0
"""Seconds for Ray to notice it by itself, or to be started a second time."""

HEAD = "gcs_server"
"""Name of the head process, a child of the one that starts Ray."""

MESSAGE = (
    "error: Ray could not be started on this machine: its head process ended; what was recorded is kept: run the same "
    "command again to go on"
)


@contextmanager
def watched_start() -> Iterator[Callable[[], None]]:
    """Within, this process ends with `MESSAGE` when Ray's head process ends; yields what ends that, once Ray is up.

    The main thread cannot be asked: it waits in Ray's C++ code.
    """
    over = threading.Event()
    threading.Thread(target=_watch, args=(over,), name="start watch", daemon=True).start()
    try:
        yield over.set
    finally:
        over.set()


def _watch(over: threading.Event) -> None:
    seen = False
    while not over.wait(POLL_SECONDS):
        alive = _is_alive()
        seen |= alive
        if seen and not alive and not over.wait(GRACE_SECONDS) and not _is_alive():
            typer.secho(shown(MESSAGE), err=True, fg=typer.colors.RED)
            interruption.leave(ENDED)


def _is_alive() -> bool:
    """True if this process has a child that is Ray's head; False where there is no `/proc`."""
    entries = PROC.iterdir() if PROC.is_dir() else ()
    return any(_is_head(entry) for entry in entries if entry.name.isdigit())


def _is_head(process: Path) -> bool:
    try:
        name, _, rest = (process / "stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return False
    state, parent = rest.split()[:2]
    return name == HEAD and state != "Z" and int(parent) == os.getpid()

"""Locks of the operating system on files that others may read; they end with the process that holds them."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.05

if sys.platform != "win32":
    import fcntl


def is_locked(path: Path) -> bool | None:
    """True if a process holds the lock of a file, which need neither exist nor be writable.

    Returns:
        None where the operating system or the file system cannot tell.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place is not waited for
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return None
    finally:
        os.close(descriptor)
    return False


def wait_until_free(path: Path, seconds: float) -> bool:
    """Wait until nobody holds the lock of a file; False if somebody still does after `seconds`."""
    end = time.monotonic() + seconds
    while is_locked(path):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def hold(descriptor: int) -> None:
    """Lock an open file until it is closed, where there are such locks.

    Windows needs none: a lock file that is open cannot be deleted there.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise

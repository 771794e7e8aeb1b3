"""A Ray of our own on this machine: started, looked after, and ended with nothing left behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from nas import interruption
from nas.configuration import ConfigError
from nas.errors import first_line
from nas.workers import watchman
from nas.workers.head_watch import shut_down
from nas.workers.private_ray import VARIABLES, environment, private_settings

_log = logging.getLogger(__name__)

STARTS = 2
"""On a busy machine Ray's processes may not be up in the 30 s that Ray gives them; the second time is quicker."""

SETTINGS = {"RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1"}
"""Ray's C++ code would print its stack for SIGTERM, and abort, instead of leaving it to this process's handlers."""


@contextmanager
def local_ray(**options: Any) -> Iterator[Callable[[], None]]:
    """Private Ray on this machine (`private_settings`); yields what kills all of its processes.

    Its processes end, and its directory goes away, with this context or with this process, however that ends.

    Args:
        options: of `ray.init`.

    Raises:
        ConfigError: if it cannot be started.
    """
    with private_settings() as directory, environment({watchman.MARK: str(directory)}):
        guard = _start_watchman(directory)
        try:
            _start(directory, options)
            silence()
            yield lambda: watchman.reap(str(directory))
        finally:
            with interruption.deferred():
                shut_down()
                watchman.reap(str(directory))
                guard.kill()
                guard.wait()


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Within, Ray may put its own handler for SIGTERM; what it raises for a signal becomes `Interrupted`."""
    before = interruption.handlers()
    try:
        yield
    except SystemExit as stop:
        if stop.code != signal.SIGTERM:
            raise
        interruption.took(signal.SIGTERM)
        raise interruption.Interrupted from None
    finally:
        interruption.restore(before)


def silence() -> None:
    """End the thread in which Ray prints what its processes report: 20 lines of its log for one that was killed.

    It ends as it does in `ray.shutdown`; Ray has no setting for it.
    """
    worker = ray._private.worker.global_worker
    worker.threads_stopped.set()
    worker.gcs_error_subscriber.close()
    worker.listener_thread.join()
    worker.threads_stopped.clear()


def _start(directory: Path, options: dict[str, Any]) -> None:
    for attempt in range(1, STARTS + 1):
        try:
            with kept_handlers():
                ray.init("local", **options)
            return
        except Exception as error:  # Ray raises plain `Exception` for some, such as its time-out
            ray.shutdown()
            watchman.reap(str(directory))
            if attempt == STARTS or isinstance(error, OSError):
                raise ConfigError(_why(error, directory)) from error
            _log.warning("Ray could not be started (%s); trying again", first_line(error))


def _why(error: Exception, directory: Path) -> str:
    return (
        f"Ray could not be started on this machine: {first_line(error)}; try again when the machine is less busy; if "
        f"{directory.parent} is full or slow, set {VARIABLES} to another directory"
    )


def _start_watchman(directory: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C and a terminal that closes do not reach it."""
    command = [sys.executable, "-I", "-S", watchman.__file__, str(os.getpid()), str(directory)]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, env={}, cwd="/", stdin=null, stdout=null, stderr=null, start_new_session=True)

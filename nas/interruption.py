"""Requests to a running command to end: by a signal, or by a thread that finds that it cannot go on.

Within `listening`, SIGINT, SIGTERM and SIGHUP raise `Interrupted` in the main thread. Code that shall not be torn apart
runs in `deferred`, where a request is only noted, and calls `check` where it may stop. A thread calls `request`, which
works where signals are ignored, too: a shell starts jobs in the background with SIGINT ignored.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from nas.errors import UserError

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

ECHO_SECONDS = 0.5
"""A signal so soon after the first is the same one: a closing terminal and `timeout` send theirs twice."""

_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread when the command shall end; not an `Exception`, as `KeyboardInterrupt` is none."""


class StoppedError(UserError):
    """A command that a signal ended before its time.

    Args:
        status: exit status, 128 and the signal's number.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class FatalError(UserError):
    """An error after which the process ends without what runs at its end: a broken library would wait there."""


@dataclass
class _State:
    """Of the process, as signals are."""

    listening: bool = False
    deferred: int = 0
    signal: int | None = None
    since: float = 0.0
    reason: UserError | None = None
    poked: bool = False


_state = _State()


@contextmanager
def listening() -> Iterator[None]:
    """Handle signals; a second one ends the process at once. In another than the main thread, or within, nothing new.

    SIGINT and SIGHUP that are ignored, as by `nohup` and for jobs in the background, stay ignored.
    """
    global _state
    if _state.listening or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = handlers()
    atexit.unregister(_leave_on_signals)
    atexit.register(_leave_on_signals)
    _state = _State(listening=True)
    for number, handler in before.items():
        if handler != signal.SIG_IGN or number == signal.SIGTERM:
            signal.signal(number, _handle)
    try:
        yield
    finally:
        _state.listening = False
        restore(before)


def handlers() -> dict[int, Any]:
    """The handlers of `SIGNALS`, to be put back by `restore` after a library has put its own there."""
    return {number: signal.getsignal(number) for number in SIGNALS}


def restore(before: dict[int, Any]) -> None:
    """Put handlers back; in another than the main thread, where a library cannot have changed them, nothing."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def request(reason: UserError) -> None:
    """From a thread: the main thread shall end with this error. What requests also withdraws, and raises the error."""
    if _state.reason is not None or _state.signal is not None:
        return
    _state.reason = reason
    if _state.listening:
        _state.poked = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def withdraw(reason: UserError) -> None:
    """The main thread has ended what it was asked to end."""
    if _state.reason is reason:
        _state.reason = None


def took(number: int) -> None:
    """A library's handler took a signal and raised something else for it; nothing where nobody listens."""
    if _state.listening and _state.signal is None:
        _state.signal, _state.since = number, time.monotonic()


def check() -> None:
    """
    Raises:
        Interrupted: if a signal or a thread has asked for the end.
    """
    if _state.signal is not None or _state.reason is not None:
        raise Interrupted


@contextmanager
def deferred() -> Iterator[None]:
    """Within, requests raise nothing until `check` is called; a request that is left then raises at the end.

    Raises:
        Interrupted: see `check`; not where an exception is being handled, which goes on.
    """
    handling = sys.exc_info()[0] is not None
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1
    if not _state.deferred and not handling:
        check()


def ended(message: str) -> UserError:
    """The error to end with after an `Interrupted` or `KeyboardInterrupt`: a thread's, or a `StoppedError`."""
    return _state.reason or StoppedError(message, status())


def status() -> int:
    """Exit status by which shells and schedulers know that a signal ended a program."""
    return 128 + (_state.signal or signal.SIGINT)


def came() -> bool:
    """True once a signal has asked for the end."""
    return _state.signal is not None


def cause() -> str:
    """Name of the signal as users know it."""
    name = signal.Signals(_state.signal or signal.SIGINT).name
    return "Ctrl-C" if name == "SIGINT" else name


def leave(code: int) -> None:
    """End the process at once, without what would run at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream.isatty():
                stream.write(_SHOW_CURSOR)
            stream.flush()
        except (OSError, ValueError, RuntimeError):
            continue
    os._exit(code)


def _leave_on_signals() -> None:
    """At the end of the process: what libraries do then is not worth a traceback."""
    for number, handler in handlers().items():
        if handler != signal.SIG_IGN:
            signal.signal(number, lambda number, _: leave(128 + number))


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.poked and number == signal.SIGTERM:
        _state.poked = False
    elif _state.signal is None:
        took(number)
    elif time.monotonic() - _state.since > ECHO_SECONDS:
        leave(128 + number)
    else:
        return
    if not _state.deferred:
        raise Interrupted

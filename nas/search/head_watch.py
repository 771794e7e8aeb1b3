"""A thread that notices the end of Ray's head process, without which Ray itself waits a minute and then aborts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import typer

from nas import interruption
from nas.errors import UserError

POLL_SECONDS = 0.5
CONNECT_SECONDS = 5.0

LOCAL_PATIENCE = 1.0
"""Seconds for which the head on this machine may not answer; nothing starts it again."""

CLUSTER_PATIENCE = 45.0
"""Seconds for which a cluster's head may not answer: one with fault tolerance comes back. Ray's own limit is 60 s."""

LEAVE_SECONDS = 8.0
"""Seconds for the main thread to end in order; it may be in a call of Ray's that waits for the head."""

ENDED = 2
"""Exit status, that of all errors."""


class HeadLostError(UserError):
    """Ray's head process has ended, and with it all that ran there."""


@contextmanager
def watched(address: str | None) -> Iterator[None]:
    """Within, the connected Ray's head is looked after; when it is gone, the main thread is told to end.

    Args:
        address: that of the cluster; None for a Ray of our own, on this machine.

    Raises:
        HeadLostError: at the end, if the head was lost.
    """
    watch = _HeadWatch(ray.get_runtime_context().gcs_address, address)
    watch.start()
    try:
        yield
    finally:
        watch.end()
        if watch.lost is not None:
            interruption.withdraw(watch.lost)
            raise watch.lost from None


class _HeadWatch(threading.Thread):
    def __init__(self, gcs: str, address: str | None) -> None:
        super().__init__(name="head watch", daemon=True)
        host, _, port = gcs.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._address = address
        self._over = threading.Event()
        self.lost: HeadLostError | None = None

    def end(self) -> None:
        self._over.set()

    def run(self) -> None:
        patience = LOCAL_PATIENCE if self._address is None else CLUSTER_PATIENCE
        answered = time.monotonic()
        while not self._over.wait(POLL_SECONDS):
            if self._answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > patience:
                self._give_up()
                return

    def _answers(self) -> bool:
        """Whether somebody listens there; a head that is stopped and not dead is left to Ray's own limit."""
        try:
            with socket.create_connection(self._place, timeout=CONNECT_SECONDS):
                return True
        except OSError:
            return False

    def _give_up(self) -> None:
        where = "" if self._address is None else f" at {self._address}"
        self.lost = HeadLostError(
            f"Ray's head process{where} ended or cannot be reached; what was recorded is kept: run the same command "
            "again to go on"
        )
        interruption.request(self.lost)
        if not self._over.wait(LEAVE_SECONDS):
            typer.secho(f"error: {self.lost}", err=True, fg=typer.colors.RED)
            interruption.leave(ENDED)

"""A thread that notices the end of Ray's processes that a driver needs; Ray itself waits a minute and then aborts."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
import typer

from nas import interruption
from nas.terminal import shown

POLL_SECONDS = 0.5
CONNECT_SECONDS = 5.0

LOCAL_PATIENCE = 0.4
"""Seconds for which a process on this machine may not answer; nothing starts it again."""

CLUSTER_PATIENCE = 45.0
"""Seconds for which a cluster's head may not answer: one with fault tolerance comes back. Ray's own limit is 60 s."""

LEAVE_SECONDS = 5.0
"""Seconds for the main thread to end in order; it may be in a call of Ray's that waits for the head."""

SHUTDOWN_SECONDS = 1.0
"""Seconds for the end of a connection to a Ray that was lost; it may take a minute, and is not needed."""

ENDED = 2
"""Exit status, that of all errors."""


class RayLostError(interruption.FatalError):
    """A process of Ray without which nothing can go on has ended."""


@dataclass
class _Process:
    """
    Args:
        name: for the message.
        place: host and port where it listens.
        patience: seconds without an answer.
    """

    name: str
    place: tuple[str, int]
    patience: float
    answered: float = 0.0

    def answers(self) -> bool:
        """True if somebody listens there; a process that is stopped and not dead is left to Ray's own limit."""
        try:
            with socket.create_connection(self.place, timeout=CONNECT_SECONDS):
                return True
        except OSError:
            return False

    def is_lost(self) -> bool:
        if self.answers():
            self.answered = time.monotonic()
        return time.monotonic() - self.answered > self.patience


@contextmanager
def watched(address: str | None, on_loss: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within, Ray's head and its process on this machine are looked after; without them the main thread is ended.

    Args:
        address: that of the cluster; None for a Ray of our own, on this machine.
        on_loss: is called by the thread before the main thread is told.

    Raises:
        RayLostError: at the end, if one of them was lost.
    """
    watch = _Watch(_processes(address), on_loss)
    watch.start()
    try:
        yield
    finally:
        watch.over.set()
        if watch.lost is not None:
            interruption.withdraw(watch.lost)
            raise watch.lost from None


def shut_down() -> None:
    """`ray.shutdown`; while a `RayLostError` is on its way, it is not waited for."""
    if not isinstance(sys.exc_info()[1], RayLostError):
        ray.shutdown()
        return
    thread = threading.Thread(target=ray.shutdown, name="ray.shutdown", daemon=True)
    thread.start()
    thread.join(SHUTDOWN_SECONDS)


def _processes(address: str | None) -> list[_Process]:
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    patience = LOCAL_PATIENCE if address is None else CLUSTER_PATIENCE
    where = "" if address is None else f" at {address}"
    found = [_Process(f"Ray's head process{where}", (host.strip("[]"), int(port)), patience)]
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            place = (node["NodeManagerAddress"], node["NodeManagerPort"])
            found.append(_Process("Ray's process on this machine (raylet)", place, LOCAL_PATIENCE))
    return found


class _Watch(threading.Thread):
    def __init__(self, processes: list[_Process], on_loss: Callable[[], None]) -> None:
        super().__init__(name="head watch", daemon=True)
        self._processes = processes
        self._on_loss = on_loss
        self.over = threading.Event()
        self.lost: RayLostError | None = None

    def run(self) -> None:
        for process in self._processes:
            process.answered = time.monotonic()
        while not self.over.wait(POLL_SECONDS):
            for process in self._processes:
                if process.is_lost():
                    self._give_up(process.name)
                    return

    def _give_up(self, name: str) -> None:
        if self.over.is_set():
            return
        self.lost = RayLostError(
            f"{name} ended or cannot be reached; what was recorded is kept: run the same command again to go on"
        )
        self._on_loss()
        interruption.request(self.lost)
        if not self.over.wait(LEAVE_SECONDS):
            typer.secho(shown(f"error: {self.lost}"), err=True, fg=typer.colors.RED)
            interruption.leave(ENDED)

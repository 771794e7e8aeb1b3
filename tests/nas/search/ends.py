"""A toy search with a Ray of its own in a process of its own, and all the processes that belong to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import toy_search
from ray_nodes import command_of, processes_naming

VICTIMS = {
    "worker": "ray::Worker",
    "raylet": "/raylet/raylet",
    "gcs": "/gcs/gcs_server",
    "agent": "Agent",
}
"""Parts of the command lines of Ray's processes."""

TRACES = ("Traceback", "*** SIG", "@ 0x", "Exception ignored", "Fatal Python error")


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.05)


class Search:
    """A running search.

    Args:
        home: a directory with a short name: Ray's sockets lie in it.
        ignored: signals that it shall ignore, as jobs in the background do.
    """

    def __init__(self, home: Path, *, trials: int, milliseconds: int, ignored: tuple[int, ...] = ()) -> None:
        self.home = home
        self.temporary, self.orders, self.run_dir = home / "t", home / "orders", home / "run"
        for directory in (self.temporary, self.orders):
            directory.mkdir(exist_ok=True)

        def dispositions() -> None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        words = [self.orders, self.run_dir, trials, milliseconds]
        unset = ("RAY_TMPDIR", "RAY_ADDRESS", "NASFPN_TRACEBACK")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, toy_search.__file__, *map(str, words)],
            env=environment | {"TMPDIR": str(self.temporary), "ENDS_OF_TEST": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=dispositions,
        )
        self.output: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.output), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, lines: list[str]) -> None:  # type: ignore[no-untyped-def]
        for line in stream:
            lines.append(line)

    @property
    def finished(self) -> list[int]:
        """Trials that it has said to be in the journal."""
        return [int(line.split()[1]) for line in list(self.output) if line.startswith("finished ")]

    def wait_for(self, trials: int, seconds: float = 240) -> None:
        """Until so many trials have finished, or it has ended."""
        until(lambda: len(self.finished) >= trials or self.process.poll() is not None, seconds)

    def wait_until_begun(self) -> None:
        until(lambda: "begun\n" in self.output or self.process.poll() is not None, 120)

    def processes(self) -> set[int]:
        """Those of its Ray, and itself as long as it runs."""
        return processes_naming(str(self.home))

    def victims(self, kind: str) -> list[int]:
        if kind == "driver":
            return [self.process.pid]
        return sorted(pid for pid in self.processes() if VICTIMS[kind] in command_of(pid).partition("--")[0])

    def end(self, seconds: float) -> int:
        """Its exit status, at most so many seconds from now."""
        try:
            status = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on after {seconds} s: {self.said}") from None
        for reader in self._readers:
            reader.join(timeout=10)
        return status

    @property
    def said(self) -> str:
        """All but trials that finished."""
        lines = [line for line in self.output if not line.startswith(("begun", "finished "))]
        return "".join([*lines, *self.errors])

    def require_nothing_left(self, seconds: float = 10) -> None:
        """No process that long from now, and no file outside of the run directory."""
        until(lambda: not self.processes(), seconds)
        until(lambda: not list(self.temporary.iterdir()), 5)

    def kill(self) -> None:
        """Whatever is left of it."""
        for pid in self.processes() | ({self.process.pid} if self.process.poll() is None else set()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=10)

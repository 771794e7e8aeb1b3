"""Commands with a Ray of their own in processes of their own, and all the processes that belong to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support import toy_search
from tests.support.ray_nodes import command_of, processes_naming

END_SECONDS = 15
"""10 s, and some more on a machine that runs other tests."""

VICTIMS = {
    "worker": "ray::TrialWorker",
    "raylet": "/raylet/raylet",
    "gcs": "/gcs/gcs_server",
    "agent": "Agent",
}
"""Parts of the command lines of Ray's processes."""

TRACES = ("Traceback", "*** SIG", "@ 0x", "Exception ignored", "Fatal Python error")

NOTES = ("trying again", "tried again", "cut off")
"""Parts of lines that say what a search copes with."""


def until(condition: Callable[[], object], seconds: float, state: Callable[[], object] = str) -> None:
    """Wait for a condition; `state` is shown if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {state()}"
        time.sleep(0.05)


class Command:
    """A running command.

    Args:
        home: a directory with a short name: Ray's sockets lie in it.
        words: of the command, after Python.
        ignored: signals that it shall ignore, as jobs in the background do.
    """

    def __init__(self, home: Path, words: Sequence[object], ignored: tuple[int, ...] = ()) -> None:
        self.home = home
        self.temporary, self.run_dir = home / "t", home / "run"
        self.temporary.mkdir(exist_ok=True)

        def dispositions() -> None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        unset = ("RAY_TMPDIR", "RAY_ADDRESS", "NASFPN_TRACEBACK")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)],
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

    def wait_until(self, condition: Callable[[], object], seconds: float = 240) -> None:
        """Until it is so, or the command has ended."""
        until(lambda: condition() or self.process.poll() is not None, seconds)

    def processes(self) -> set[int]:
        """Those of its Ray, and itself as long as it runs."""
        return processes_naming(str(self.home))

    def victims(self, kind: str) -> list[int]:
        if kind == "driver":
            return [self.process.pid]
        return sorted(pid for pid in self.processes() if VICTIMS[kind] in command_of(pid).partition("--")[0])

    def strike(self, kind: str, number: int) -> None:
        """Send a signal to one of its processes, if there is one."""
        for pid in self.victims(kind)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

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
        """All but how it got on, and what it coped with."""
        lines = [line for line in self.output if not line.startswith(("begun", "finished "))]
        return "".join(line for line in [*lines, *self.errors] if not any(note in line for note in NOTES))

    def require_clean(self) -> None:
        """It said one line at most, and left nothing."""
        assert not [trace for trace in TRACES if trace in self.said], self.said
        assert self.said.count("\n") <= 1, self.said
        self.require_nothing_left()

    def require_nothing_left(self, seconds: float = 10) -> None:
        """No process that long from now, and no file outside of the run directory."""
        until(lambda: not self.processes(), seconds, lambda: [command_of(pid)[:80] for pid in self.processes()])
        until(lambda: not list(self.temporary.iterdir()), 5, lambda: list(self.temporary.rglob("*"))[:5])

    def kill(self) -> None:
        """Whatever is left of it."""
        for pid in self.processes() | ({self.process.pid} if self.process.poll() is None else set()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=10)


class Search(Command):
    """A toy search."""

    def __init__(self, home: Path, *, trials: int, milliseconds: int, ignored: tuple[int, ...] = ()) -> None:
        orders = home / "orders"
        orders.mkdir(exist_ok=True)
        super().__init__(home, [toy_search.__file__, orders, home / "run", trials, milliseconds], ignored)

    @property
    def finished(self) -> list[int]:
        """Trials that it has said to be in the journal."""
        return [int(line.split()[1]) for line in list(self.output) if line.startswith("finished ")]

    def wait_for(self, trials: int) -> None:
        """Until so many trials have finished, or it has ended."""
        self.wait_until(lambda: len(self.finished) >= trials)

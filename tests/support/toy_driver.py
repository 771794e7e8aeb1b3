"""A toy search in a process of its own, on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import toy_search
from tests.support.ray_nodes import RayNodes

TRIALS = 40


class Driver:
    """A toy search in a process of its own, whose outcomes are counted as they come.

    Args:
        trials: all of them, the known and the random ones included.
    """

    def __init__(
        self, nodes: RayNodes, directory: Path, storage: str = "", *, trials: int = TRIALS, milliseconds: int = 700
    ) -> None:
        self.orders, self.run_dir = directory / "orders", directory / "run"
        self.orders.mkdir(exist_ok=True)
        self.errors = (directory / "errors.log").open("a")
        arguments = [str(self.orders), str(self.run_dir), str(trials - 4), str(milliseconds), storage, nodes.gcs]
        self.process = subprocess.Popen(
            [sys.executable, toy_search.__file__, *arguments],
            env=nodes.environment(),
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def wait_for(self, outcomes: int) -> None:
        """Read until so many more trials have finished."""
        while outcomes:
            line = self.process.stdout.readline()
            assert line, Path(self.errors.name).read_text()
            outcomes -= line.startswith("finished")

    def finish(self) -> None:
        self.process.communicate(timeout=600)
        assert self.process.returncode == 0, Path(self.errors.name).read_text()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

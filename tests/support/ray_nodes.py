"""A Ray cluster of real processes on this machine, which ends without touching other Ray processes."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

START_SECONDS = 90
UNPROTECTED = {"RAY_AUTH_MODE": "disabled"}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class RayNodes:
    """A head without CPUs for trials, and workers; `ray start --block`, each in a session of its own.

    Args:
        auth: environment of all nodes, and of clients; None: a token of their own.
    """

    def __init__(self, workers: int, cpus: int = 1, auth: dict[str, str] | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ray-nodes-", dir="/tmp"))
        self.auth = auth or {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        gcs, dashboard, client = free_ports(3)
        self.address = f"http://127.0.0.1:{dashboard}"
        self.gcs = f"127.0.0.1:{gcs}"
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start(
                "head",
                f"--head --port={gcs} --num-cpus=0 --include-dashboard=true --dashboard-host=127.0.0.1 "
                f"--dashboard-port={dashboard} --ray-client-server-port={client}{self._head_options()}",
            )
            self._wait(lambda: self._alive() >= 1)
            for number in range(workers):
                self._start(f"worker{number}", f"--address=127.0.0.1:{gcs} --num-cpus={cpus}")
            self._wait(lambda: self._alive() == workers + 1)
        except BaseException:
            self.stop()
            raise

    def environment(self) -> dict[str, str]:
        names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")
        base = {name: value for name, value in os.environ.items() if name not in names}
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{base['PATH']}"
        return base | self.auth | {"PATH": binaries, "OMP_NUM_THREADS": "1", "RAY_NODES_OF_TEST": str(self.home)}

    def _head_options(self) -> str:
        return ""

    def _node_environment(self) -> dict[str, str]:
        """What nodes have besides what clients have, too."""
        return {}

    def _start(self, name: str, options: str) -> None:
        log = (self.home / f"{name}.log").open("wb")
        command = ["ray", "start", "--block", "--disable-usage-stats", f"--temp-dir={self.home / name}"]
        self.processes.append(
            subprocess.Popen(
                [*command, "--object-store-memory=100000000", "--dashboard-agent-listen-port=0", *options.split()],
                env=self.environment() | self._node_environment(),
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(self.address + path)
        if token := self.auth.get("RAY_AUTH_TOKEN"):
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bytes(answer.read())

    def _alive(self) -> int:
        return self._get("/nodes?view=summary").count(b'"state": "ALIVE"')

    def _wait(self, condition: object) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self.processes):
                break
            try:
                if condition():  # type: ignore[operator]
                    return
            except OSError:
                pass
            time.sleep(0.5)
        raise RuntimeError("\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in self.home.glob("*.log")))

    def kill_workers(self, name: str) -> int:
        """Kill -9 every process that a node started for tasks or actors of that name; how many there were."""
        pids = [pid for pid in processes_naming(str(self.home)) if command_of(pid).startswith(f"ray::{name}")]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def kill_node(self, name: str) -> None:
        """Kill -9 a whole machine: `head`, `worker0`, ..."""
        for pid in processes_naming(str(self.home / name)):
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Raylet and GCS lie in the sessions of `ray start`, workers and jobs in sessions that they made themselves."""
        ours = {process.pid for process in self.processes}
        for pid in processes_naming(str(self.home)) | ours:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.processes:
            process.wait(timeout=10)
        shutil.rmtree(self.home, ignore_errors=True)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def processes_naming(text: str) -> set[int]:
    """Processes with `text` in their command line or environment."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words:
            found.add(int(entry.name))
    return found

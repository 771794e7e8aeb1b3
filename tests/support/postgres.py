"""A PostgreSQL server of the test's own, from the system's packages; real starts, real kills."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.ray_nodes import free_ports


def binaries() -> Path | None:
    """Where `pg_ctl` and `initdb` are, if they are installed."""
    found = shutil.which("pg_ctl")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


class Postgres:
    """Listens on a free port of this machine. It refuses to run as root, so root hands it to the user `postgres`."""

    def __init__(self) -> None:
        place = binaries()
        assert place is not None
        self._bin = place
        self._home = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._home, self._user)
        (self.port,) = free_ports(1)
        self.url = f"postgresql+psycopg://nas@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-D", str(self._home / "data"), "-A", "trust", "-U", "nas", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self._home} -c listen_addresses=127.0.0.1"
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", str(self._home / "data"), "-l", log, "-w", "-o", options, "start")

    def kill(self) -> None:
        """As a crash would: connections break, nothing is tidied up."""
        self._run("pg_ctl", "-D", str(self._home / "data"), "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / name), *arguments],
            user=self._user,
            cwd="/tmp",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        assert done.returncode == 0, f"{name} ended with {done.returncode}"

"""What a second process without the token can do to a search that is running: nothing."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import ray
from ray._raylet import AuthenticationTokenLoader

from nas.search.resources import ResourceConfig
from nas.workers import unprotected
from nas.workers.private_ray import environment, private_directory, private_ray
from nas.workers.ray_session import connected
from tests.support import intruder
from tests.support.listeners import Port, answers, listening
from tests.support.toy_search import Teller, search, toy_config

WRONG = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
TOKENS = {"no token": {"RAY_AUTH_MODE": "disabled"}, "a wrong token": WRONG}

STRANGER = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_NUM_REDIS_GET_RETRIES": "1"}
"""A client on loopback, which else puts the machine's address in the place of 127.0.0.1, and which tries once."""


@dataclass(frozen=True)
class Attempt:
    """What became of an intruder."""

    status: int
    said: str
    complained: str


@dataclass
class Seen(Teller):
    """What somebody else sees of a search, just after its first trial."""

    home: Path
    attempts: dict[str, Attempt] = field(default_factory=dict)
    answers: dict[Port, set[str]] = field(default_factory=dict)
    reached: tuple[tuple[str, int], ...] = ()
    is_open: bool = True
    token: str = ""
    directory: Path | None = None
    modes: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    nice: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__init__()

    def finished(self, trial, plan) -> None:
        if self.directory is not None:
            return
        self.directory = private_directory()
        assert self.directory is not None
        file = self.directory / "token"
        self.token = file.read_text()
        self.modes = tuple(stat.S_IMODE(path.stat().st_mode) for path in (self.directory, file))
        self.nice = tuple(process.nice() for process in family() if process.name().startswith("ray::"))
        self.files = tuple(path for process in family() for path in paths_of(process))
        self.leaks = tuple(process.name() for process in family() if self.token in environment_and_command(process))
        with ThreadPoolExecutor() as pool:
            calls = {
                which: pool.submit(intrude, ray.get_runtime_context().gcs_address, self.home, which) for which in TOKENS
            }
            ports = listening(os.getpid())
            mine = {port.number for port in ports} - ports_of_others()
            self.reached = tuple((ip, port) for ip in own_addresses() for port in mine if is_reached(ip, port))
            self.answers = dict(zip(ports, pool.map(answers, ports), strict=True))
            self.is_open = unprotected._is_open()
            self.attempts = {which: call.result() for which, call in calls.items()}


def own_addresses() -> list[str]:
    """Of this machine on its networks; none on a machine without any."""
    found = [address for every in psutil.net_if_addrs().values() for address in every]
    return [entry.address for entry in found if entry.family.name == "AF_INET" and entry.address != "127.0.0.1"]


def ports_of_others() -> set[int]:
    """What other programs listen on; another Ray may have the same port, 52365, at another address."""
    ours = {process.pid for process in family()}
    found = (entry for entry in psutil.net_connections("tcp") if entry.status == psutil.CONN_LISTEN)
    return {entry.laddr.port for entry in found if entry.pid not in ours}


def is_reached(ip: str, port: int) -> bool:
    """Whether a connection to that port can be made at an address of this machine."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((ip, port)) == 0


def family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def paths_of(process: psutil.Process) -> list[str]:
    """Sockets and files for writing that a process of Ray has open."""
    try:
        sockets = [connection.laddr for connection in process.net_connections("unix")]
        files = [entry.path for entry in process.open_files() if entry.mode != "r"]
    except psutil.Error:
        return []
    return [path for path in (*sockets, *files) if path]


def environment_and_command(process: psutil.Process) -> str:
    try:
        return "\n".join((*process.environ().values(), *process.cmdline()))
    except psutil.Error:
        return ""


def intrude(address: str, home: Path, which: str) -> Attempt:
    """Run `intruder.py` as a stranger would: with nothing of this process's environment, and a home without a token."""
    base = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, intruder.__file__, address, str(home / "intruded")],
        env=base | STRANGER | TOKENS[which],
        capture_output=True,
        text=True,
        timeout=90,
    )
    return Attempt(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    path = tmp_path_factory.mktemp("private")
    seen = Seen(path)
    with environment({"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}):
        search(toy_config(path, trials=3, random_trials=0, known=()), path / "run", seen)
    return seen


@pytest.mark.parametrize("which", TOKENS)
def test_strangers_on_this_machine_are_refused_for_want_of_the_token(seen, which):
    attempt = seen.attempts[which]
    assert attempt.status != 0
    assert "InvalidAuthToken" in attempt.complained
    assert "ran" not in attempt.said
    assert not (seen.home / "intruded").exists()


def test_on_the_machines_addresses_nobody_answers(seen):
    assert seen.reached == ()
    assert [port for port in seen.answers if not port.is_loopback] == []


def test_every_port_wants_the_token(seen):
    assert len(seen.answers) >= 6  # GCS, raylet's two, driver, worker, agents
    refused = {"401", "403", "UNAUTHENTICATED"}
    assert {port: found for port, found in seen.answers.items() if not found or not found <= refused} == {}
    assert not seen.is_open


def test_the_token_is_the_users_alone_and_gone_afterwards(seen):
    assert seen.modes == (0o700, 0o600)
    assert len(seen.token) == 64
    assert seen.leaks == ()
    assert not seen.directory.exists()
    assert not (seen.home / ".ray").exists()


def test_workers_get_as_much_of_a_busy_machine_as_other_programs(seen):
    assert seen.nice
    assert set(seen.nice) == {psutil.Process().nice()}


def test_rays_files_lie_where_nobody_else_can_write(seen):
    of_ray = [path for path in seen.files if "/session_" in path]
    assert any(path.endswith("/sockets/plasma_store") for path in of_ray)
    assert any(path.endswith((".log", ".out", ".err")) for path in of_ray)
    assert all(Path(path).is_relative_to(seen.directory) for path in of_ray)
    assert not Path(f"{seen.directory}-over").exists()


def test_the_users_own_token_is_for_other_clusters(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's")
    monkeypatch.setenv("HOME", str(tmp_path))

    def current() -> str:
        return AuthenticationTokenLoader.instance().get_raw_token(ignore_auth_mode=True)

    tokens = set()
    for _ in range(2):
        with private_ray():
            assert (os.environ["RAY_AUTH_MODE"], os.environ.get("RAY_AUTH_TOKEN")) == ("token", None)
            assert current() == (private_directory() / "token").read_text()
            tokens.add(current())
        assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]) == ("disabled", "the user's")
        assert current() == "the user's"
        assert private_directory() is None
    assert len(tokens) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_no_token_behind():
    with pytest.raises(RuntimeError, match="Ray does not start"), private_ray():  # noqa: PT012
        directory = private_directory()
        raise RuntimeError("Ray does not start")
    assert not directory.exists()


def test_a_ray_without_a_token_is_warned_about(caplog):
    with environment({"RAY_AUTH_MODE": "disabled"}):
        ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
        try:
            with caplog.at_level(logging.WARNING), connected(ResourceConfig(), None):
                address = ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()
    (warning,) = (record.message for record in caplog.records if record.name.startswith("nas."))
    assert f"{address} asks for no token" in warning
    assert "RAY_AUTH_MODE=token" in warning

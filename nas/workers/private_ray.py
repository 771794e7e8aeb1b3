"""Private Ray: one that this project starts, which nobody but the user can reach."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import ray
from ray._private import ray_constants

from nas.configuration import ConfigError

PREFIX = "nasfpn-"
"""Name of a private directory, before its random part."""

LONGEST_SOCKET = 107
"""Bytes in the path of a Unix socket on Linux (4 fewer on macOS)."""

LONGEST_PARENT = (
    LONGEST_SOCKET - 4 - len(f"/{PREFIX}12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
)
"""Bytes that are left for a private directory's parent."""

VARIABLES = "RAY_TMPDIR (or TMPDIR)"
"""Variables that say where private directories are made."""

TOKEN_FILE = "token"
TOKEN_BYTES = 32

NICENESS = "RAY_worker_niceness"
"""Niceness of workers towards other programs. Ray's default, 15, leaves them 3 % of a core that another one uses; 0,
ours, half of it."""

NO_METRICS = {
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
}
"""Nothing is shown to Prometheus, which Ray does not ask for a token. Two processes have no switch for that, and a port
that cannot be: they note it in their logs and go on."""


@contextmanager
def private_ray() -> Iterator[Path]:
    """`private_settings`, with Ray stopped at the end, if that was not done before."""
    with private_settings() as directory:
        try:
            yield directory
        finally:
            ray.shutdown()


@contextmanager
def private_settings() -> Iterator[Path]:
    """The time of a Ray on this machine: one started inside by `ray.init("local")` is closed to everybody else.

    It has to be stopped before the end.

    There are three locks. Ray's servers listen on the loopback interface only, as they do by default on macOS and
    Windows, so nothing answers on the machine's addresses. Every call wants a token, random and new for each Ray, so
    other users of the machine are refused on loopback, too. And Ray's own files (sockets, logs, code for workers), in
    directories that Ray lets everybody write to, lie inside one of mode 0700.

    The token is a file of mode 0600 in the same directory, and the environment names the file. A token in the
    environment itself would be copied to every process that a worker starts, and shown by whatever prints or sends its
    environment, such as crash reports and experiment trackers. The directory is locked while Ray runs, so that
    systemd-tmpfiles does not clear it away under a search of many days, and is removed at the end with all that is in
    it. `~/.ray/auth_token` is neither read nor written.

    The user's own settings of Ray's authentication are for other clusters; they hold again afterwards. As with
    `ray.init`, there is one at a time in a process.

    Yields:
        The private directory.

    Raises:
        ConfigError: if there is no directory in which Ray's sockets can be.
    """
    with _private_directory() as directory:
        file = directory / TOKEN_FILE
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(TOKEN_BYTES))
        loopback = _loopback_interface()
        settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": None,
            "RAY_AUTH_TOKEN_PATH": str(file),
            "RAY_TMPDIR": str(directory),
            **NO_METRICS,
            NICENESS: os.environ.get(NICENESS, "0"),
            "GLOO_SOCKET_IFNAME": loopback,
            "NCCL_SOCKET_IFNAME": loopback,
        }
        try:
            with environment(settings), _on_loopback():
                _read_settings()
                yield directory
        finally:
            _read_settings()


def private_directory() -> Path | None:
    """The directory that only this user can read and that ends with the private Ray; None where Ray is not private."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", ""))
    return file.parent if file.parent.name.startswith(PREFIX) else None


@contextmanager
def environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables for this time; None takes one away."""
    before = {name: os.environ.get(name) for name in settings}
    _set(settings)
    try:
        yield
    finally:
        _set(before)


def _set(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _private_directory() -> Iterator[Path]:
    """Moved away before it is removed, as Ray's last processes may still be writing logs there."""
    directory = _make_directory()
    lock = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield directory
    finally:
        shutil.rmtree(directory.rename(f"{directory}-over"), ignore_errors=True)
        os.close(lock)


def _make_directory() -> Path:
    """In the directory for temporary files that Ray was told to use, or else the system's, or `/tmp` if that is long.

    Raises:
        ConfigError: if there is no directory in which Ray's sockets can be.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    if (outer := private_directory()) is not None and chosen == str(outer):
        chosen = str(outer.parent)  # this process was started by one with a private Ray
    try:
        base = chosen or tempfile.gettempdir()
        if len(os.fsencode(base)) > LONGEST_PARENT and chosen is None and sys.platform != "win32":
            base = "/tmp"
        if len(os.fsencode(base)) > LONGEST_PARENT:
            raise ConfigError(
                f"RAY_TMPDIR is {base!r}, in which the paths of Ray's sockets would be longer than {LONGEST_SOCKET} "
                f"bytes; set {VARIABLES} to a directory of at most {LONGEST_PARENT} bytes, such as /tmp"
            )
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)).absolute()
    except OSError as error:
        raise ConfigError(
            f"Ray needs a directory for its sockets and logs: {error}; set {VARIABLES} to one that can be written"
        ) from error


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray takes 127.0.0.1 for this machine's address, to which its servers then bind.

    `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` does the same, but is read once, when Ray is imported, and would be in the
    way of joining a cluster. With `ray.init(_node_ip_address="127.0.0.1")` Ray puts the machine's address in its place.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _loopback_interface() -> str:
    """`lo` on Linux, `lo0` on macOS."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def _read_settings() -> None:
    """Let Ray, which keeps both, read its settings and then the token again; in this order.

    Threads of a Ray that has just ended may still ask for the token; in token mode they abort the process if there is
    none.
    """
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()

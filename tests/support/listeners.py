"""Ports that processes listen on, and what they answer to somebody who has no token."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

CALLS = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "InternalKVGcsService/InternalKVKeys",
    "JobInfoGcsService/GetAllJobInfo",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "CoreWorkerService/PushTask",
    "CoreWorkerService/Exit",
    "ReporterService/GetTraceback",
    "LogService/ListLogs",
)
"""At least one of each server of Ray: GCS, raylet (two), driver and workers, agent."""

SECONDS = 5.0
LISTENING = "0A"
"""State of a socket in `/proc/net/tcp`."""


@dataclass(frozen=True)
class Port:
    """A port that a process listens on."""

    process: str
    ip: str
    number: int

    @property
    def host(self) -> str:
        """Where it can be reached from this machine."""
        ip = self.ip.removeprefix("::ffff:")
        return "127.0.0.1" if ip in ("0.0.0.0", "::") else ip

    @property
    def is_loopback(self) -> bool:
        return self.ip.removeprefix("::ffff:") in ("127.0.0.1", "::1")


def listening(pid: int) -> set[Port]:
    """The ports of a process and of all that it started."""
    found = set()
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        try:
            name = one.name()
            for connection in one.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(Port(name, connection.laddr.ip, connection.laddr.port))
        except psutil.Error:  # it has ended by now
            continue
    return found


@contextmanager
def watched(pid: int) -> Iterator[set[Port]]:
    """All ports that were listened on at some time during this."""
    found: set[Port] = set()
    over = threading.Event()

    def watch() -> None:
        known: set[str] = set()
        while not over.wait(0.3):
            if (now := _sockets()) - known:  # the owners are looked up only then: that takes a second under load
                known = now
                found.update(listening(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _sockets() -> set[str]:
    """Of the whole machine, those that are listened on, by inode."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {row[9] for row in rows if row[3] == LISTENING}


def answers(port: Port) -> set[str]:
    """Status codes that somebody without a token gets: HTTP's numbers, or gRPC's names without UNIMPLEMENTED."""
    try:
        return {str(_http_status(port, method)) for method in ("GET", "POST")}
    except http.client.HTTPException:  # it speaks gRPC
        with grpc.insecure_channel(f"{port.host}:{port.number}") as channel:
            return {_grpc_status(channel, call) for call in CALLS} - {"UNIMPLEMENTED"}


def _http_status(port: Port, method: str) -> int:
    connection = http.client.HTTPConnection(port.host, port.number, timeout=SECONDS)
    try:
        connection.request(method, "/")
        return connection.getresponse().status
    finally:
        connection.close()


def _grpc_status(channel: grpc.Channel, call: str) -> str:
    try:
        channel.unary_unary(f"/ray.rpc.{call}")(b"", timeout=SECONDS)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"

"""Ray's start and end on this machine, where Ray's part can be played: directories, second tries, watchmen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from nas import interruption
from nas.configuration import ConfigError
from nas.workers import head_watch, ray_start, watchman
from nas.workers.head_watch import RayLostError
from nas.workers.private_ray import LONGEST_PARENT, PREFIX
from nas.workers.ray_start import local_ray

TIMED_OUT = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path_factory) -> Iterator[Path]:
    """An empty directory with a short name, in which Ray's are made."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as name:
        monkeypatch.setenv("RAY_TMPDIR", name)
        yield Path(name)


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)


class Starts:
    """Stands in for `ray.init`: raises what it is given, one after the other, then works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.directories: list[str] = []
        monkeypatch.setattr(ray, "init", self)
        monkeypatch.setattr(ray, "shutdown", lambda: None)
        monkeypatch.setattr(ray_start, "silence", lambda: None)

    def __call__(self, address: str, **options: object) -> None:
        self.directories.append(os.environ["RAY_TMPDIR"])
        if self.errors:
            raise self.errors.pop(0)


def test_a_start_that_timed_out_is_tried_again(monkeypatch, temporary, caplog):
    starts = Starts(monkeypatch, Exception(f"{TIMED_OUT}\nmore\nlines"))
    with local_ray():
        assert [Path(name).parent for name in starts.directories] == [temporary] * 2
    assert caplog.messages == [f"Ray could not be started ({TIMED_OUT}); trying again"]
    assert not list(temporary.iterdir())


def test_a_start_that_times_out_twice_is_one_line(monkeypatch, temporary):
    Starts(monkeypatch, Exception(TIMED_OUT), Exception(f"{TIMED_OUT}\nmore\nlines"))
    wanted = r"timed out during startup.*RAY_TMPDIR"
    with pytest.raises(ConfigError, match=wanted) as caught, local_ray():
        pass
    assert "\n" not in str(caught.value)
    assert not list(temporary.iterdir())


def test_a_signal_during_the_start_is_no_error_of_the_start(monkeypatch, temporary):
    Starts(monkeypatch, SystemExit(15))
    with pytest.raises(interruption.Interrupted), local_ray():
        pass
    assert not list(temporary.iterdir())


def test_a_long_tmpdir_gives_way_to_a_short_directory(monkeypatch, tmp_path):
    long = tmp_path / ("x" * LONGEST_PARENT)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    starts = Starts(monkeypatch)
    with local_ray():
        assert Path(starts.directories[0]).parent == Path("/tmp")
    assert not list(long.iterdir())


@pytest.mark.parametrize(
    ("base", "message"),
    [("/tmp/" + "x" * LONGEST_PARENT, "RAY_TMPDIR is .*107 bytes"), ("/tmp/is/not/there", "RAY_TMPDIR .or TMPDIR.")],
)
def test_a_directory_that_cannot_be_used_is_one_line_with_the_variables(monkeypatch, base, message):
    monkeypatch.setenv("RAY_TMPDIR", base)
    with pytest.raises(ConfigError, match=message) as caught, local_ray():
        pass
    assert "\n" not in str(caught.value)
    assert "TMPDIR" in str(caught.value)


def test_the_longest_directory_holds_rays_sockets(monkeypatch):
    """Ray's own limit is at its session's names: one byte more, and Ray would refuse."""
    base = "/tmp/" + "x" * (LONGEST_PARENT - len("/tmp/"))
    session = f"{base}/{PREFIX}12345678/ray/session_2026-11-28_01-00-00_000000_{2**22}"
    ray._private.utils.validate_socket_filepath(f"{session}/sockets/plasma_store")


def test_a_watchman_kills_what_a_killed_search_leaves(temporary):
    """Its Ray is two shells with children, in sessions of their own, and a process that has lost its environment."""
    directory = temporary / "nas-x"
    directory.mkdir()
    code = f"""
import os, subprocess, sys, time
from pathlib import Path
from nas.workers import ray_start
from nas.workers import watchman
os.environ[watchman.MARK] = {str(directory)!r}
ray_start._start_watchman(Path({str(directory)!r}))
for _ in range(2):
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 300 & sleep 300"], start_new_session=True)
with open({str(directory / "agent.out")!r}, "w") as log:
    subprocess.Popen(["sleep", "300"], env={{}}, stdout=log, start_new_session=True)
print("ready", flush=True)
time.sleep(300)
"""
    environment = {name: value for name, value in os.environ.items() if name != watchman.MARK}
    search = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert search.stdout is not None
    assert search.stdout.readline() == "ready\n"
    until(lambda: len(watchman.marked(str(directory))) == 7)
    search.kill()
    search.wait()
    until(lambda: not watchman.marked(str(directory)), 10)
    until(lambda: not directory.exists(), 10)


@pytest.fixture
def head(monkeypatch) -> Iterator[socket.socket]:
    """A head that answers until it is closed."""
    monkeypatch.setattr(head_watch, "POLL_SECONDS", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()

        class Context:
            gcs_address = f"{host}:{port}"

            def get_node_id(self) -> str:
                return "this"

        monkeypatch.setattr(ray, "nodes", list)
        monkeypatch.setattr(ray, "get_runtime_context", Context)
        yield server


@pytest.mark.parametrize("address", [None, "10.0.0.1:6379"])
def test_a_lost_head_ends_the_main_thread_with_one_line(monkeypatch, head, address):
    monkeypatch.setattr(head_watch, "LOCAL_PATIENCE", 0.1)
    monkeypatch.setattr(head_watch, "CLUSTER_PATIENCE", 0.2)

    lost = []

    def lose() -> None:
        with interruption.listening(), head_watch.watched(address, lambda: lost.append(address)):
            head.close()
            time.sleep(30)

    with pytest.raises(RayLostError, match=r"Ray's head process.*run the same command again") as caught:
        lose()
    assert (address or "process ended") in str(caught.value)
    assert lost == [address]
    interruption.check()


def test_a_head_that_answers_is_left_alone(head):
    with head_watch.watched(None):
        time.sleep(0.2)
        interruption.check()


def test_a_main_thread_that_does_not_end_is_ended(head):
    """It waits in a call that signals do not reach."""
    code = """
import socket, time, ray
from nas import interruption
from nas.workers import head_watch
server = socket.create_server(("127.0.0.1", 0))
class Context:
    gcs_address = "127.0.0.1:%d" % server.getsockname()[1]
ray.nodes = list
ray.get_runtime_context = Context
head_watch.LOCAL_PATIENCE = head_watch.LEAVE_SECONDS = .1
with interruption.listening(), interruption.deferred(), head_watch.watched(None):
    server.close()
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Ray's head process ended")
    assert done.stderr.count("\n") == 1

"""`nasfpn submit` against Ray nodes that are real processes: a head without CPUs and two workers on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nas.cli import main
from tests.support.ray_nodes import UNPROTECTED, RayNodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
TINY = {
    "confirm.trainings": "0",
    "data.embedded": '{"train": 16, "reward": 8, "test": 2}',
    "proxy.steps": "4",
    "random_trials": "1",
    "known": '["fpn"]',
}

WAITS = """
import sys, time, ray
ray.init("auto", log_to_driver=False)
print("nodes", len(ray.nodes()), flush=True)
time.sleep(float(sys.argv[sys.argv.index("--run-dir") + 1].removeprefix("/")))
print("the end", flush=True)
"""
"""Stands in for `nas.cli`: says that it began, and waits for as many seconds as the run directory's name."""

JOINS = """
import sys
from nas.workers.ray_session import connected
from nas.search.resources import ResourceConfig
with connected(ResourceConfig(), sys.argv[1]):
    pass
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes(workers=2)
    yield nodes
    nodes.stop()


@pytest.fixture
def waits(tmp_path: Path) -> Path:
    (tmp_path / "work" / "nas").mkdir(parents=True)
    (tmp_path / "work" / "nas" / "__init__.py").touch()
    (tmp_path / "work" / "nas" / "cli.py").write_text(WAITS)
    return tmp_path / "work"


def submit(nodes: RayNodes, *arguments: object, auth: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nas.cli", "submit", "experiments.signs:smoke", "--address", nodes.address]
    environment = nodes.environment()
    if auth is not None:
        environment = {name: value for name, value in environment.items() if name not in nodes.auth} | auth
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    shown, notes = process.communicate(timeout=400)
    return process.returncode, shown, notes


def test_a_search_runs_to_its_end_and_its_log_streams(nodes, tmp_path, monkeypatch, capsys):
    sets = [
        word for item in {"data.root": str(tmp_path / "data"), **TINY}.items() for word in ("--set", "=".join(item))
    ]
    process = submit(nodes, "--run-dir", tmp_path / "run", "--trials", 2, "--workers", 2, *sets)
    assert process.stdout is not None
    lines, streamed = [], False
    for line in process.stdout:
        lines.append(line)
        streamed |= line.startswith("[") and process.poll() is None
    status, _, notes = finished(process)
    assert status == 0, "".join(lines) + notes
    assert streamed
    assert sum(line.startswith("[") for line in lines) == 4
    assert "succeeded" in notes
    monkeypatch.setattr(sys, "argv", ["nasfpn", "status", str(tmp_path / "run"), "--json"])
    with pytest.raises(SystemExit):
        main()
    now = json.loads(capsys.readouterr().out)
    assert (now["state"], now["finished"], now["failed"], now["running"]) == ("finished", 4, 0, 0)
    for name in ("config.json", "journal.log", "best", "report/index.html"):
        assert (tmp_path / "run" / name).exists()


def test_ctrl_c_detaches_and_the_job_can_be_stopped(nodes, waits):
    process = submit(nodes, "--run-dir", "/300", "--working-dir", waits, "--id", "detached")
    assert process.stdout is not None
    while "nodes 3" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, _, notes = finished(process)
    assert status == 130, notes
    assert "job detached goes on" in notes
    job = ["ray", "job"]
    end = ["detached", "--address", nodes.address]
    assert f"ray job stop {' '.join(end)}" in notes

    def ray(*words: str) -> str:
        done = subprocess.run([*job, *words, *end], env=nodes.environment(), capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    assert "RUNNING" in ray("status")
    ray("stop")
    assert "stopped" in ray("status")


def test_a_used_id_is_one_line(nodes, waits):
    arguments = ("--run-dir", "/0", "--working-dir", waits, "--id", "twice")
    assert finished(submit(nodes, *arguments))[0] == 0
    status, _, errors = finished(submit(nodes, *arguments))
    assert status == 2
    assert "already exists" in errors.splitlines()[-1]


def test_the_cluster_takes_those_who_have_its_token(nodes, waits):
    arguments = ("--run-dir", "/0", "--working-dir", waits)
    status, shown, notes = finished(submit(nodes, *arguments))
    assert status == 0, shown + notes
    assert "nodes 3" in shown
    assert "asks for no token" not in notes
    for auth in ({}, UNPROTECTED, nodes.auth | {"RAY_AUTH_TOKEN": "wrong" * 8}):
        status, _, errors = finished(submit(nodes, *arguments, auth=auth))
        assert status == 2
        assert "requires a token" in errors.splitlines()[-1]
        assert "RAY_AUTH_MODE=token" in errors.splitlines()[-1]


def test_a_cluster_without_a_token_is_warned_about_whether_one_is_sent_or_not(waits):
    nodes = RayNodes(workers=0, auth=UNPROTECTED)
    try:
        for auth in ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "in vain" * 8}, {}):
            status, shown, notes = finished(submit(nodes, "--run-dir", "/0", "--working-dir", waits, auth=auth))
            assert status == 0, notes
            assert "the end" in shown
            assert f"{nodes.address} asks for no token" in notes
            environment = nodes.environment() | auth
            joined = subprocess.run(
                [sys.executable, "-c", JOINS, nodes.gcs],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=90,
            )
            assert joined.returncode == 0, joined.stderr
            assert "asks for no token" in joined.stderr
    finally:
        nodes.stop()


def test_nodes_of_a_test_end_with_it():
    nodes = RayNodes(workers=0)
    marker = f"RAY_NODES_OF_TEST={nodes.home}".encode()
    nodes.stop()
    deadline = time.monotonic() + 30
    while (left := processes_with(marker)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def processes_with(marker: bytes) -> list[int]:
    """Processes with these bytes in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                found += [int(entry.name)] * (marker in (entry / "environ").read_bytes())
    return found

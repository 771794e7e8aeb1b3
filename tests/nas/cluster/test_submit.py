"""What is sent to a cluster, and what the user sees of it; the cluster is made up here."""

from __future__ import annotations

import asyncio
import shlex
import socket
import sys
import time
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest

from nas.cli import main
from nas.cluster import client
from nas.cluster.client import ClusterError, connect, follow, submit_when_ready
from nas.cluster.job import EXCLUDES, JobError, quoted, require_experiment, search_command

ADDRESS = "http://head:8265"
SUBMIT = ("submit", "experiments.signs:smoke", "--address", ADDRESS, "--run-dir", "/shared/run")


class FakeJobs:
    """Jobs that end as told; each entry of `tails` is what one connection to the log gives, errors raised."""

    def __init__(self, *tails: list, status: str = "SUCCEEDED", message: str = "", busy: int = 0) -> None:
        self.tails = list(tails)
        self.status = status
        self.message = message
        self.busy = busy
        self.sent: dict = {}

    def submit_job(self, **job: object) -> str:
        if self.busy:
            self.busy -= 1
            raise RuntimeError(
                "Request failed with status code 500: No available agent to submit job, please try again."
            )
        self.sent = job
        return str(job["submission_id"] or "raysubmit_1")

    async def tail_job_logs(self, job_id: str):
        for part in self.tails.pop(0):
            if not isinstance(part, str):
                raise part
            yield part

    def get_job_info(self, job_id: str) -> SimpleNamespace:
        return SimpleNamespace(status="RUNNING" if self.tails else self.status, message=self.message)


@pytest.fixture
def command(monkeypatch, capsys):
    """`nasfpn` with a made-up cluster: exit status, output, errors."""

    def run(jobs: FakeJobs, *arguments: str, protected: bool = True) -> tuple[int, str, str]:
        monkeypatch.setattr("nas.commands.cluster.connect", lambda address: (jobs, protected))
        monkeypatch.setattr(sys, "argv", ["nasfpn", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def quick(monkeypatch):
    async def sleep(seconds: float) -> None:
        return

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_the_log_is_shown_and_a_job_that_succeeds_is_status_0(command):
    status, shown, notes = command(FakeJobs(["[1/8] fpn\n", "[2/8] pafpn\n"]), *SUBMIT)
    assert (status, shown) == (0, "[1/8] fpn\n[2/8] pafpn\n")
    assert "raysubmit_1 succeeded" in notes


@pytest.mark.parametrize("end", ["FAILED", "STOPPED"])
def test_another_end_is_status_1_with_what_ray_says(command, end):
    message = (
        "Job entrypoint command failed with exit code 3, last available logs (truncated to 20,000 chars):\nx\n" * 9
    )
    status, _, notes = command(FakeJobs(["x\n"], status=end, message=message), *SUBMIT)
    assert status == 1
    assert f"{end.lower()}: Job entrypoint command failed with exit code 3\n" in notes
    assert "truncated" not in notes


def test_ctrl_c_leaves_the_job_and_says_how_to_follow_and_stop_it(command):
    jobs = FakeJobs(["[1/8] fpn\n", KeyboardInterrupt()])
    status, shown, notes = command(jobs, *SUBMIT, "--id", "my job")
    assert (status, shown) == (130, "[1/8] fpn\n")
    assert "my job goes on" in notes
    assert f"ray job logs 'my job' --follow --address {ADDRESS}" in notes
    assert f"ray job stop 'my job' --address {ADDRESS}" in notes


def test_no_wait_prints_the_id_alone_on_standard_output(command):
    jobs = FakeJobs()
    status, shown, notes = command(jobs, *SUBMIT, "--no-wait")
    assert (status, shown) == (0, "raysubmit_1\n")
    assert "ray job logs raysubmit_1" in notes


def test_a_lost_connection_is_made_again_and_no_line_shown_twice(quick):
    tails = (["one\n", "two\n", RuntimeError("closed")], ["one\n", ConnectionError("lost")], ["one\ntw", "o\nthree\n"])
    shown: list[str] = []
    assert follow(FakeJobs(*tails), "id", shown.append).status == "SUCCEEDED"
    assert "".join(shown) == "one\ntwo\nthree\n"


def test_a_cluster_that_stays_lost_is_one_line_with_the_commands(command, quick):
    status, _, errors = command(FakeJobs(*([ConnectionError("refused")] for _ in range(99))), *SUBMIT)
    assert status == 2
    assert "raysubmit_1 may go on" in errors.splitlines()[-1]
    assert "ray job logs raysubmit_1 --follow" in errors.splitlines()[-1]


def test_a_head_that_has_just_started_is_waited_for(quick):
    assert submit_when_ready(FakeJobs(busy=3), ADDRESS, submission_id=None) == "raysubmit_1"


def test_the_entrypoint_comes_out_of_a_shell_as_it_went_in(command):
    jobs = FakeJobs([])
    odd = (
        "--set",
        'controller.initial=["fpn", "it\'s $HOME"]',
        "--trials",
        "7",
        "--controller",
        "ppo",
        "--workers",
        "3",
    )
    command(
        jobs,
        "submit",
        "my search.py:f",
        "--address",
        ADDRESS,
        "--run-dir",
        "/shared/a b",
        "--working-dir",
        "s3://b/c.zip",
        *odd,
    )
    words = shlex.split(jobs.sent["entrypoint"])
    assert words[:5] == ["python", "-m", "nas.cli", "search", "my search.py:f"]
    pairs = dict(zip(words[5::2], words[6::2], strict=True))
    assert pairs == {
        "--address": "auto",
        "--run-dir": "/shared/a b",
        "--trials": "7",
        "--controller": "ppo",
        "--workers": "3",
        "--set": odd[1],
    }
    assert jobs.sent["entrypoint_num_cpus"] == 0


def test_the_command_is_one_that_search_understands(tmp_path, monkeypatch, capsys):
    words = search_command(
        "experiments.signs:smoke",
        str(tmp_path / "run"),
        trials=3,
        controller="random",
        workers=2,
        assignments=["data.embedded=null", "data.root=nothing_here"],
    )
    monkeypatch.setattr(sys, "argv", words[2:])
    with pytest.raises(SystemExit):
        main()
    assert "nothing_here" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("protected", "words", "sent"),
    [
        (True, [], {"RAY_AUTH_MODE": "token"}),
        (True, ["A=1", "RAY_AUTH_MODE=k8s"], {"RAY_AUTH_MODE": "k8s", "A": "1"}),
        (False, ["A=1", "B=x=y"], {"A": "1", "B": "x=y"}),
    ],
)
def test_the_authentication_mode_goes_to_clusters_that_ask_for_a_token_and_the_token_to_none(
    command, monkeypatch, tmp_path, protected, words, sent
):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    jobs = FakeJobs()
    variables = [word for variable in words for word in ("--env", variable)]
    options = ("--working-dir", str(tmp_path), "--no-wait", *variables)
    assert command(jobs, *SUBMIT, *options, protected=protected)[0] == 0
    assert jobs.sent["runtime_env"]["env_vars"] == sent


def test_data_results_and_caches_are_not_sent_but_packages_of_these_names_are(tmp_path):
    from ray._private.runtime_env.packaging import create_package

    sent = {"nas/data/coco.py", "experiments/signs.py", "my_search.py", "lib/runs/a.py"}
    left = {
        "data/signs/1.png",
        "runs/a/journal.log",
        ".venv/x.py",
        ".git/config",
        ".mypy_cache/x",
        "venv/bin/x",
        "dist/a.whl",
    }
    for name in sent | left | {"secret.txt"}:
        path = tmp_path / "w" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "w" / ".gitignore").write_text("secret.txt\n")
    create_package(str(tmp_path / "w"), tmp_path / "w.zip", include_gitignore=True, excludes=list(EXCLUDES))
    names = {name for name in zipfile.ZipFile(tmp_path / "w.zip").namelist() if not name.endswith("/")}
    assert names == sent | {".gitignore"}


@pytest.mark.parametrize("run_dir", ["runs/a", "a", "./x", "~/runs"])
def test_a_relative_run_dir_is_refused(command, run_dir):
    status, _, errors = command(FakeJobs(), *SUBMIT[:-1], run_dir)
    assert status == 2
    assert "is relative" in errors
    assert len(errors.strip().splitlines()) == 1


def test_absolute_run_dirs_and_urls_are_taken():
    for run_dir in ("/shared/x", "s3://bucket/x"):
        assert run_dir in search_command("a:b", run_dir)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "NAME"], "NAME=VALUE"),
        (["--env", "1A=2"], "NAME=VALUE"),
        (["--working-dir", "/nowhere/at/all"], "is not a directory"),
    ],
)
def test_mistakes_are_one_line(command, arguments, message):
    status, _, errors = command(FakeJobs(), *SUBMIT, *arguments)
    assert status == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_an_experiment_file_must_travel(tmp_path):
    (tmp_path / "mine.py").write_text("")
    require_experiment("mine.py:f", str(tmp_path))
    require_experiment("some.module:f", str(tmp_path))
    with pytest.raises(JobError, match="relative to --working-dir"):
        require_experiment("other.py:f", str(tmp_path))
    with pytest.raises(JobError, match="module:function"):
        require_experiment("other", str(tmp_path))


def test_an_address_where_nobody_listens_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterError, match="8265") as error:
        connect(address)
    assert address in str(error.value)
    assert "\n" not in str(error.value)


def test_an_address_that_is_silent_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(ClusterError, match="no Ray dashboard answers"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 60, "far less than for ever, even where the machine is busy"


@pytest.mark.parametrize(("status", "warned"), [(200, True), (401, False)])
def test_a_head_that_asks_for_no_token_is_warned_about(status, warned, caplog):
    class Head(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Head) as server:
        Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert client.asks_for_token(address) == (not warned)
    assert (f"{address} asks for no token" in caplog.text) == warned


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "auto", "http://"])
def test_an_address_that_is_no_url_of_a_dashboard(address):
    with pytest.raises(ClusterError, match="http://head:8265"):
        connect(address)


def test_without_ray_default_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(client.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"pip install 'nas-fpn\[cluster\]'"):
        connect(ADDRESS)


def test_of_a_servers_traceback_the_last_line_is_shown():
    class Refusing(FakeJobs):
        def submit_job(self, **job: object) -> str:
            raise RuntimeError(
                'status code 500: Traceback (most recent call last):\n  File "x"\nValueError: x exists\n.'
            )

    with pytest.raises(ClusterError, match=f"^Ray at {ADDRESS}: ValueError: x exists$"):
        submit_when_ready(Refusing(), ADDRESS)


def test_quoting_round_trip():
    words = ["a b", "$HOME", "it's", '"', "`x`", "a\\b", "*"]
    assert shlex.split(quoted(words)) == words

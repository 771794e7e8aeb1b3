"""Run directories at URLs: `file://` and `memory://` as they are, machines as caches of their own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from nas import interruption
from nas.cli import main
from nas.commands.runs import rerun_trial
from nas.engine.run import run_search
from nas.runs.journal import Journal
from nas.runs.places import fetched, opened, shown
from nas.runs.remote import heartbeat, mirror
from nas.runs.remote.files import Remote, RemoteError
from nas.runs.remote.heartbeat import HEARTBEAT, read_beat, write_beat
from nas.runs.remote.mirror import MirrorError, TakenOverError
from nas.runs.remote.staging import staging_path
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.runs.start_weights import StartWeights
from nas.search.config import SearchConfig, build_space
from nas.search.inheritance import INHERITED_FROM
from nas.search.records import Candidate
from necks import build_neck, save_exported
from search_space import known_genotype
from tests.support.toy_search import Teller, make_toy, toy_config


class Unreliable(MemoryFileSystem):
    """Fails as often as it is told to when it is written to, a negative number for always."""

    protocol = "unreliable"
    failures = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("unreliable://", "memory://"))

    def _fail(self, path: str) -> None:
        if Unreliable.failures and HEARTBEAT not in path:
            Unreliable.failures -= 1
            raise ConnectionError("the network is down")

    def pipe_file(self, path, value, *mode, **kwargs):
        self._fail(path)
        return super().pipe_file(path, value, *mode, **kwargs)

    def put_file(self, lpath, rpath, **kwargs):
        self._fail(rpath)
        return super().put_file(lpath, rpath, **kwargs)


class ObjectStore(MemoryFileSystem):
    """One of those that put whole objects."""

    protocol = "oci"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("oci://", "memory://"))

    def mv(self, *arguments, **options):
        raise AssertionError("a move is a copy there")


@pytest.fixture(autouse=True)
def _fast(monkeypatch, tmp_path) -> Iterator[None]:
    monkeypatch.setattr(heartbeat, "ROUND_SECONDS", 0.2)
    monkeypatch.setattr(heartbeat, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(mirror, "LAST_WAITS", (0.01, 0.01))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine"))
    for kind in (Unreliable, ObjectStore):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
    yield
    Unreliable.failures = 0
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["file", "memory", "oci"])
def url(request, tmp_path) -> str:
    return {"file": f"file://{tmp_path}/bucket", "memory": "memory://bucket", "oci": "oci://bucket"}[
        request.param
    ] + "/x"


@pytest.fixture
def config(tmp_path) -> SearchConfig:
    return toy_config(tmp_path)


def add(run: RunDirectory, config: SearchConfig, count: int = 1) -> list[int]:
    """Trials with trained necks, recorded as a search does; the run is claimed."""
    journal = Journal(run.journal_file, writable=True)
    numbers = []
    for _ in range(count):
        genotype = known_genotype("fpn")
        candidate = Candidate(origin="search", genotype=genotype, proposal=len(journal.trials()))
        number = journal.add(candidate, space_choices={})
        save_exported(build_neck(genotype, in_channels=(4, 4, 4), out_channels=4), run.trial(number))
        journal.finish(
            number, "complete", 30.0 + number, {"AP": 30.0 + number, "params": 1, "macs": 2, "latency_ms": 3}
        )
        numbers.append(number)
    return numbers


def search(url: str, config: SearchConfig, count: int = 1) -> list[int]:
    with opened(url) as run, run.claim(config):
        return add(run, config, count)


def machine(monkeypatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def at(url: str) -> int:
    """How many trials are in the journal at the URL."""
    with fetched(url) as run:
        return len(Journal(run.journal_file).trials())


PATIENCE_SECONDS = 240
"""For what takes a moment where the machine has nothing else to do."""


def until(condition) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_path_is_used_as_it_is(tmp_path, config):
    with opened(str(tmp_path / "run")) as run:
        assert run.path == tmp_path / "run"
        assert shown(str(tmp_path / "run"), run, run.best) == str(tmp_path / "run" / "best")
    with pytest.raises(RunDirectoryError, match="holds no search"), opened(str(tmp_path / "run"), existing=True):
        pass
    assert not (tmp_path / "machine").exists()


def test_round_trip_over_machines(url, config, tmp_path, monkeypatch):
    assert search(url, config, 2) == [0, 1]
    names = Remote(url).files()
    assert {"config.json", "journal.log", "trials/0000/neck.safetensors"} <= names
    assert not {HEARTBEAT, "search.lock"} & names
    machine(monkeypatch, tmp_path, "second")
    assert search(url, config) == [2]
    machine(monkeypatch, tmp_path, "machine")
    with opened(url, existing=True) as run:
        assert len(Journal(run.journal_file).trials()) == 3
        assert run.trial(2).is_dir()
    assert shown(url, run, run.best) == f"{url}/best"


def test_what_is_deleted_here_is_deleted_there(url, config, tmp_path, monkeypatch):
    with opened(url) as run, run.claim(config):
        add(run, config)
        run.checkpoints.mkdir()
        (run.checkpoints / "0-a.checkpoint").write_bytes(b"x")
        (run.checkpoints / "0-b.partial").write_bytes(b"x")
        until(lambda: "checkpoints/0-a.checkpoint" in Remote(url).files())
        (run.checkpoints / "0-a.checkpoint").unlink()
    assert not [name for name in Remote(url).files() if name.startswith("checkpoints")]
    Remote(url).write("checkpoints/9-x.checkpoint", b"left by a killed search")
    search(url, config)
    assert not [name for name in Remote(url).files() if name.startswith("checkpoints")]


def test_the_url_is_the_truth_but_for_what_it_has_not_got_yet(url, config, tmp_path, monkeypatch):
    search(url, config)
    local = RunDirectory(staging_path(url))
    with local.claim(config):
        add(local, config)  # by a search whose machine was cut off
    assert search(url, config) == [2]
    assert at(url) == 3
    machine(monkeypatch, tmp_path, "second")
    search(url, config, 2)
    machine(monkeypatch, tmp_path, "machine")
    with local.claim(config):
        add(local, config)
    assert search(url, config) == [5]
    aside = staging_path(url).with_name(staging_path(url).name + ".before")
    assert len(Journal(aside / "journal.log").trials()) == 4


def test_a_download_that_was_cut_off_is_done_again(config, tmp_path, monkeypatch):
    url = "memory://bucket/x"
    search(url, config)
    machine(monkeypatch, tmp_path, "second")
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "download", failing)
        with pytest.raises(RemoteError, match="the network is down"):
            search(url, config)
    assert search(url, config) == [1]


def failing(*_: object) -> None:
    raise ConnectionError("the network is down")


def test_a_trial_is_trained_again_from_the_weights_at_the_url(config, monkeypatch, capsys):
    url, started = "memory://bucket/x", []
    with opened(url) as run, run.claim(config):
        add(run, config)
        StartWeights(run).add(0, b"weights")
        journal = Journal(run.journal_file, writable=True)
        child = Candidate(origin="search", genotype=known_genotype("bifpn"), proposal=1, parent=0)
        journal.finish(journal.add(child, space_choices={}), "complete", 30.0, {"AP": 30.0, INHERITED_FROM: 0})
    monkeypatch.setattr("nas.engine.rerun.train_again", lambda config, trial, start: started.append(start) or 30.0)
    rerun_trial(f"{url}:1", None)
    assert [start.weights for start in started] == [b"weights"]
    assert "the same" in capsys.readouterr().out


def test_a_run_that_was_deleted_at_the_url_starts_anew(tmp_path, config):
    url = f"file://{tmp_path}/bucket/x"
    search(url, config)
    fsspec.filesystem("file").rm(f"{tmp_path}/bucket/x", recursive=True)
    assert search(url, config) == [0]


KILLED = """
import sys
from pathlib import Path
from tests.nas.runs.test_mirror import add
from nas.runs.remote import heartbeat
from nas.runs.places import opened
from tests.support.toy_search import toy_config

heartbeat.ROUND_SECONDS = 0.1
config = toy_config(Path(sys.argv[2]))
with opened(sys.argv[1]) as run, run.claim(config):
    while True:
        print(add(run, config), flush=True)
"""


def test_killed_between_uploads_there_is_an_older_but_whole_journal(tmp_path, config, monkeypatch):
    url = f"file://{tmp_path}/bucket/x"
    code = KILLED
    process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    there = tmp_path / "bucket" / "x" / "journal.log"
    assert process.stdout is not None
    threading.Thread(target=process.stdout.read, daemon=True).start()
    until(lambda: there.exists() and there.read_bytes().count(b"\n") > 20)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = there.read_bytes()
    ours = (staging_path(url) / "journal.log").read_bytes()
    assert kept.endswith(b"\n")
    assert ours.startswith(kept)
    with fetched(url, "trials") as run:
        trials = Journal(run.journal_file).trials()
        assert all((run.trial(trial.number)).is_dir() for trial in trials if trial.state == "complete")
    count = len(trials)
    machine(monkeypatch, tmp_path, "second")
    start = time.monotonic()
    assert search(url, config) == [count]
    assert time.monotonic() - start > heartbeat.DEAD_ROUNDS * heartbeat.ROUND_SECONDS
    assert not list((tmp_path / "bucket").rglob("*.partial"))


def test_after_a_kill_the_same_machine_goes_on_at_once(url, config, monkeypatch):
    search(url, config)
    with opened(url):
        pass
    owner = json.loads(staging_path(url).with_name(staging_path(url).name + ".json").read_text())["owner"]
    write_beat(Remote(url), owner)
    monkeypatch.setattr(heartbeat, "DEAD_ROUNDS", 1e6)
    assert search(url, config) == [1]


def test_a_second_live_search_is_refused(url, config, tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "DEAD_ROUNDS", PATIENCE_SECONDS / heartbeat.ROUND_SECONDS)
    with opened(url) as run, run.claim(config):
        add(run, config)
        with pytest.raises(RemoteError, match="on this machine"), opened(url):
            pass
        machine(monkeypatch, tmp_path, "second")
        with pytest.raises(TakenOverError, match=r"a search is running on .*nasfpn status"), opened(url):
            pass
        until(lambda: "journal.log" in Remote(url).files())
        with fetched(url) as copy:
            assert copy.is_live()
    with fetched(url) as copy:
        assert not copy.is_live()


def test_a_search_that_was_taken_over_stops_and_overwrites_nothing(url, config):
    remote = Remote(url)

    def taken_over() -> None:
        with opened(url) as run, run.claim(config):
            add(run, config)
            until(lambda: "journal.log" in remote.files())
            write_beat(remote, "somebody")
            remote.write("journal.log", b"longer\n" * 10_000)
            until(_asked_to_end)
            add(run, config)

    with pytest.raises(TakenOverError, match="another search has taken over"):
        taken_over()
    assert remote.read("journal.log") == b"longer\n" * 10_000
    beat = read_beat(remote)
    assert beat is not None
    assert beat.owner == "somebody"


def _asked_to_end() -> bool:
    try:
        interruption.check()
    except interruption.Interrupted:
        return True
    return False


ENDLESS = """
import sys, time
from pathlib import Path
from nas.cli.ending import ending
from nas.runs.remote import heartbeat
from nas.runs.places import opened
from tests.support.toy_search import toy_config

heartbeat.ROUND_SECONDS = 0.1
with ending(), opened(sys.argv[1]) as run, run.claim(toy_config(Path(sys.argv[2]))):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_search_that_was_taken_over_ends_where_sigint_is_ignored(tmp_path, config):
    """As in the background of a shell that runs a script."""
    url = f"file://{tmp_path}/bucket/x"
    code = ENDLESS
    process = subprocess.Popen(
        [sys.executable, "-c", code, url, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    write_beat(Remote(url), "somebody")
    _, errors = process.communicate(timeout=50)
    assert process.returncode == 2
    assert errors.startswith("error: another search has taken over")
    assert errors.count("\n") == 1


def test_a_journal_that_somebody_else_wrote_is_not_overwritten(url, config, monkeypatch):
    monkeypatch.setattr(heartbeat, "ROUND_SECONDS", 100)
    search(url, config)

    def changed() -> None:
        with opened(url) as run, run.claim(config):
            add(run, config)
            Remote(url).write("journal.log", b"other\n")

    with pytest.raises(TakenOverError, match="has 6 bytes, which this search did not write"):
        changed()
    assert Remote(url).read("journal.log") == b"other\n"


def test_a_network_that_fails_twice(config, caplog):
    url = "unreliable://bucket/x"
    with opened(url) as run, run.claim(config):
        Unreliable.failures = 2
        add(run, config)
        until(lambda: "journal.log" in Remote(url).files())
    assert at(url) == 1
    assert caplog.text.count("the network is down") == 2


def test_a_network_that_stays_away_loses_nothing(config):
    url = "unreliable://bucket/x"
    Unreliable.failures = -1
    with pytest.raises(MirrorError, match=r"nothing is lost, all of it is in .*run the same command again") as caught:
        search(url, config)
    assert str(staging_path(url)) in str(caught.value)
    assert "\n" not in str(caught.value)
    Unreliable.failures = 0
    assert search(url, config) == [1]
    assert at(url) == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://bucket/x", "s3fs"),
        ("nosuch://bucket/x", "cannot be used"),
        ("memory://bucket/other", "is not empty"),
        ("memory://bucket/none", "holds no search"),
    ],
)
def test_urls_that_cannot_be_used(url, message):
    fsspec.filesystem("memory").pipe_file("/bucket/other/notes.txt", b"x")
    with pytest.raises((RemoteError, MirrorError), match=message), opened(url, existing="none" in url):
        pass
    if "other" not in url:
        with pytest.raises(RemoteError, match=message), fetched(url):
            pass
    assert not [name for name in Remote("memory://bucket").files() if HEARTBEAT in name]


def test_passwords_are_not_shown(tmp_path):
    with pytest.raises(RemoteError) as caught:
        Remote("nosuch://me:secret@host/x")
    assert "secret" not in str(caught.value)
    assert "secret" not in str(staging_path("sftp://me:secret@host/x"))


def command(*arguments: object) -> None:
    sys.argv = ["nasfpn", *map(str, arguments)]
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_status_report_and_export_of_a_url(url, config, tmp_path, monkeypatch, capsys):
    build_space(config)
    search(url, config, 2)
    monkeypatch.setattr(sys, "argv", [])
    machine(monkeypatch, tmp_path, "second")
    command("status", url, "--json")
    assert json.loads(capsys.readouterr().out)["finished"] == 2
    command("report", url)
    assert f"{url}/report/index.html" in capsys.readouterr().out
    assert b"<table>" in (Remote(url).read("report/index.html") or b"")
    command("export", url, "--output", tmp_path / "neck", "--trial", 0)
    assert (tmp_path / "neck" / "README.md").is_file()
    assert not (tmp_path / "second" / "nas-fpn").exists()


def test_a_real_search_on_a_url(shared_ray, config, tmp_path):
    url = "memory://bucket/real"
    with opened(url) as run, run.claim(config):
        trials = run_search(config, run, Teller(), make_task=make_toy)
    assert len(trials) == config.total_trials
    with fetched(url) as copy:
        assert Journal(copy.journal_file).trials() == trials
    assert Remote(url).files() == {"config.json", "journal.log"}

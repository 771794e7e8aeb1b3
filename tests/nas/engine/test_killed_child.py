"""A trial that inherits is killed in the middle of its training, worker and search: nothing changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nas.results.confirmed import verdict_of
from nas.runs.journal import Journal
from nas.search.inheritance import INHERITED_FROM
from nas.search.records import Trial
from tests.support import inheriting_search
from tests.support.inheriting_search import HELD, HELD_STEP, HOLD, inheriting_config, search
from tests.support.recorded import MEASURED_ANEW

PATIENCE_SECONDS = 240

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]


def held_process(root: Path, but: int = 0) -> int:
    """Id of the process that trains the child which waits."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        text = (root / HELD).read_text() if (root / HELD).exists() else ""
        if text.isdecimal() and int(text) != but:
            return int(text)
        time.sleep(0.05)
    raise AssertionError("no child reached the middle of its training")


def timeless(trials: list[Trial]) -> list[Trial]:
    """Trials without what is a time of them."""
    anew = {*MEASURED_ANEW, "seconds"}
    return [
        replace(trial, ended=None, metrics={name: value for name, value in trial.metrics.items() if name not in anew})
        for trial in trials
    ]


def test_a_child_whose_worker_and_then_whose_search_is_killed_ends_as_if_nothing_had_been(tmp_path):
    wanted = search(tmp_path, tmp_path / "unbroken")
    (tmp_path / HOLD).touch()
    run_dir = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, inheriting_search.__file__, str(tmp_path), str(run_dir)])
    first = held_process(tmp_path)
    os.kill(first, signal.SIGKILL)
    held_process(tmp_path, but=first)
    process.kill()
    process.wait()
    (cut,) = (trial for trial in Journal(run_dir / "journal.log").trials() if trial.state == "running")
    assert INHERITED_FROM in wanted[cut.number].metrics

    (tmp_path / HOLD).unlink()
    trials = search(tmp_path, run_dir)
    assert timeless(trials) == timeless(wanted)
    assert trials[cut.number].metrics["resumed_at"] == HELD_STEP
    config = inheriting_config(tmp_path)
    assert verdict_of(config, timeless(trials)) == verdict_of(config, timeless(wanted)) is not None

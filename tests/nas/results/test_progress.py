"""What a search says while it runs: on a terminal and elsewhere, briefly and at length; its log file."""

from __future__ import annotations

import io
import json
import logging
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from nas.commands import logs, progress
from nas.commands.logs import logged
from nas.commands.progress import Progress
from nas.engine.usage import Usage
from nas.results.time_left import estimated_left
from nas.runs.run_directory import RunDirectory
from nas.search.proposing import build_controller
from nas.search.records import SEARCH
from search_space import nas_fpn_space
from tests.support.made_up_run import made_up_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("run") / "run")


def said(run, monkeypatch, *, terminal: bool, verbose: bool = False) -> str:
    """All output of a search that finishes the trials of `run`."""
    _, config, trials = run
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=terminal, width=160, highlight=False))
    journal = SimpleNamespace(trials=list)
    proposers = SimpleNamespace(controllers={SEARCH: build_controller(config, nas_fpn_space())})
    scheduler = SimpleNamespace(total=len(trials), left=len(trials), journal=journal, proposers=proposers)
    with Progress(config, verbose=verbose) as shown:
        shown.expect(scheduler, 2, 10.0)
        for trial in trials:
            if trial.state != "running":
                shown.finished(trial, scheduler)
        shown.ended(Usage(seconds=70, worker_seconds=130, lost=0, workers=2))
    return out.getvalue()


def test_elsewhere_than_on_a_terminal_it_is_one_plain_line_per_trial(run, monkeypatch):
    text = said(run, monkeypatch, terminal=False)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert (
        lines[0]
        == "8 trials to go, 2 at once; 10 s per trial (estimated from a few steps): about 40 s, 1.3 CPU-minutes"
    )
    assert [line[:7] for line in lines[1:-1]] == [f"[  {number}/8]" for number in range(1, 8)]
    assert [line.rpartition("; ")[2] for line in lines[1:4]] == [
        "about 40 s left",
        "about 30 s left",
        "about 30 s left",
    ]
    assert all(re.search(r"; about [\d.]+ s left$", line) for line in lines[4:-1])
    assert lines[-1].startswith("took 70 s, 2.2 CPU-minutes on up to 2 workers")


def test_a_terminal_has_a_bar_below_the_lines_that_goes_away(run, monkeypatch):
    text = said(run, monkeypatch, terminal=True)
    assert "7/8 trials, best AP" in text
    assert ", 1 failed, about " in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is shown again"


def test_the_bar_goes_away_when_a_search_is_cut_off(run, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=True))
    with pytest.raises(KeyboardInterrupt), Progress(run[1]):
        raise KeyboardInterrupt
    assert out.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in out.getvalue()


def test_verbose_adds_what_cells_compute(run, monkeypatch):
    text = said(run, monkeypatch, terminal=False, verbose=True)
    assert "      AP50 " in text
    assert "p6_a = sum(p6, p7); p5_a = sum(p5, p6_a)" in text
    assert len(text.splitlines()) == 2 + 2 * 7


def test_status_says_how_long_a_search_has_yet_to_go(run, in_process):
    directory, _, trials = run
    now = json.loads(in_process("status", directory.path, "--json")[1])
    assert sum(trial.state == "running" for trial in trials) == 1
    assert now["seconds_left"] == 12.0 * (now["total"] - 7) == 12.0
    assert in_process("status", directory.path)[1].splitlines()[0].endswith("; about 12 s left")


def test_the_latest_trials_say_how_long_one_takes():
    trials = [SimpleNamespace(metrics={"seconds": float(k > 30)}, copied_from=None) for k in range(60)]
    assert estimated_left(trials, 7, 2) == 4.0
    assert estimated_left([], 7, 2) is None


def test_the_log_is_kept_and_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "BYTES", 10_000)
    run = RunDirectory(tmp_path)
    logger = logging.getLogger("nas.workers.pool")
    monkeypatch.setattr(logging.getLogger("nas"), "level", logging.INFO)
    with logged(run.log):
        for number in range(1000):
            logger.warning("worker %d was lost", number)
    logger.warning("not any more")
    kept = sorted(tmp_path.glob("search.log*"))
    assert sum(path.stat().st_size for path in kept) < 25_000
    assert run.log.read_text().endswith("WARNING nas.workers.pool: worker 999 was lost\n")

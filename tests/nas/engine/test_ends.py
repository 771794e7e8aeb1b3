"""Searches that are ended, or lose what they need, at any time: one line, the right status, and nothing left."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.runs.journal import Journal
from tests.support.ends import END_SECONDS, Search

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

NOT_STARTED = "error: Ray could not be started on this machine"
"""How a search may end on a machine with far too much to do."""

TRIALS = 8

PLANNED = TRIALS + 4


@pytest.fixture
def start() -> Iterator[Callable[..., Search]]:
    """Starts searches in one directory, the same each time."""
    home = Path(tempfile.mkdtemp(prefix="e-", dir="/tmp"))
    searches = []

    def begin(*, trials: int = 60, milliseconds: int = 200, ignored: tuple[int, ...] = ()) -> Search:
        searches.append(Search(home, trials=trials, milliseconds=milliseconds, ignored=ignored))
        return searches[-1]

    yield begin
    for search in searches:
        search.kill()
    shutil.rmtree(home)


def require_clean(search: Search) -> None:
    """Nothing but a line, nothing left, and nothing lost."""
    search.require_clean()
    if search.finished:
        trials = {trial.number: trial for trial in Journal(search.run_dir / "journal.log").trials()}
        assert all(trials[number].state == "complete" for number in search.finished)


@pytest.mark.parametrize(
    ("number", "ignored"),
    [
        (signal.SIGTERM, (signal.SIGINT, signal.SIGHUP)),
        pytest.param(signal.SIGINT, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, (), marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_search_with_one_line_and_its_status(start, number, ignored):
    search = start(ignored=ignored)
    search.wait_for(2)
    search.process.send_signal(number)
    assert search.end(END_SECONDS) == 128 + number
    assert search.said.endswith("trials to go; run the same command again to go on\n")
    require_clean(search)


def test_a_killed_search_leaves_nothing_running(start):
    search = start()
    search.wait_for(2)
    assert len(search.processes()) > 5
    search.process.kill()
    assert search.end(END_SECONDS) == -signal.SIGKILL
    require_clean(search)


@pytest.mark.parametrize("victim", ["gcs", pytest.param("raylet", marks=pytest.mark.slow)])
def test_a_search_whose_ray_is_killed_says_so(start, victim):
    search = start()
    search.wait_for(2)
    search.strike(victim, signal.SIGKILL)
    assert search.end(END_SECONDS) == 2
    assert search.said.startswith("error: Ray's ")
    assert search.said.endswith("what was recorded is kept: run the same command again to go on\n")
    require_clean(search)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "reason"),
    [
        pytest.param("raylet", f"{NOT_STARTED}: The current node timed out", id="Ray gives its raylet 30 s, twice"),
        pytest.param("gcs", NOT_STARTED, id="for its head process Ray alone waits a minute, and aborts"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(start, victim, reason):
    search = start()
    while search.process.poll() is None:
        search.strike(victim, signal.SIGKILL)
        time.sleep(0.05)
    assert search.end(END_SECONDS) == 2
    assert search.said.startswith(reason)
    assert search.said.count("\n") == 1
    require_clean(search)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(20))
def test_kills_at_random(start, seed):
    """Whatever is killed, whenever and however: it ends in success or one line, and the same command goes on."""
    rng = random.Random(seed)
    victim = rng.choice(["driver", "driver", "worker", "raylet", "gcs", "agent"])
    number = rng.choice(SIGNALS)
    search = start(trials=TRIALS, milliseconds=200)
    search.wait_until(lambda: "begun\n" in search.output)
    if rng.random() < 0.7:
        search.wait_for(rng.randrange(PLANNED))
    time.sleep(rng.uniform(0, 4))
    search.strike(victim, number)
    status = search.end(END_SECONDS if victim == "driver" else 120)
    killed = -number if number == signal.SIGKILL else 128 + number
    done = -number  # when it was through with all but its own end: a shell shows the same status for it
    assert status in ({0, killed, done} if victim == "driver" else {0, 2}) or search.said.startswith(NOT_STARTED)
    require_clean(search)
    resumed = start(trials=TRIALS, milliseconds=200)
    if resumed.end(240) == 2 and resumed.said.startswith(NOT_STARTED):
        resumed = start(trials=TRIALS, milliseconds=200)
    assert resumed.end(240) == 0, resumed.said
    require_clean(resumed)
    assert not (status == 0 and resumed.finished), "it was not done when it said so"
    trials = Journal(search.run_dir / "journal.log").trials()
    assert [trial.number for trial in trials] == list(range(PLANNED))
    assert sorted(trial.order for trial in trials) == list(range(PLANNED))
    assert all(trial.state == "complete" for trial in trials)

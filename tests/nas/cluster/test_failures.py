"""A search of 40 trials on a cluster from which everything is taken, one after the other."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.engine.scheduler import TrialScheduler
from nas.runs.journal import open_journal
from nas.runs.run_directory import RunDirectory
from tests.support.postgres import Postgres, binaries
from tests.support.ray_nodes import RayNodes
from tests.support.toy_driver import TRIALS, Driver
from tests.support.toy_search import starts, states

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def nodes() -> Iterator[RayNodes]:
    cluster = RayNodes(workers=2, cpus=2)
    yield cluster
    cluster.stop()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    if binaries() is None:
        pytest.skip("PostgreSQL's server (pg_ctl, initdb) is not installed on this machine")
    server = Postgres()
    yield server
    server.remove()


def is_complete(driver: Driver) -> None:
    """40 trials, each finished once; the controllers are what a replay makes; the best is the journal's."""
    run = RunDirectory(driver.run_dir)
    journal = open_journal(run)
    trials = journal.trials()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert all(trial.state == "complete" for trial in trials)
    assert sorted(trial.order for trial in trials) == list(range(TRIALS))
    replayed = states(TrialScheduler(run.read_config(), journal, lambda trial: None))
    assert json.loads((driver.orders / "controllers.json").read_text()) == json.loads(json.dumps(replayed))
    best = max(trials, key=lambda trial: trial.reward)
    assert best.reward == max(int(trial.candidate.genotype.fingerprint, 16) % 10_000 / 100 for trial in trials)


def lose_a_worker_a_node_and_the_driver(nodes: RayNodes, driver: Driver, meanwhile: Callable[[], None]) -> None:
    driver.wait_for(6)
    assert nodes.kill_workers("TrialWorker") > 0
    driver.wait_for(6)
    nodes.kill_node("worker0")
    driver.wait_for(4)
    meanwhile()
    driver.wait_for(4)
    driver.kill()


def finished_in(driver: Driver) -> dict[int, object]:
    trials = open_journal(RunDirectory(driver.run_dir)).trials()
    return {trial.number: trial for trial in trials if trial.state == "complete"}


def test_a_worker_a_node_and_the_driver_are_killed(nodes, tmp_path):
    driver = Driver(nodes, tmp_path)
    lose_a_worker_a_node_and_the_driver(nodes, driver, lambda: None)
    before, begun = finished_in(driver), starts(driver.orders)
    assert len(before) >= 20
    resumed = Driver(nodes, tmp_path)
    resumed.finish()
    is_complete(resumed)
    after, trials = starts(resumed.orders), finished_in(resumed)
    for number, trial in before.items():
        assert after[number] == begun[number], "what was finished is not run again"
        assert trials[number] == trial


@pytest.mark.parametrize("seed", range(2))
def test_the_journal_is_torn_at_any_byte(nodes, tmp_path, seed):
    driver = Driver(nodes, tmp_path)
    lose_a_worker_a_node_and_the_driver(nodes, driver, lambda: None)
    path = driver.run_dir / "journal.log"
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(len(content) // 3, len(content))])
    resumed = Driver(nodes, tmp_path)
    resumed.finish()
    is_complete(resumed)


def test_postgres_is_restarted_in_the_middle(nodes, postgres, tmp_path):
    def restart() -> None:
        postgres.kill()
        postgres.start()

    driver = Driver(nodes, tmp_path, postgres.url)
    lose_a_worker_a_node_and_the_driver(nodes, driver, restart)
    resumed = Driver(nodes, tmp_path, postgres.url)
    resumed.wait_for(3)
    restart()
    resumed.finish()
    is_complete(resumed)


def test_the_head_is_killed(nodes, tmp_path):
    """Ray itself would abort the search after a minute."""
    driver = Driver(nodes, tmp_path)
    driver.wait_for(6)
    nodes.kill_node("head")
    driver.process.communicate(timeout=90)
    errors = Path(driver.errors.name).read_text()
    assert driver.process.returncode == 2, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: Ray's ")
    assert errors.endswith("what was recorded is kept: run the same command again to go on\n")
    assert len(finished_in(driver)) >= 6

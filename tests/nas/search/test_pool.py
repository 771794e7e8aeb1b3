"""Machines that join, leave, or cannot be used; real actors on one machine that stands for several."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from toy_search import make_toy, toy_config

from nas.configuration import ConfigError
from nas.data.config import DataError
from nas.search import pool as pool_module
from nas.search.cluster import Node, connected, require_room
from nas.search.config import ResourceConfig, SearchConfig
from nas.search.engine import drive
from nas.search.journal import Journal
from nas.search.plan import Plan
from nas.search.pool import Pool, WorkersError
from nas.search.records import Trial
from nas.search.run_directory import RunDirectory, RunDirectoryError
from nas.search.weights import KeptWeights
from nas.search.worker import Worker

pytestmark = pytest.mark.usefixtures("shared_ray")

NODES = [Node(digit * 56, f"machine {digit}", 1) for digit in "abc"]


def no_data(config: SearchConfig) -> Any:
    raise DataError("there is no /data/coco on this machine; make the path visible on every node or set data.archive")


def is_on(options: dict[str, Any], node: Node) -> bool:
    return bool(options["scheduling_strategy"].node_id == node.id)


def make_workers(config: SearchConfig, task_of: Callable[[dict[str, Any]], Any] = lambda options: make_toy):
    actor = ray.remote(Worker).options(num_cpus=0)
    return lambda options: actor.remote(config, task_of(options), None)


def search(config: SearchConfig, path: Path, pool: Pool, tell: Callable[[], None] = lambda: None) -> list[Trial]:
    journal = Journal(path / "journal.log", writable=True)
    try:
        drive(Plan(config, journal, lambda trial: None), pool, RunDirectory(path), tell)
    finally:
        pool.close()
    return journal.trials()


def test_a_machine_without_the_data_is_left_out_and_the_search_goes_on(tmp_path, caplog):
    config = toy_config(tmp_path, trials=4)
    make = make_workers(config, lambda options: no_data if is_on(options, NODES[0]) else make_toy)
    pool = Pool(make, ResourceConfig(), lambda: NODES[:2])
    with caplog.at_level(logging.WARNING):
        trials = search(config, tmp_path, pool)
    assert all(trial.state == "complete" for trial in trials)
    assert pool.most == 1
    assert "nothing runs on machine a: DataError: there is no /data/coco on this machine" in caplog.text


def test_where_no_machine_has_the_data_the_search_ends_with_the_reason(tmp_path):
    config = toy_config(tmp_path)
    pool = Pool(make_workers(config, lambda options: no_data), ResourceConfig(), lambda: NODES[:2])
    with pytest.raises(WorkersError, match="on any of 2 machines: DataError: there is no /data/coco"):
        search(config, tmp_path, pool)


def test_machines_that_join_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "REFRESH_SECONDS", 0.1)
    config = toy_config(tmp_path, trials=30, milliseconds=300)
    there = NODES[:1]

    def join() -> None:
        there[:] = NODES

    pool = Pool(make_workers(config), ResourceConfig(), lambda: there)
    trials = search(config, tmp_path, pool, join)
    assert all(trial.state == "complete" for trial in trials)
    assert pool.most == 3


def test_no_more_workers_than_were_asked_for(tmp_path):
    config = toy_config(tmp_path, trials=3, random_trials=0, known=(), milliseconds=2000)
    pool = Pool(make_workers(config), ResourceConfig(workers=2), lambda: NODES)
    search(config, tmp_path, pool)
    assert pool.most == 2


def test_when_all_machines_leave_for_too_long_the_search_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "REFRESH_SECONDS", 0.1)
    config = toy_config(tmp_path, trials=30)
    there = NODES[:1]
    pool = Pool(make_workers(config), ResourceConfig(wait_seconds=0.5), lambda: there)

    def leave() -> None:
        if there and pool.busy_seconds:
            there.clear()
            for worker in (*pool._waiting.values(), *pool._idle):
                ray.kill(worker.actor)

    with pytest.raises(WorkersError, match=r"no machine with room for a trial was there for 0.5 s"):
        search(config, tmp_path, pool, leave)
    assert any(trial.state == "complete" for trial in Journal(tmp_path / "journal.log").trials())


def test_a_cluster_without_room_is_waited_for_and_then_refused(caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError, match=r"resources\.wait_seconds"):
        require_room(ResourceConfig(gpus=64), wait=0.3)
    assert "waiting up to 0 s for more" in caplog.text


def test_ray_client_addresses_are_sent_to_submit(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match="nasfpn submit"), connected(ResourceConfig(), "ray://head:10001"):
        pass


def test_a_full_disk_under_the_weights_is_one_line(tmp_path):
    """`/dev/full` takes no byte."""
    run = RunDirectory(tmp_path)
    run.trial(3).mkdir(parents=True)
    (run.trial(3) / "neck.safetensors").symlink_to("/dev/full")
    weights = KeptWeights(run, 2, [])
    with pytest.raises(RunDirectoryError, match=r"No space left on device.*run the same command again"):
        weights.add(3, {"neck.safetensors": b"weights"}, reward=1.0, is_known=False)


def test_the_best_keep_their_weights_and_what_they_displace_is_deleted(tmp_path):
    run = RunDirectory(tmp_path)
    weights = KeptWeights(run, 2, [])
    rewards = [3.0, 1.0, 2.0, 0.5, 2.0, 9.0]
    for number, reward in enumerate(rewards):
        weights.add(number, {"w": b"x"}, reward=reward, is_known=number == 1)
    assert sorted(path.name for path in run.trials.iterdir()) == ["0000", "0001", "0005"]

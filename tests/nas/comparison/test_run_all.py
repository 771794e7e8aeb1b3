"""Real trainings on real workers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import replace

import pytest

from experiments.signs import PROXY, smoke
from nas.comparison.result_store import ResultStore
from nas.comparison.run_all import run_all
from nas.comparison.training_job import TrainingJob
from nas.data.config import DataConfig, SignsConfig
from nas.detection.config import BackboneConfig
from nas.proxy.phases import PHASES
from nas.search.resources import ResourceConfig
from nas.workers.placement import WorkersError
from search_space import known_genotype

pytestmark = pytest.mark.usefixtures("one_ray")

TINY = replace(PROXY, backbone=BackboneConfig(name="resnet10", frozen=True), image_size=64, steps=6)
DIVERGING = replace(TINY, optimizer=replace(TINY.optimizer, lr=1e30, warmup_steps=0, clip_norm=None))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    root = tmp_path_factory.mktemp("fleet") / "signs"
    return DataConfig(root=str(root), embedded=SignsConfig(train=24, reward=8, test=8))


def job(data: DataConfig, name: str = "fpn", seed: int = 0, **changes) -> TrainingJob:
    return TrainingJob(name, "known", known_genotype(name), **{"proxy": TINY, "data": data, "seed": seed, **changes})


def children(parent: int, pattern: str) -> list[int]:
    command = ["pgrep", "-P", str(parent), "-f", pattern]
    return [int(pid) for pid in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()]


def kill_first_training(killed: list[int]) -> None:
    """kill -9 to the first worker of this process that trains."""
    deadline = time.monotonic() + 250
    while time.monotonic() < deadline:
        for raylet in children(os.getpid(), "raylet/raylet"):
            if workers := children(raylet, "^ray::TrainingWorker.run"):
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])
                return
        time.sleep(0.02)


def test_trainings_are_done_once_and_a_failed_or_killed_one_costs_no_other(data, tmp_path):
    jobs = [
        job(data, proxy=replace(TINY, steps=60)),
        job(data, seed=1),
        job(data, seed=1),
        job(data, "bifpn", proxy=DIVERGING),
        job(data, "bifpn", split="test"),
    ]
    store = ResultStore(tmp_path / "trainings.jsonl")
    told = []
    killed: list[int] = []
    killer = threading.Thread(target=kill_first_training, args=(killed,))
    killer.start()
    with store.claim():
        run_all(jobs, store, ResourceConfig(workers=1), lambda *line: told.append(line))
    killer.join()
    assert len(killed) == 1
    assert [left for _, _, left in told] == [3, 2, 1, 0], "equal jobs are one"
    assert "loss is" in store.get(jobs[3]).error
    metrics = store.metrics(jobs[0])
    phases = {name.removeprefix("seconds/"): value for name, value in metrics.items() if name.startswith("seconds/")}
    assert set(phases) == set(PHASES)
    assert 0 < sum(phases.values()) < metrics["seconds"]
    assert store.metrics(jobs[4])["AP"] >= 0

    again = ResultStore(store.path)
    with again.claim():
        run_all(jobs, again, ResourceConfig(workers=1), lambda *line: told.append(line))
    assert [job for job, _, _ in told[4:]] == [jobs[3]], "only what failed is tried again"


def test_data_that_is_missing_is_a_clear_error(tmp_path):
    lost = job(replace(smoke().data, root=str(tmp_path / "nowhere"), embedded=None))
    store = ResultStore(tmp_path / "trainings.jsonl")
    with pytest.raises(WorkersError, match="nowhere"), store.claim():
        run_all([lost], store, ResourceConfig(workers=1), lambda *line: None)

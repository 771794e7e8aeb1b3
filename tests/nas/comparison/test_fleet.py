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
from nas.comparison.bank import Bank
from nas.comparison.case import Case
from nas.comparison.fleet import train_all
from nas.data.config import DataConfig, SignsConfig
from nas.detection.config import BackboneConfig
from nas.proxy.phases import PHASES
from nas.search.config import ResourceConfig
from nas.search.staffing import WorkersError
from search_space import known_genotype

TINY = replace(PROXY, backbone=BackboneConfig(name="resnet10", frozen=True), image_size=64, steps=6)
DIVERGING = replace(TINY, optimizer=replace(TINY.optimizer, lr=1e30, warmup_steps=0, clip_norm=None))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    root = tmp_path_factory.mktemp("fleet") / "signs"
    return DataConfig(root=str(root), embedded=SignsConfig(train=24, reward=8, test=8))


def case(data: DataConfig, name: str = "fpn", seed: int = 0, **changes) -> Case:
    return Case(name, "known", known_genotype(name), **{"proxy": TINY, "data": data, "seed": seed, **changes})


def children(parent: int, pattern: str) -> list[int]:
    command = ["pgrep", "-P", str(parent), "-f", pattern]
    return [int(pid) for pid in subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()]


def kill_first_training(killed: list[int]) -> None:
    """kill -9 to the first worker of this process that trains."""
    deadline = time.monotonic() + 250
    while time.monotonic() < deadline:
        for raylet in children(os.getpid(), "raylet/raylet"):
            if workers := children(raylet, "^ray::CaseWorker.run"):
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])
                return
        time.sleep(0.02)


def test_trainings_are_done_once_and_a_failed_or_killed_one_costs_no_other(data, tmp_path):
    cases = [
        case(data, proxy=replace(TINY, steps=400)),
        case(data, seed=1),
        case(data, seed=1),
        case(data, "bifpn", proxy=DIVERGING),
        case(data, "bifpn", split="test"),
    ]
    bank = Bank(tmp_path / "trainings.jsonl")
    told = []
    killed: list[int] = []
    killer = threading.Thread(target=kill_first_training, args=(killed,))
    killer.start()
    with bank.claim():
        train_all(cases, bank, ResourceConfig(workers=1), lambda *line: told.append(line))
    killer.join()
    assert len(killed) == 1
    assert [left for _, _, left in told] == [3, 2, 1, 0], "equal cases are one"
    assert "loss is" in bank.get(cases[3]).error
    metrics = bank.metrics(cases[0])
    phases = {name.removeprefix("seconds/"): value for name, value in metrics.items() if name.startswith("seconds/")}
    assert set(phases) == set(PHASES)
    assert 0 < sum(phases.values()) < metrics["seconds"]
    assert bank.metrics(cases[4])["AP"] >= 0

    again = Bank(bank.path)
    with again.claim():
        train_all(cases, again, ResourceConfig(workers=1), lambda *line: told.append(line))
    assert [case for case, _, _ in told[4:]] == [cases[3]], "only what failed is tried again"


def test_data_that_is_missing_is_a_clear_error(tmp_path):
    lost = case(replace(smoke().data, root=str(tmp_path / "nowhere"), embedded=None))
    bank = Bank(tmp_path / "trainings.jsonl")
    with pytest.raises(WorkersError, match="nowhere"), bank.claim():
        train_all([lost], bank, ResourceConfig(workers=1), lambda *line: None)

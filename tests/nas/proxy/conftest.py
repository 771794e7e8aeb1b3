from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nas.data.coco import open_splits
from nas.data.config import DataConfig, SignsConfig
from nas.proxy import attempt
from nas.proxy.task import ProxyTask
from tests.support.recorded import TINY


@pytest.fixture(scope="package")
def data(tmp_path_factory) -> DataConfig:
    """Few signs, made and split."""
    root = tmp_path_factory.mktemp("data") / "signs"
    config = DataConfig(root=str(root), embedded=SignsConfig(train=40, reward=16, test=2))
    open_splits(config)
    return config


@pytest.fixture(scope="package")
def task(data: DataConfig) -> ProxyTask:
    return ProxyTask(TINY, data)


@pytest.fixture
def clock(task: ProxyTask, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds since any start, as `now`: a step takes one, all else none."""
    clock = SimpleNamespace(now=0.0)
    batches = task.train_inputs.batches

    def ticking(*arguments: Any) -> Iterator[Any]:
        for batch in batches(*arguments):
            clock.now += 1
            yield batch

    monkeypatch.setattr(task.train_inputs, "batches", ticking)
    monkeypatch.setattr(attempt.time, "perf_counter", lambda: clock.now)
    return clock

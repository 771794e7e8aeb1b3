"""The proxy task on a CUDA device: `pytest -m gpu`."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from experiments.signs import PROXY
from nas.data.config import DataConfig, SignsConfig
from nas.proxy.task import ProxyTask
from search_space import known
from tests.support.recorded import Cut, Recorded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_trial_learns_and_measures_on_the_gpu(tmp_path, frozen):
    data = DataConfig(root=str(tmp_path / "signs"), embedded=SignsConfig(train=40, reward=16, test=2))
    backbone = replace(PROXY.backbone, frozen=frozen)
    task = ProxyTask(replace(PROXY, steps=60, device="cuda", backbone=backbone), data)
    trained = task.run(known.bifpn(), seed=0)
    assert all(value is None or math.isfinite(value) for value in trained.metrics.values())
    assert trained.metrics["AP50"] > 3
    assert 0 < trained.metrics["peak_memory_mb"] < torch.cuda.get_device_properties(0).total_memory / 2**20
    assert {value.device.type for value in trained.neck.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("frozen", [True, False])
def test_a_training_continues_on_the_gpu(tmp_path, frozen):
    data = DataConfig(root=str(tmp_path / "signs"), embedded=SignsConfig(train=40, reward=16, test=2))
    backbone = replace(PROXY.backbone, frozen=frozen)
    task = ProxyTask(replace(PROXY, steps=60, device="cuda", backbone=backbone), data)
    first = Recorded(rungs=(20,), every=0, cut=30)
    with pytest.raises(Cut):
        task.run(known.bifpn(), 0, first)
    continued = task.run(known.bifpn(), 0, Recorded(stored=first.saved[-1]))
    assert continued.metrics["resumed_at"] == 30
    assert continued.metrics["AP50"] > 3

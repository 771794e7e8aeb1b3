"""The proxy task on a CUDA device: `pytest -m gpu`."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import replace
from functools import partial

import pytest
import torch

from experiments.signs import PROXY
from nas.data.config import DataConfig, SignsConfig
from nas.detection.config import BackboneConfig
from nas.proxy import graphed
from nas.proxy.candidate import candidate_neck
from nas.proxy.graphed import GraphedStep
from nas.proxy.task import ProxyTask
from necks import MergeNeck
from search_space import known, known_genotype
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


SETTINGS = {
    "steps": 60,
    "device": "cuda",
    "image_size": 128,
    "backbone": BackboneConfig(name="resnet10", frozen=True),
}


def losses(task: ProxyTask, build, **changes: object) -> list[float]:
    """Loss of every step of a training from one seed."""
    task.config, before = replace(task.config, **changes), task.config
    torch.manual_seed(0)
    training = task.training(task.detector(build), 0)
    found = []
    for _ in training.steps():
        found.append(training.loss)
    task.config = before
    return found


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> ProxyTask:
    root = tmp_path_factory.mktemp("data") / "signs"
    data = DataConfig(root=str(root), embedded=SignsConfig(train=40, reward=16, test=2))
    return ProxyTask(replace(PROXY, **SETTINGS), data)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.02), ("bf16", 0.15)])
@pytest.mark.parametrize("name", ["fpn", "bifpn", "nas_fpn"])
def test_a_recorded_step_loses_what_an_ordinary_one_does(frozen, monkeypatch, name, precision, tolerance):
    recorded = []
    end = GraphedStep.__exit__
    monkeypatch.setattr(
        GraphedStep, "__exit__", lambda self, *why: (recorded.append(self.recorded), end(self, *why))[1]
    )
    build = partial(candidate_neck, known_genotype(name), config=frozen.config.neck)
    ordinary = losses(frozen, build, cuda_graph="off", precision=precision)
    assert losses(frozen, build, cuda_graph="on", precision=precision) == pytest.approx(ordinary, rel=tolerance)
    assert recorded == [True]


def test_what_cannot_be_recorded_is_trained_step_by_step(frozen, caplog):
    with caplog.at_level(logging.WARNING):
        found = losses(frozen, asking_neck, cuda_graph="on")
    assert len(found) == 60
    assert all(map(math.isfinite, found))
    assert "cannot be recorded as a CUDA graph" in caplog.text
    build = partial(candidate_neck, known.fpn(), config=frozen.config.neck)
    assert all(map(math.isfinite, losses(frozen, build, cuda_graph="on"))), "the next candidate is not disturbed"


def test_graphs_leave_no_memory_behind(frozen):
    build = partial(candidate_neck, known.fpn(), config=frozen.config.neck)
    losses(frozen, build, cuda_graph="on")
    before = torch.cuda.memory_reserved()
    for _ in range(3):
        losses(frozen, build, cuda_graph="on")
    assert torch.cuda.memory_reserved() <= before + 2**24


def test_a_recorded_training_continues_and_passes_rungs(frozen):
    assert frozen.config.steps >= graphed.LEAST_STEPS, "auto records it"
    first = Recorded(rungs=(20,), every=0, cut=30)
    with pytest.raises(Cut):
        frozen.run(known.bifpn(), 0, first)
    assert [step for step, _ in first.asked] == [20]
    continued = frozen.run(known.bifpn(), 0, Recorded(stored=first.saved[-1]))
    unbroken = frozen.run(known.bifpn(), 0)
    assert continued.metrics["resumed_at"] == 30
    assert continued.metrics["loss"] == pytest.approx(unbroken.metrics["loss"], rel=0.05)


class AskingNeck(MergeNeck):
    """Asks the host for a number in every forward pass."""

    def forward(self, features, until=None) -> OrderedDict[str, torch.Tensor]:
        maps = super().forward(features, until)
        assert next(iter(maps.values())).sum().item() == pytest.approx(0, abs=math.inf)
        return maps


def asking_neck(channels: tuple[int, ...], levels: tuple[int, ...]) -> MergeNeck:
    return AskingNeck(known.fpn(), channels, levels, PROXY.neck.channels)

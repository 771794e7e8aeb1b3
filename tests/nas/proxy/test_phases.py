"""The time that the phases of a training take."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from nas.proxy.candidate import candidate_neck
from nas.proxy.phases import NO_PHASES, PHASES, Phases
from nas.proxy.task import ProxyTask
from search_space import known
from tests.support.recorded import TINY, Recorded, assert_same, dropout_neck

SEED = 1
CPU = torch.device("cpu")


def test_phases_add_up_and_change_nothing(task, monkeypatch):
    """By the clock of this process, which stands still while the machine does other work."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    plain = task.run(known.nas_fpn(), SEED)
    build = lambda channels, levels: candidate_neck(known.nas_fpn(), channels, levels, TINY.neck)  # noqa: E731
    phases = Phases(CPU)
    start = time.process_time()
    trained = task.run_neck(build, SEED, phases=phases)
    whole = time.process_time() - start
    assert_same(plain, trained)
    assert set(phases.seconds) == set(PHASES)
    assert all(seconds > 0 for seconds in phases.seconds.values())
    assert 0.8 * whole <= sum(phases.seconds.values()) <= whole


def test_phases_of_a_step_come_in_their_order_and_rungs_are_evaluation(data, monkeypatch):
    proxy = ProxyTask(replace(TINY, steps=2), data)
    phases = Phases(CPU)
    told: list[str | None] = []
    begin = Phases.begin
    monkeypatch.setattr(Phases, "begin", lambda self, phase: (told.append(phase), begin(self, phase))[1])
    proxy.run_neck(dropout_neck, 0, Recorded(rungs=(1,)), phases)
    told = [phase for before, phase in zip([None, *told], told, strict=False) if phase not in (None, before)]
    step = [
        "inputs",
        "forward and backward",
        "neck forward",
        "head forward",
        "loss",
        "head backward",
        "neck backward",
        "update",
    ]
    assert told == ["setup", *step, "evaluation", *step, "evaluation", "setup"]


@pytest.mark.parametrize("frozen", [True, False])
def test_phases_of_a_backbone_that_learns_are_the_same(data, frozen):
    config = replace(TINY, backbone=replace(TINY.backbone, frozen=frozen), steps=2, batch_size=2)
    phases = Phases(CPU)
    build = lambda channels, levels: candidate_neck(known.none(), channels, levels, TINY.neck)  # noqa: E731
    ProxyTask(config, data).run_neck(build, 0, phases=phases)
    assert set(phases.seconds) == set(PHASES)


def test_nothing_is_measured_unless_asked_for(task):
    task.run(known.fpn(), 0)
    assert NO_PHASES.seconds == {}

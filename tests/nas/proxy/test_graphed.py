"""A training in whole steps, which a CUDA graph can hold, beside one in ordinary steps; here without a graph."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from nas.configuration import ConfigError, from_dict
from nas.detection.config import BackboneConfig
from nas.errors import UserError
from nas.proxy import graphed
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.graphed import GraphedStep, WholeStep
from nas.proxy.phases import Phases
from nas.proxy.task import ProxyTask
from nas.proxy.training import Training
from nas.proxy.trial import TrialError
from search_space import known
from tests.support.recorded import STEPS, TINY, Cut, Recorded, assert_same


@pytest.fixture(scope="module")
def whole(data) -> Iterator[ProxyTask]:
    """Its trainings run in whole steps, one by one."""
    with whole_steps(ProxyTask(TINY, data)) as task:
        yield task


@contextmanager
def whole_steps(task: ProxyTask) -> Iterator[ProxyTask]:
    with set_to(task, cuda_graph="on"):
        yield task


@contextmanager
def set_to(task: ProxyTask, **changes: object) -> Iterator[None]:
    """Other settings for a while, however it ends: a task is shared by many tests."""
    before = task.config
    task.config = replace(before, **changes)
    try:
        yield
    finally:
        task.config = before


def losses(task: ProxyTask, **changes: object) -> list[float]:
    with set_to(task, **changes):
        torch.manual_seed(0)
        training = task.training(task.detector(lambda channels, levels: fpn(task, channels, levels)), seed=0)
        return [training.loss for _ in training.steps()]


def fpn(task: ProxyTask, channels, levels):
    from nas.proxy.candidate import candidate_neck

    return candidate_neck(known.fpn(), channels, levels, task.config.neck)


OPTIMIZERS = [
    TINY.optimizer,
    OptimizerConfig(name="sgd", lr=0.01, warmup_steps=2, schedule="step"),
    OptimizerConfig(name="adamw", lr=1e-3, warmup_steps=0, clip_norm=None),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_whole_steps_lose_what_ordinary_ones_do(task, optimizer):
    ordinary = losses(task, optimizer=optimizer)
    assert len(ordinary) == STEPS
    assert losses(task, optimizer=optimizer, cuda_graph="on") == pytest.approx(ordinary, rel=1e-4)
    assert ordinary[-1] < ordinary[0], "it learns, so that equal losses say something"


def test_bf16_is_the_same_but_for_its_rounding(task):
    ordinary = losses(task, precision="bf16")
    assert losses(task, precision="bf16", cuda_graph="on") == pytest.approx(ordinary, rel=0.03)


def test_a_trial_ends_with_the_weights_of_an_ordinary_one(task, whole):
    ordinary, other = task.run(known.bifpn(), 0), whole.run(known.bifpn(), 0)
    assert other.metrics["loss"] == pytest.approx(ordinary.metrics["loss"], rel=1e-3)
    assert other.metrics["steps"] == STEPS
    weights = other.neck.state_dict()
    for name, value in ordinary.neck.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=2e-3, msg=name)


@pytest.mark.parametrize("steps", [1, 5, STEPS])
def test_whole_steps_continue_from_a_checkpoint_to_the_last_bit(whole, steps):
    callbacks = Recorded(every=0, cut=steps)
    with pytest.raises(Cut):
        whole.run(known.fpn(), 0, callbacks)
    continued = whole.run(known.fpn(), 0, Recorded(stored=callbacks.saved[-1]))
    assert continued.metrics["resumed_at"] == steps
    assert_same(whole.run(known.fpn(), 0), continued)


def test_either_kind_of_step_continues_what_the_other_began(task, whole):
    unbroken = task.run(known.fpn(), 0)
    for first, second in ((task, whole), (whole, task)):
        callbacks = Recorded(every=0, cut=3)
        with pytest.raises(Cut):
            first.run(known.fpn(), 0, callbacks)
        continued = second.run(known.fpn(), 0, Recorded(stored=callbacks.saved[-1]))
        assert continued.metrics["resumed_at"] == 3
        assert continued.metrics["loss"] == pytest.approx(unbroken.metrics["loss"], rel=1e-3)


def test_rungs_are_asked_and_change_nothing(whole):
    callbacks = Recorded(rungs=(2, 5))
    scored = whole.run(known.fpn(), 0, callbacks)
    assert [step for step, _ in callbacks.asked] == [2, 5]
    assert_same(whole.run(known.fpn(), 0), scored)
    stopped = whole.run(known.fpn(), 0, Recorded(rungs=(2, 5), stop=2))
    assert (stopped.stopped_at, stopped.metrics["steps"]) == (2, 2)


def test_a_loss_that_is_not_finite_fails_the_trial_within_a_few_steps(data):
    optimizer = replace(TINY.optimizer, lr=1e30, clip_norm=None, warmup_steps=0)
    task = ProxyTask(replace(TINY, optimizer=optimizer, steps=15), data)
    with whole_steps(task), pytest.raises(TrialError, match=r"loss is (nan|inf) at step 10"):
        task.run(known.fpn(), 0)


def test_no_step_asks_the_host_for_a_number(whole, monkeypatch):
    """A step that does so cannot be recorded."""
    torch.manual_seed(0)
    training = whole.training(whole.detector(lambda *given: fpn(whole, *given)), seed=0)
    steps = training.steps()
    next(steps)
    read = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "nonzero", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda *given, name=name: read.append(name))
    next(steps)
    monkeypatch.undo()
    assert not read


class Recorder:
    """Stands in for a graph: its replays are counted."""

    def __init__(self, replay) -> None:
        self.replay, self.reset_done = replay, False

    def reset(self) -> None:
        self.reset_done = True


class Counted(WholeStep):
    """Counts its runs and has no device."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.loss = torch.zeros(())
        self.runs = self.recordings = self.left = 0

    def run(self) -> None:
        self.runs += 1

    @contextmanager
    def recording(self) -> Iterator[None]:
        self.recordings += 1
        yield

    def leave(self) -> None:
        self.left += 1


@pytest.fixture
def pretended(monkeypatch) -> list[Recorder]:
    """A GPU, as far as `GraphedStep` can tell; the graphs that it made."""
    made: list[Recorder] = []

    def graph() -> Recorder:
        made.append(Recorder(lambda: None))
        return made[-1]

    @contextmanager
    def stream(_: object) -> Iterator[None]:
        yield

    monkeypatch.setattr(graphed.torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(graphed.torch.cuda, "stream", stream)
    monkeypatch.setattr(graphed.torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(graphed, "_side_stream", lambda device: None)
    monkeypatch.setattr(GraphedStep, "_run_aside", lambda self: self._step.run())
    return made


def test_it_is_recorded_after_the_warm_up_and_then_only_replayed(pretended, monkeypatch):
    step = Counted()
    monkeypatch.setattr(GraphedStep, "_capture", lambda self, graph, stream: None)
    with GraphedStep(step) as graph:
        graph._records = True
        for _ in range(10):
            graph.advance()
        assert graph.recorded
    assert (step.runs, step.recordings, len(pretended)) == (graphed.WARM_UP, 1, 1)
    assert pretended[0].reset_done
    assert step.left == 1


def test_a_step_that_cannot_be_recorded_runs_one_by_one_and_says_so(pretended, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    step = Counted()
    monkeypatch.setattr(GraphedStep, "_capture", fail)
    with caplog.at_level(logging.WARNING), GraphedStep(step) as graph:
        graph._records = True
        for _ in range(10):
            graph.advance()
        assert not graph.recorded
    assert (step.runs, step.recordings) == (10, 1)
    (record,) = caplog.records
    assert record.getMessage().endswith("trained step by step: operation not permitted when stream is capturing")


def test_on_without_a_cuda_device_is_an_error_that_says_what_to_do(data):
    with pytest.raises(UserError, match=r"cuda_graph=on needs a CUDA device.*cpu here; set proxy.cuda_graph=auto"):
        ProxyTask(replace(TINY, cuda_graph="on", device="cpu"), data)


@pytest.mark.parametrize(
    "changes", [{"backbone": {"frozen": False}}, {"compile": "default"}, {"detector": "faster_rcnn"}]
)
def test_on_is_refused_where_no_step_can_be_recorded(changes):
    with pytest.raises(ConfigError, match="cuda_graph=on is for the detector retinanet"):
        from_dict(ProxyConfig, {"backbone": {"frozen": True}, "cuda_graph": "on", **changes})


CUDA = torch.device("cuda")


class Resident:
    device = CUDA

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("changes", "inputs", "wanted"),
    [
        ({}, Resident(), True),
        ({"cuda_graph": "off"}, Resident(), False),
        ({"steps": graphed.LEAST_STEPS - 1}, Resident(), False),
        ({"steps": graphed.LEAST_STEPS - 1, "cuda_graph": "on"}, Resident(), True),
        ({"compile": "default"}, Resident(), False),
        ({"cache_targets": False}, Resident(), False),
        ({"backbone": BackboneConfig(name="resnet10")}, object(), False),
        ({}, object(), False),
    ],
)
def test_auto_takes_graphs_where_they_fit_and_pay(changes, inputs, wanted):
    config = replace(TINY, **{"steps": graphed.LEAST_STEPS, **changes})
    assert graphed.fits(inputs, config, CUDA) is wanted


def test_auto_is_the_ordinary_step_on_a_cpu(task):
    assert not graphed.fits(task.train_inputs, replace(task.config, steps=400), torch.device("cpu"))


def test_the_setting_is_no_part_of_what_a_checkpoint_or_a_kept_head_belongs_to(task):
    def facts(setting: str) -> dict[str, object]:
        config = replace(task.config, cuda_graph=setting)
        detector = task.detector(lambda *given: fpn(task, *given))
        return Training(detector, task.train_inputs, task.targets, config, 0, task.device).facts()

    assert facts("auto") == facts("on")
    assert "cuda_graph" not in repr(task.config)


def test_all_of_a_whole_step_is_one_phase(whole):
    phases = Phases(torch.device("cpu"))
    whole.run_neck(lambda *given: fpn(whole, *given), 0, phases=phases)
    assert phases.seconds["forward and backward"] > 0
    assert not {"neck forward", "update", "inputs"} & set(phases.seconds)

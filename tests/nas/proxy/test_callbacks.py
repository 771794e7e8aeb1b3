"""What a trial tells and asks while it runs: costs and rungs, neither of which changes its result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.proxy import task as task_module
from nas.proxy.config import OptimizerConfig
from nas.proxy.task import ProxyTask
from nas.proxy.trial import Trained, TrialCallbacks, TrialError
from search_space import known
from tests.support.recorded import STEPS, TINY, Recorded, assert_same, dropout_neck


def test_costs_are_told_before_the_training_and_every_latency_is_the_best_of_three(task, monkeypatch):
    times = iter([6.0, 5.0, 4.0, 9.0, 3.0, 7.0, 2.0, 8.0, 1.0])
    monkeypatch.setattr(task_module, "latency_ms", lambda *_: next(times))
    free, again, stopped = Recorded(), Recorded(), Recorded(rungs=(2,), stop=2)
    latencies = [task.run(known.fpn(), 0, callbacks).metrics["latency_ms"] for callbacks in (free, again, stopped)]
    assert latencies == [4, 3, 1]
    assert [callbacks.costs[0]["latency_ms"] for callbacks in (free, again, stopped)] == [5, 3, 2]
    assert free.costs[0].keys() == {"params", "macs", "latency_ms"}


@pytest.mark.parametrize("build", [dropout_neck, None], ids=["dropout", "nas_fpn"])
def test_rungs_that_do_not_stop_change_nothing(task, build):
    def run(callbacks: TrialCallbacks) -> Trained:
        return task.run_neck(build, 3, callbacks) if build else task.run(known.nas_fpn(), 3, callbacks)

    callbacks = Recorded(rungs=(1, 3, STEPS - 1))
    passed = run(callbacks)
    assert [step for step, _ in callbacks.asked] == [1, 3, STEPS - 1]
    assert passed.stopped_at is None
    assert_same(run(TrialCallbacks()), passed)


def test_rungs_outside_the_training_are_not_asked(task):
    callbacks = Recorded(rungs=(0, STEPS, STEPS + 1), stop=STEPS)
    assert task.run(known.fpn(), 0, callbacks).stopped_at is None
    assert callbacks.asked == []


def test_a_training_stops_at_a_rung_with_what_the_rung_was_told(task):
    callbacks = Recorded(rungs=(2, 5, 6), stop=5)
    trained = task.run(known.fpn(), 0, callbacks)
    step, told = callbacks.asked[-1]
    assert trained.stopped_at == step == 5
    assert {**told, "latency_ms": trained.metrics["latency_ms"]}.items() <= trained.metrics.items()
    assert told.keys() > {"AP", "params", "macs", "latency_ms"}
    assert trained.metrics.keys() - told.keys() == {"peak_memory_mb", "train_seconds", "eval_seconds", "steps", "loss"}
    assert trained.metrics["steps"] == 5
    assert not trained.neck.training


def test_a_rung_scores_as_the_end_of_a_shorter_training(data):
    warming_up = replace(TINY, optimizer=replace(TINY.optimizer, warmup_steps=1000))
    stopped = ProxyTask(warming_up, data).run(known.fpn(), 0, Recorded(rungs=(4,), stop=4))
    assert_same(ProxyTask(replace(warming_up, steps=4), data).run(known.fpn(), 0), stopped)


def test_time_at_rungs_is_time_of_scoring(task, clock, monkeypatch):
    def evaluate(*_: object) -> dict[str, float]:
        clock.now += 100
        return {"AP": 0.0, "latency_ms": 0.0}

    monkeypatch.setattr(task, "_evaluate", evaluate)
    metrics = task.run(known.fpn(), 0, Recorded(rungs=(1, 2))).metrics
    assert (metrics["train_seconds"], metrics["eval_seconds"]) == (STEPS, 300)


def test_an_infinite_loss_at_a_rung_is_the_trials_error(data):
    wild = replace(TINY, optimizer=OptimizerConfig(name="sgd", lr=1e8, warmup_steps=0))
    callbacks = Recorded(rungs=(6,))
    with pytest.raises(TrialError, match=r"loss is (nan|inf) at step 5; lower"):
        ProxyTask(wild, data).run(known.fpn(), 0, callbacks)
    assert callbacks.asked == []


@pytest.mark.parametrize("name", ["before_training", "stops_at", "load_checkpoint", "save_checkpoint"])
def test_what_a_callback_raises_comes_out_as_it_is(task, name):
    error = KeyError("the callback's own")

    def fail(*_: object) -> None:
        raise error

    callbacks = Recorded(rungs=(2,), every=0)
    setattr(callbacks, name, fail)
    with pytest.raises(KeyError) as raised:
        task.run(known.fpn(), 0, callbacks)
    assert raised.value is error
    assert task.run(known.fpn(), 0).stopped_at is None

"""A training that is cut off continues from its checkpoint as if nothing had happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from nas.detection.config import BackboneConfig
from nas.proxy import checkpoint
from nas.proxy.config import OptimizerConfig
from nas.proxy.task import ProxyTask
from nas.proxy.trial import Trained, TrialCallbacks
from search_space import known
from tests.support.recorded import STEPS, TINY, Cut, Recorded, assert_same, dropout_neck


@pytest.fixture(scope="module")
def unbroken(task: ProxyTask) -> Trained:
    return task.run(known.fpn(), 0)


def cut_after(steps: int, run: Callable[[TrialCallbacks], Trained]) -> bytes:
    """The checkpoint of a training that ends `steps` steps after it began."""
    callbacks = Recorded(every=0, cut=steps)
    with pytest.raises(Cut):
        run(callbacks)
    return callbacks.saved[-1]


@pytest.mark.parametrize("steps", [1, 5, STEPS])
def test_a_continued_training_ends_as_an_unbroken_one(task, unbroken, steps):
    stored = cut_after(steps, lambda callbacks: task.run(known.fpn(), 0, callbacks))
    callbacks = Recorded(stored=stored, every=0)
    continued = task.run(known.fpn(), 0, callbacks)
    assert continued.metrics["resumed_at"] == steps
    assert continued.metrics["steps"] == unbroken.metrics["steps"]
    assert "resumed_at" not in unbroken.metrics
    assert len(callbacks.saved) == STEPS - steps
    assert len(callbacks.costs) == 1
    assert_same(unbroken, continued)


def test_random_numbers_of_a_continued_training_go_on(task):
    def run(callbacks: TrialCallbacks) -> Trained:
        return task.run_neck(dropout_neck, 0, callbacks)

    assert_same(run(TrialCallbacks()), run(Recorded(stored=cut_after(3, run))))


def test_a_training_may_be_cut_more_than_once(task, unbroken):
    stored = None
    for _ in range(3):
        callbacks = Recorded(stored=stored, every=0, cut=2)
        with pytest.raises(Cut):
            task.run(known.fpn(), 0, callbacks)
        stored = callbacks.saved[-1]
    continued = task.run(known.fpn(), 0, Recorded(stored=stored))
    assert continued.metrics["resumed_at"] == 6
    assert_same(unbroken, continued)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_backbone_that_learns_is_in_the_checkpoint(data, name):
    backbone = BackboneConfig(name="resnet10", frozen=False)
    optimizer = OptimizerConfig(name=name, lr=1e-3, warmup_steps=2)
    learning = ProxyTask(replace(TINY, backbone=backbone, optimizer=optimizer, steps=4, batch_size=4), data)

    def run(callbacks: TrialCallbacks) -> Trained:
        return learning.run(known.fpn(), 0, callbacks)

    assert_same(run(TrialCallbacks()), run(Recorded(stored=cut_after(2, run))))


def test_a_checkpoint_leaves_out_a_frozen_backbone(task):
    stored = cut_after(1, lambda callbacks: task.run(known.fpn(), 0, callbacks))
    weights = sum(value.numel() * value.element_size() for value in task.backbone.state_dict().values())
    assert len(stored) < weights / 2


def test_rungs_before_the_checkpoint_are_not_asked_again_and_its_own_has_been(task):
    first = Recorded(rungs=(2, 4, 6), every=0, cut=4)
    with pytest.raises(Cut):
        task.run(known.fpn(), 0, first)
    second = Recorded(rungs=(2, 4, 6), stored=first.saved[-1])
    task.run(known.fpn(), 0, second)
    assert [step for step, _ in first.asked] == [2, 4]
    assert [step for step, _ in second.asked] == [6]


def test_seconds_of_all_attempts_are_counted(task, clock):
    first = Recorded(rungs=(2,), every=0, cut=3)
    with pytest.raises(Cut):
        task.run(known.fpn(), 0, first)
    clock.now = 1000.0
    metrics = task.run(known.fpn(), 0, Recorded(stored=first.saved[-1])).metrics
    assert (metrics["train_seconds"], metrics["eval_seconds"]) == (STEPS, 0)


@pytest.mark.parametrize(("every", "count"), [(0, STEPS), (1, STEPS), (3, 2), (4, 2), (STEPS + 1, 0), (None, 0)])
def test_checkpoints_are_as_far_apart_as_wanted(task, clock, every, count):
    callbacks = Recorded(every=every)
    task.run(known.fpn(), 0, callbacks)
    assert len(callbacks.saved) == count


def damaged(data: bytes) -> list[bytes]:
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    header = bytearray(data)
    header[checkpoint.DIGEST_BYTES + 3] ^= 1
    return [b"", b"garbage", data[:20], data[:-1], data + b"\0", data[: len(data) // 2], bytes(flipped), bytes(header)]


def test_a_damaged_checkpoint_is_ignored_with_a_warning(task, unbroken, caplog):
    stored = cut_after(5, lambda callbacks: task.run(known.fpn(), 0, callbacks))
    for data in damaged(stored):
        assert checkpoint.unpack(data, {}, torch.device("cpu")) is None
    caplog.clear()
    afresh = task.run(known.fpn(), 0, Recorded(stored=stored[:-1]))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "damaged" in caplog.text
    assert "resumed_at" not in afresh.metrics
    assert_same(unbroken, afresh)


@pytest.mark.parametrize(
    ("change", "seed", "others"),
    [
        ({}, 1, "seed"),
        ({"steps": STEPS + 1}, 0, "settings"),
        ({"optimizer": replace(TINY.optimizer, lr=1e-4)}, 0, "settings"),
        ({"neck": replace(TINY.neck, channels=64)}, 0, "settings, tensors"),
    ],
)
def test_a_checkpoint_of_another_training_is_ignored(data, task, change, seed, others, caplog):
    stored = cut_after(5, lambda callbacks: task.run(known.fpn(), 0, callbacks))
    other = ProxyTask(replace(TINY, **change), data) if change else task
    afresh = other.run(known.fpn(), seed, Recorded(stored=stored))
    assert f"of another training (other {others})" in caplog.text
    assert_same(other.run(known.fpn(), seed), afresh)


def test_a_checkpoint_of_another_neck_or_version_is_ignored(task, monkeypatch, caplog):
    stored = cut_after(5, lambda callbacks: task.run(known.fpn(), 0, callbacks))
    assert "resumed_at" not in task.run(known.nas_fpn(), 0, Recorded(stored=stored)).metrics
    assert "(other tensors)" in caplog.text
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    assert "resumed_at" not in task.run(known.fpn(), 0, Recorded(stored=stored)).metrics
    assert "(other format)" in caplog.text


def test_where_a_training_runs_does_not_matter_to_its_checkpoint(data, task, monkeypatch):
    stored = cut_after(5, lambda callbacks: task.run(known.fpn(), 0, callbacks))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    elsewhere = ProxyTask(replace(TINY, device="cpu", threads=2), data)
    assert elsewhere.run(known.fpn(), 0, Recorded(stored=stored)).metrics["resumed_at"] == 5

"""A tiny proxy task, and callbacks that write down what they are asked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.signs import PROXY
from nas.detection.config import BackboneConfig
from nas.proxy.trial import Trained, TrialCallbacks
from necks import MergeNeck, Neck
from search_space import known

STEPS = 8
TINY = replace(PROXY, backbone=BackboneConfig(name="resnet10", frozen=True), image_size=64, steps=STEPS)
MEASURED_ANEW = {"latency_ms", "peak_memory_mb", "train_seconds", "eval_seconds", "resumed_at"}


class Cut(Exception):  # noqa: N818
    """The end of a process, as far as a training can tell."""


class Recorded(TrialCallbacks):
    """Writes down every question.

    Args:
        stop: rung at which the training ends.
        stored: the checkpoint to continue.
        cut: how many checkpoints are kept; the last of them ends the attempt.
    """

    def __init__(
        self,
        rungs: tuple[int, ...] = (),
        stop: int | None = None,
        stored: bytes | None = None,
        every: float | None = None,
        cut: int | None = None,
    ) -> None:
        self.rungs = rungs
        self.checkpoint_seconds = every
        self.stop, self.stored, self.cut = stop, stored, cut
        self.costs: list[Mapping[str, float]] = []
        self.asked: list[tuple[int, Mapping[str, float | None]]] = []
        self.saved: list[bytes] = []

    def before_training(self, measured: Mapping[str, float], neck: Neck | None = None) -> None:
        self.costs.append(measured)

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        self.asked.append((step, dict(metrics)))
        return step == self.stop

    def load_checkpoint(self) -> bytes | None:
        return self.stored

    def save_checkpoint(self, data: bytes) -> None:
        self.saved.append(data)
        if len(self.saved) == self.cut:
            raise Cut


class DropoutNeck(MergeNeck):
    """Draws random numbers at every step of a training."""

    def forward(self, features: Mapping[str, Tensor], until: int | None = None) -> OrderedDict[str, Tensor]:
        maps = super().forward(features, until)
        return OrderedDict((name, F.dropout(x, 0.2, self.training)) for name, x in maps.items())


def dropout_neck(channels: tuple[int, ...], levels: tuple[int, ...], width: int = TINY.neck.channels) -> MergeNeck:
    return DropoutNeck(known.fpn(), channels, levels, width)


def assert_same(first: Trained, second: Trained) -> None:
    """To the last bit, weights, statistics of norms and whatever is not measured anew."""
    kept = first.metrics.keys() - MEASURED_ANEW
    assert kept == second.metrics.keys() - MEASURED_ANEW
    assert {name: first.metrics[name] for name in kept} == {name: second.metrics[name] for name in kept}
    weights, others = first.neck.state_dict(), second.neck.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in weights.items())

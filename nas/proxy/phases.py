"""Phases of a trial's time, measured in an ordinary training without changing what it computes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from nas.detection.device import synchronize
from nas.detection.learning import NeckAndHead

PHASES = (
    "setup",
    "inputs",
    "forward and backward",
    "neck forward",
    "neck backward",
    "head forward",
    "head backward",
    "loss",
    "update",
    "evaluation",
)
"""`setup` is building the detector and measuring its cost; `inputs` is reading features and targets; `loss` is forward
and backward; `update` is clipping, optimizer and schedule. `forward and backward` is all of a compiled step, which is
not looked into, or of one for a CUDA graph (`cuda_graph=off` shows its parts), and next to nothing of others."""


class Phases:
    """A clock that is told when the next phase begins.

    On a GPU every change of phase waits for the device, which slows a training of small kernels down: shares are
    right, the sum is more than an unobserved trial takes.

    Args:
        device: where the training runs; None: nothing is measured.

    Attributes:
        seconds: by phase, so far.
    """

    def __init__(self, device: torch.device | None) -> None:
        self._device = device
        self._phase: str | None = None
        self._start = 0.0
        self._maps_left = 0
        self.seconds: dict[str, float] = defaultdict(float)

    def begin(self, phase: str | None) -> None:
        """End the current phase; None: what follows belongs to none."""
        if self._device is None:
            return
        synchronize(self._device)
        now = time.perf_counter()
        if self._phase is not None:
            self.seconds[self._phase] += now - self._start
        self._phase, self._start = phase, now

    def watch(self, part: NeckAndHead) -> None:
        """Tell the phases of forward and backward passes from each other, from now on."""
        if self._device is None:
            return
        part.register_forward_pre_hook(lambda *_: self.begin("neck forward"))
        part.head.register_forward_pre_hook(self._before_head)
        part.head.register_forward_hook(self._after_head)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """A phase with no other within."""
        self.begin(phase)
        try:
            yield
        finally:
            self.begin(None)

    def _before_head(self, module: Any, inputs: tuple[list[Tensor]]) -> None:
        if not module.training:
            return
        (maps,) = inputs
        watched = [x for x in maps if x.requires_grad]
        self._maps_left = len(watched)
        for x in watched:
            x.register_hook(self._map_done)
        self.begin("head forward")

    def _after_head(self, module: Any, _inputs: Any, outputs: dict[str, Tensor]) -> None:
        if not module.training:
            return
        self.begin("loss")
        for x in outputs.values():
            if x.requires_grad:
                x.register_hook(lambda _: self.begin("head backward"))

    def _map_done(self, _gradient: Tensor) -> None:
        """The head's backward pass ends where the last of its inputs has its gradient."""
        self._maps_left -= 1
        if not self._maps_left:
            self.begin("neck backward")


NO_PHASES = Phases(None)

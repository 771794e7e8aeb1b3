"""A training step as one CUDA graph: recorded once per candidate, then replayed without any work of Python's.

`WholeStep` is everything that a step does, as one function that takes nothing and reads tensors that never move. It
runs anywhere, step by step. `GraphedStep` runs it a few times and then, on a CUDA device, records and replays it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Self, TypeGuard

import torch
from torch import Tensor, nn

from nas.detection.learning import autocast, clip
from nas.detection.padded import PaddedTargets, padded_loss
from nas.errors import UserError
from nas.proxy.config import ProxyConfig
from nas.proxy.inputs import Inputs, ResidentInputs

_log = logging.getLogger(__name__)

WARM_UP = 3
"""Steps of a training that run before the recording, on the stream that records: they allocate what stays."""

LEAST_STEPS = 40
"""Steps that a training must have for `cuda_graph=auto`: recording one takes as long as several ordinary ones."""


class WholeStep:
    """One training step as a function of tensors on one device, whose addresses stay the same.

    How many steps are done is one of these tensors, so that nobody has to tell a step which images it is for.

    Args:
        part: gives the head's outputs for maps.
        optimizer: of `part`; its learning rate is a tensor from now on, until `leave`.
        inputs, targets: of all images, on the device.
        order: positions of each step's images.
        lrs: learning rate of each step.

    Attributes:
        loss: of the last step, a tensor () that is written in place; NaN before the first.
    """

    def __init__(
        self,
        part: nn.Module,
        optimizer: torch.optim.Optimizer,
        inputs: ResidentInputs,
        targets: PaddedTargets,
        config: ProxyConfig,
        order: Sequence[Sequence[int]],
        lrs: Sequence[float],
    ) -> None:
        self.device = inputs.device
        self.loss = torch.full((), torch.nan, device=self.device)
        self._part = part
        self._optimizer = optimizer
        self._inputs = inputs
        self._targets = targets
        self._config = config
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._order = torch.tensor(order, device=self.device)
        self._lrs = torch.tensor(lrs, device=self.device)
        self._lr = torch.zeros((), device=self.device)
        self._next = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._set_lr(self._lr)

    def run(self) -> None:
        """Do the next step."""
        config = self._config
        chosen = self._order.index_select(0, self._next).squeeze(0)
        self._lr.copy_(self._lrs.index_select(0, self._next).squeeze(0))
        inputs, targets = self._inputs.gather(chosen), self._targets.of(chosen)
        with autocast(config.precision, self.device, cache=False):
            outputs = self._part(inputs)
        loss = padded_loss(outputs, targets, alpha=config.focal_alpha, gamma=config.focal_gamma)
        loss.backward()
        clip(self._parameters, config.optimizer.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.loss.copy_(loss.detach())
        self._next += 1

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A context in which the optimizer lets itself be recorded, which it refuses or warns of elsewhere."""
        groups = [group for group in self._optimizer.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group in groups:
                group["capturable"] = False
            self._optimizer.zero_grad(set_to_none=True)

    def leave(self) -> None:
        """Give the optimizer a number as its learning rate again."""
        self._set_lr(0.0)

    def _set_lr(self, lr: Tensor | float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = lr


class GraphedStep:
    """A whole step that is recorded after a few runs, if the device can do so, and replayed from then on.

    A context, at whose end the memory of the graph is free for the next candidate.
    """

    def __init__(self, step: WholeStep) -> None:
        self._step = step
        self._graph: torch.cuda.CUDAGraph | None = None
        self._runs = 0
        self._records = step.device.type == "cuda"

    @property
    def loss(self) -> Tensor:
        """As `WholeStep.loss`."""
        return self._step.loss

    @property
    def recorded(self) -> bool:
        return self._graph is not None

    def advance(self) -> None:
        """Do the next step; on a CUDA device it is only started."""
        if self._records and self._graph is None and self._runs >= WARM_UP:
            self._record()
        if self._graph is not None:
            self._graph.replay()
        elif self._records:
            self._run_aside()
        else:
            self._step.run()
        self._runs += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._graph is not None:
            self._graph.reset()
            self._graph = None
        self._step.leave()
        if self._step.device.type == "cuda":
            torch.cuda.empty_cache()  # else every candidate's pool stays reserved, which other workers cannot use

    def _run_aside(self) -> None:
        """Run on the stream that will record."""
        current, side = torch.cuda.current_stream(self._step.device), _side_stream(self._step.device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            self._step.run()
        current.wait_stream(side)

    def _record(self) -> None:
        """Record the step, which does not run meanwhile; where that fails, steps run one by one from now on."""
        device = self._step.device
        graph = torch.cuda.CUDAGraph()
        try:
            # A failed recording leaves the stream that it switched to; the outer context comes back.
            with torch.cuda.stream(torch.cuda.current_stream(device)), self._step.recording():
                self._capture(graph, _side_stream(device))
        except RuntimeError as error:
            self._records = False
            _log.warning(
                "this candidate cannot be recorded as a CUDA graph and is trained step by step: %s",
                str(error).partition("\n")[0],
            )
        else:
            self._graph = graph

    def _capture(self, graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream) -> None:
        torch.cuda.synchronize(self._step.device)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._step.run()


def fits(inputs: Inputs, config: ProxyConfig, device: torch.device) -> TypeGuard[ResidentInputs]:
    """True if trainings of this configuration run as whole steps on the device; if not, the log says why."""
    if config.cuda_graph == "off" or (config.cuda_graph == "auto" and device.type != "cuda"):
        return False
    obstacle = _obstacle(config, inputs, device)
    if obstacle is not None:
        _say_once(obstacle)
    return obstacle is None


def check_graph_device(config: ProxyConfig, device: torch.device) -> None:
    """
    Raises:
        UserError: for `cuda_graph=on` without a CUDA device.
    """
    if config.cuda_graph == "on" and device.type != "cuda":
        raise UserError(
            f"proxy.cuda_graph=on needs a CUDA device, and trainings run on {device.type} here; set "
            "proxy.cuda_graph=auto, or give trials a GPU (resources.gpus)"
        )


def _obstacle(config: ProxyConfig, inputs: Inputs, device: torch.device) -> str | None:
    """The reason why trainings run in ordinary steps."""
    if config.detector != "retinanet" or config.compile != "none" or not config.cache_targets:
        return "it takes the detector retinanet, compile=none and cache_targets"
    if not config.backbone.frozen:
        return "the backbone is trained"
    found = getattr(inputs, "device", None)
    if found is None or found.type != device.type:
        return f"the features do not fit into the memory of {device}"
    if config.cuda_graph == "auto" and config.steps < LEAST_STEPS:
        return f"it does not pay in trainings of fewer than {LEAST_STEPS} steps"
    return None


@cache
def _say_once(obstacle: str) -> None:
    _log.info("training steps are not recorded as CUDA graphs: %s", obstacle)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all candidates: memory is kept per stream."""
    return torch.cuda.Stream(device)

"""The short training of one detector.

Shapes: N images, A anchors over all levels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet

from nas.detection.device import random_state, set_random_state
from nas.detection.learning import NeckAndHead, autocast, build_optimizer, clip, trained_part
from nas.detection.loss import batch_loss
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.graphed import GraphedStep, WholeStep, fits
from nas.proxy.image_order import drawn_batches
from nas.proxy.inputs import Inputs, ResidentInputs, TargetCache
from nas.proxy.phases import NO_PHASES, Phases
from nas.proxy.trial import TrialError

NAN_CHECK_PERIOD = 10
FINAL_LR_SHARE = 0.02


class Training:
    """Trains what is not frozen of a detector, a step at a time.

    Args:
        inputs: maps for a detector with a frozen backbone, else images.
        targets: of the same images.
        seed: of the order in which images are drawn.
        phases: is told what the training does.
        started_from: digest of the weights that the detector already has from another candidate; None for fresh ones.

    Attributes:
        step: steps done.
    """

    def __init__(
        self,
        detector: nn.Module,
        inputs: Inputs,
        targets: TargetCache,
        config: ProxyConfig,
        seed: int,
        device: torch.device,
        phases: Phases = NO_PHASES,
        started_from: str | None = None,
    ) -> None:
        self.config = config
        self.device = device
        self.step = 0
        self._inputs = inputs
        self._targets = targets
        self._seed = seed
        self._started_from = started_from
        self._part = self._part_of(detector.train())
        self._phases = phases
        self._forward: Callable[..., dict[str, Tensor]] = self._part
        self._resident: ResidentInputs | None = inputs if fits(inputs, config, device) else None
        if isinstance(self._part, NeckAndHead) and config.compile == "none" and self._resident is None:
            phases.watch(self._part)
        if config.compile != "none":
            torch._dynamo.reset()  # else it gives up after eight candidates, which are one piece of code to it
            self._forward = torch.compile(self._part, mode=config.compile)
        self._parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
        group = {"params": self._parameters, "weight_decay": config.optimizer.weight_decay}
        self._optimizer = build_optimizer(config.optimizer.name, [group], config.optimizer.lr)
        self._loss = torch.tensor(math.nan)

    @property
    def loss(self) -> float:
        """Of the last step; NaN before the first."""
        return float(self._loss)

    def steps(self) -> Iterator[int]:
        """Train from where it stands to `config.steps`, giving the steps done after each.

        Raises:
            TrialError: when the loss is no longer finite, which is looked at every few steps and at the last.
        """
        images, config = self._targets.images, self.config
        drawn = drawn_batches(images.num_images, images.views, config.batch_size, config.steps, self._seed)
        left = list(islice(drawn, self.step, None))
        if self._resident is not None and left:
            with GraphedStep(self._whole_step(self._resident, left)) as graphed:
                while self.step < config.steps:
                    self._replay(graphed)
                    yield self.step
            return
        batches = self._inputs.batches(left, self.device)
        for indices in left:
            self._phases.begin("inputs")
            self._advance(next(batches), indices)
            yield self.step

    def check_loss(self) -> None:
        """
        Raises:
            TrialError: when the loss of the last step is not finite.
        """
        if not math.isfinite(self.loss):
            raise TrialError(
                f"loss is {self.loss} at step {self.step - 1}; lower proxy.optimizer.lr or set "
                "proxy.optimizer.clip_norm"
            )

    def facts(self) -> dict[str, Any]:
        """Facts that another training must share with this one to continue its state; where it runs is left out."""
        return {
            "seed": self._seed,
            "images": len(self._inputs),
            "settings": repr(replace(self.config, threads=1, device="cpu")),
            "tensors": {name: list(value.shape) for name, value in self._part.state_dict().items()},
            **({} if self._started_from is None else {"started from": self._started_from}),
        }

    def state(self) -> dict[str, Any]:
        """Everything that the steps to come depend on; of a detector with a frozen backbone, neck and head only."""
        return {
            "step": self.step,
            "loss": self.loss,
            "part": self._part.state_dict(),
            "optimizer": self._optimizer_state(),
            "rng": torch.get_rng_state(),
            "cuda_rng": random_state(self.device),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue a training with the same facts."""
        self.step = state["step"]
        self._loss = torch.tensor(state["loss"])
        self._part.load_state_dict(state["part"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
        set_random_state(self.device, state["cuda_rng"])

    def _part_of(self, detector: nn.Module) -> nn.Module:
        """The part of the detector that is trained."""
        assert isinstance(detector, RetinaNet)
        return trained_part(detector, frozen=self.config.backbone.frozen)

    def _advance(self, inputs: Any, indices: list[int]) -> None:
        loss = self._loss_of(inputs, indices)
        self._done(loss.detach())
        loss.backward()
        self._phases.begin("update")
        self._update()
        self._phases.begin(None)

    def _done(self, loss: Tensor) -> None:
        """Count a step of this loss."""
        self._loss = loss
        self.step += 1
        if self.step % NAN_CHECK_PERIOD == 1 or self.step == self.config.steps:
            self.check_loss()

    def _whole_step(self, inputs: ResidentInputs, order: list[list[int]]) -> WholeStep:
        lrs = [self._lr(step) for step in range(self.step, self.config.steps)]
        targets = self._targets.padded(inputs.device)
        return WholeStep(self._part, self._optimizer, inputs, targets, self.config, order, lrs)

    def _replay(self, graphed: GraphedStep) -> None:
        """As `_advance`, all of it where the data lie."""
        self._phases.begin("forward and backward")
        graphed.advance()
        self._done(graphed.loss)
        self._phases.begin(None)

    def _lr(self, step: int) -> float:
        return self.config.optimizer.lr * lr_share(self.config.optimizer, step, self.config.steps)

    def _optimizer_state(self) -> dict[str, Any]:
        """The same whether steps are recorded or not."""
        state = self._optimizer.state_dict()
        for group in state["param_groups"]:
            group["lr"] = self._lr(self.step - 1)
        return state

    def _loss_of(self, inputs: Any, indices: list[int]) -> Tensor:
        config = self.config
        targets = self._targets.batch(indices).to(self.device)
        self._phases.begin("forward and backward")
        with autocast(config.precision, self.device):
            outputs = self._forward(inputs)
        return batch_loss(outputs, targets, alpha=config.focal_alpha, gamma=config.focal_gamma)

    def _update(self) -> None:
        clip(self._parameters, self.config.optimizer.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr(self.step - 1)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


def lr_share(config: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate at a step, over the configured one."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "step":
        return 1.0 if step < 0.8 * steps else 0.1
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

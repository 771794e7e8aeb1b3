"""The short training of one detector.

Shapes: N images, A anchors over all levels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet

from nas.detection.loss import retinanet_loss
from nas.detection.targets import BatchTargets
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.inputs import Inputs, TargetCache
from nas.proxy.trial import TrialError

NAN_CHECK_PERIOD = 10
FINAL_LR_SHARE = 0.02


def train(
    detector: RetinaNet,
    inputs: Inputs,
    targets: TargetCache,
    config: ProxyConfig,
    seed: int,
    device: torch.device,
) -> float:
    """Train what is not frozen for `config.steps` steps; returns the last loss that was looked at.

    Args:
        inputs: maps for a detector with a frozen backbone, else images.
        targets: of the same images.
        seed: of the order in which images are drawn.

    Raises:
        TrialError: when the loss is no longer finite.
    """
    forward = trained_part(detector, config)
    detector.train()
    parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = _optimizer(parameters, config.optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_share(config.optimizer, step, config.steps))
    last = math.nan
    for step, indices in enumerate(_batches(len(inputs), config, seed)):
        outputs = forward(inputs.batch(indices, device))
        batch = _to(targets.batch(indices), device)
        focal, box = retinanet_loss(
            outputs["cls_logits"],
            outputs["bbox_regression"],
            batch,
            alpha=config.focal_alpha,
            gamma=config.focal_gamma,
        )
        loss = focal + box
        if step % NAN_CHECK_PERIOD == 0 or step == config.steps - 1:
            last = _checked(loss, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if config.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
        optimizer.step()
        schedule.step()
    return last


def trained_part(detector: RetinaNet, config: ProxyConfig) -> nn.Module:
    """From inputs to the head's outputs, `cls_logits` (N, A, K) and `bbox_regression` (N, A, 4)."""
    return _NeckAndHead(detector.backbone.neck if config.backbone.frozen else detector.backbone, detector.head)


class _NeckAndHead(nn.Module):
    def __init__(self, pyramid: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.head = head

    def forward(self, inputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        return self.head(list(self.pyramid(inputs).values()))


def lr_share(config: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate at a step, over the configured one."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "step":
        return 1.0 if step < 0.8 * steps else 0.1
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _optimizer(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=True)
    return torch.optim.AdamW(parameters, config.lr, weight_decay=config.weight_decay, fused=True)


def _batches(num_images: int, config: ProxyConfig, seed: int) -> Iterator[list[int]]:
    """Exactly `config.steps` batches, epoch after epoch in new order; what an epoch leaves over is dropped."""
    generator = torch.Generator().manual_seed(seed)
    size = min(config.batch_size, num_images)
    step = 0
    while True:
        order = torch.randperm(num_images, generator=generator).tolist()
        for start in range(0, num_images - size + 1, size):
            if step == config.steps:
                return
            yield order[start : start + size]
            step += 1


def _checked(loss: Tensor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrialError(f"loss is {value} at step {step}; lower proxy.optimizer.lr or set proxy.optimizer.clip_norm")
    return value


def _to(targets: BatchTargets, device: torch.device) -> BatchTargets:
    return BatchTargets(targets.labels.to(device), targets.offsets.to(device))

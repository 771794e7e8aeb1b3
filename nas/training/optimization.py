"""Optimizer, learning rate and precision of a full training."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from nas.training.config import TrainOptimizerConfig

DROP = 0.1
"""Factor of the learning rate at each milestone."""


def build_optimizer(module: nn.Module, config: TrainOptimizerConfig) -> torch.optim.Optimizer:
    """Weights of convolutions and linear layers decay; norms and biases do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        return torch.optim.SGD(groups, config.lr, momentum=0.9, fused=True)
    return torch.optim.AdamW(groups, config.lr, fused=True)


def lr_share(config: TrainOptimizerConfig, epoch: float, epochs: int) -> float:
    """Learning rate over the configured one, at a point in time that is counted in epochs.

    The schedule runs from the start; the warm-up multiplies it.
    """
    warm = 1.0
    if epoch < config.warmup_epochs:
        warm = config.warmup_start + (1 - config.warmup_start) * epoch / config.warmup_epochs
    if config.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs)))
    return warm * DROP ** sum(epoch >= milestone for milestone in config.milestones)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def clip(parameters: Iterable[nn.Parameter], config: TrainOptimizerConfig) -> None:
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which the detector is computed."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "fp32")

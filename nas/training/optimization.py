"""Optimizer and learning rate of a full training."""

from __future__ import annotations

import math

import torch
from torch import nn

from nas.detection.learning import build_optimizer
from nas.training.config import TrainOptimizerConfig

DROP = 0.1
"""Factor of the learning rate at each milestone."""


def optimizer_of(module: nn.Module, config: TrainOptimizerConfig) -> torch.optim.Optimizer:
    """Weights of convolutions and linear layers decay; norms and biases do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return build_optimizer(config.name, groups, config.lr)


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

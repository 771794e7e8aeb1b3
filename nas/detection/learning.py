"""Parts of a training that a proxy task and a full training share: what learns, its optimizer and its precision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet


class NeckAndHead(nn.Module):
    """From inputs to the head's outputs, `cls_logits` (N, A, K) and `bbox_regression` (N, A, 4).

    The head gets views of the maps, so that its gradients are summed before those of the neck's cells are added: in
    this order whether the profiler tells them apart or not, and results are equal to the last bit.

    Args:
        pyramid: the neck, or backbone and neck together.
    """

    def __init__(self, pyramid: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.head = head

    def forward(self, inputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.head([x.view_as(x) for x in self.pyramid(inputs).values()])
        return outputs


def trained_part(detector: RetinaNet, *, frozen: bool) -> NeckAndHead:
    """All of the detector, or all but its backbone where that is frozen."""
    return NeckAndHead(detector.backbone.neck if frozen else detector.backbone, detector.head)


def build_optimizer(name: str, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """SGD with momentum .9 or AdamW.

    Args:
        name: `sgd` or `adamw`.
        groups: `params` and `weight_decay` of each group of parameters.
    """
    if name == "sgd":
        return torch.optim.SGD(groups, lr, momentum=0.9, fused=True)
    return torch.optim.AdamW(groups, lr, fused=True)


def clip(parameters: Iterable[nn.Parameter], norm: float | None) -> None:
    """Scale gradients down to this norm over all of them; None leaves them alone."""
    if norm is not None:
        nn.utils.clip_grad_norm_(parameters, norm)


def autocast(precision: str, device: torch.device, *, cache: bool = True) -> torch.autocast:
    """The context in which a detector is computed in `fp32`, `bf16` or `fp16`.

    Args:
        cache: False to convert weights anew at every use, as what a CUDA graph records must.
    """
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "fp32", cache_enabled=cache)

"""Part of a detector that a proxy task trains, and the precision that it runs in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet

from nas.proxy.config import ProxyConfig


class NeckAndHead(nn.Module):
    """From inputs to the head's outputs, `cls_logits` (N, A, K) and `bbox_regression` (N, A, 4).

    The head gets views of the maps, so that its gradients are summed before those of the neck's cells are added: in
    this order whether `Phases` tells them apart or not, and results are equal to the last bit.

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


def trained_part(detector: RetinaNet, config: ProxyConfig) -> NeckAndHead:
    """All of the detector but a frozen backbone."""
    return NeckAndHead(detector.backbone.neck if config.backbone.frozen else detector.backbone, detector.head)


def precision(config: ProxyConfig, device: torch.device) -> torch.autocast:
    """The context in which neck and head are computed."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

"""Faster R-CNN as the detector of a proxy task."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from nas.detection.learning import autocast
from nas.detection.two_stage import target_of, total_loss, two_stage_part
from nas.proxy.training import Training


class TwoStageTraining(Training):
    """The short training of a Faster R-CNN; its loss is the sum of torchvision's four."""

    def _part_of(self, detector: nn.Module) -> nn.Module:
        assert isinstance(detector, FasterRCNN)
        return two_stage_part(detector, self.config.image_size, frozen=self.config.backbone.frozen)

    def _loss_of(self, inputs: Any, indices: list[int]) -> Tensor:
        targets = [target_of(*(x.to(self.device) for x in self._targets.images.target(index))) for index in indices]
        self._phases.begin("forward and backward")
        with autocast(self.config.precision, self.device):
            losses: dict[str, Tensor] = self._part(inputs, targets)
        return total_loss(losses)

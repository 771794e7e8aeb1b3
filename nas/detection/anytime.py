"""RetinaNet with a head after every repeat of the neck: trained with deep supervision, stopped where one likes.

NAS-FPN (arXiv 1904.07392, section 3 "Anytime detection" and appendix A) attaches classifier and box regression heads to
the pyramid after every repeat in training, and takes any of them for detection. How the losses are weighted and whether
the heads share weights is not published. Here, by our choice, the heads are separate and all losses count the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead

from nas.detection.backbone import Backbone
from nas.detection.compatibility import check_compatibility
from nas.detection.config import HeadConfig
from nas.detection.conventions import build_anchors
from nas.detection.detector import BackboneWithNeck, build_head, common_options
from necks import MergeNeck, Neck

Outputs = dict[str, Tensor]


class AnytimeBackbone(BackboneWithNeck):
    """Images in, an ordered dict of the neck's levels out.

    In training (R, N, C, H_l, W_l): the maps after each of the R repeats. Otherwise (N, C, H_l, W_l): those after
    repeat `exit_after`; later ones are not computed.
    """

    neck: MergeNeck

    def __init__(self, body: Backbone, neck: MergeNeck) -> None:
        super().__init__(body, neck)
        self.exit_after = neck.repeats

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.body(images)
        if not self.training:
            return self.neck(maps, self.exit_after)
        pyramids = self.neck.every_repeat(maps)
        return OrderedDict((name, torch.stack([pyramid[name] for pyramid in pyramids])) for name in pyramids[0])


class AnytimeHead(nn.Module):
    """One head per repeat, for what `AnytimeBackbone` gives: in training all of them, else that of `exit_after`."""

    def __init__(self, heads: Sequence[RetinaNetHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.exit_after = len(heads)

    def forward(self, maps: Sequence[Tensor]) -> Outputs | list[Outputs]:
        if maps[0].dim() == 4:
            return self.heads[self.exit_after - 1](maps)
        pyramids = zip(*(level.unbind() for level in maps), strict=True)
        return [head(list(pyramid)) for head, pyramid in zip(self.heads, pyramids, strict=True)]

    def compute_loss(
        self, targets: list[dict[str, Tensor]], outputs: Outputs | list[Outputs], *matched: Any
    ) -> dict[str, Tensor]:
        """Each of torchvision's losses, averaged over the heads whose outputs are given."""
        every = outputs if isinstance(outputs, list) else [outputs]
        stateless: Any = self.heads[0]
        losses = [stateless.compute_loss(targets, each, *matched) for each in every]
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}


class AnytimeRetinaNet(RetinaNet):
    """Trained and used as torchvision's RetinaNet; made by `build_anytime_detector`.

    With its backbone in evaluation mode (`detector.backbone.eval()`) and the rest in training, the head of
    `exit_after` is trained alone.
    """

    backbone: AnytimeBackbone
    head: AnytimeHead

    @property
    def exit_after(self) -> int:
        """Repeats of the neck that detections are made after: 1 to all, which is what it starts with."""
        return self.backbone.exit_after

    @exit_after.setter
    def exit_after(self, repeats: int) -> None:
        if not 1 <= repeats <= len(self.head.heads):
            raise ValueError(f"exit_after must be in 1..{len(self.head.heads)}, the neck's repeats, got {repeats}")
        self.backbone.exit_after = self.head.exit_after = repeats


def build_anytime_detector(
    backbone: Backbone, neck: Neck, num_classes: int, head: HeadConfig | None = None, image_size: int = 640
) -> AnytimeRetinaNet:
    """RetinaNet with a head after every repeat of the neck; arguments as of `build_detector`.

    Raises:
        ValueError: if the neck has no repeats to exit after, and as `build_detector`.
    """
    if not isinstance(neck, MergeNeck):
        raise ValueError(
            f"anytime detection needs a neck of stacked repeats (MergeNeck), got {type(neck).__name__}; build one from "
            "a genotype: build_neck('nas_fpn', ...), or use build_detector"
        )
    head = head or HeadConfig()
    check_compatibility(backbone, neck)
    anchors = build_anchors(neck.out_levels, head)
    num_anchors = anchors.num_anchors_per_location()[0]
    return AnytimeRetinaNet(
        AnytimeBackbone(backbone, neck),
        num_classes,
        anchor_generator=anchors,
        head=AnytimeHead([build_head(neck.out_channels, num_anchors, num_classes, head) for _ in range(neck.repeats)]),
        **common_options(backbone, head, image_size),
    )

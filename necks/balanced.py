"""Balanced Feature Pyramid (Libra R-CNN, arXiv 1904.02701): every level is refined with the mean of all.

Shapes: N images, C channels, H W of the level at hand.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from necks.contract import Neck
from necks.merge import sum_maps
from necks.resample import adaptive_max_pool, up
from necks.sizes import size_of
from search_space.bounds import shown

Refine = Literal["non_local", "conv"] | None


class BalancedNeck(Neck):
    """Any neck followed by balancing: resample all levels to one, average, refine, and add the result to each level.

    Maps are upsampled by nearest neighbour and downsampled by adaptive max-pooling, as in the authors' code and
    mmdetection.

    Args:
        neck: neck that computes the pyramid.
        refine_level: level at which the maps are averaged; P4 in the published configurations.
        refine: `non_local` (embedded Gaussian, as in the paper), `conv` (3x3 and ReLU), or None for the mean alone.

    Raises:
        ValueError: if `refine_level` is not a level of the neck, levels differ in width, or the refinement is unknown.
    """

    def __init__(self, neck: Neck, refine_level: int = 4, refine: Refine = "non_local") -> None:
        super().__init__(neck.in_channels, neck.in_levels, neck.out_channels, neck.out_levels)
        if refine_level not in neck.out_levels:
            raise ValueError(f"refine_level must be one of the neck's levels {neck.out_levels}, got {refine_level}")
        if set(neck.level_channels) != {neck.out_channels}:
            raise ValueError(f"balancing averages all levels, so they must be equally wide, got {neck.level_channels}")
        self.neck = neck
        self.gather_at = neck.out_levels.index(refine_level)
        self.refinement = refine
        self.refine = _refinement(refine, neck.out_channels)

    def arguments(self) -> dict[str, Any]:
        return {"neck": self.neck, "refine_level": self.out_levels[self.gather_at], "refine": self.refinement}

    def forward(self, features: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        maps = list(self.neck(features).values())
        size = size_of(maps[self.gather_at])
        gathered = [(adaptive_max_pool if index < self.gather_at else up)(x, size) for index, x in enumerate(maps)]
        refined = self.refine(sum_maps(gathered) / len(gathered))
        scattered = [
            (up if index < self.gather_at else adaptive_max_pool)(refined, size_of(x)) for index, x in enumerate(maps)
        ]
        return self.named([x + y for x, y in zip(maps, scattered, strict=True)])


class NonLocal(nn.Module):
    """Embedded-Gaussian non-local block: x + out(softmax(theta phi^T) g) over all positions, without scaling.

    `conv_out` starts at zero, so a fresh block is the identity (mmcv's initialisation).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi, self.conv_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))
        for conv in (self.g, self.theta, self.phi):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (conv(x).flatten(2).mT.unsqueeze(1) for conv in (self.theta, self.phi, self.g))
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.conv_out(mixed.squeeze(1).mT.reshape(x.shape))


def _refinement(refine: Refine, channels: int) -> nn.Module:
    if refine is None:
        return nn.Identity()
    if refine == "conv":
        return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
    if refine == "non_local":
        return NonLocal(channels)
    raise ValueError(f"refine must be 'non_local', 'conv' or None, got {shown(refine)}")

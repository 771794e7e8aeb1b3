"""Every neck that `build_neck` knows, and compositions of them, at small widths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from necks import NECKS, AsffNeck, BalancedNeck, Neck, Recipe, build_neck
from necks.balanced import NonLocal
from necks.merge import SHARES
from necks.pyramid import Cell

CHANNELS = (6, 10, 14)
WIDTH = 16

ARGUMENTS = {
    "balanced@mmdet": {"in_channels": (WIDTH,) * 5, "in_levels": (3, 4, 5, 6, 7)},
    "asff@yolov3": {"in_channels": (6, 6, 12), "out_channels": 8},
    "mlfpn@m2det": {"in_channels": (6, 10), "in_levels": (3, 4), "out_levels": (3, 4, 5, 6), "tums": 2},
    "panet@authors": {"extra": None},
    "nas_fpn@mmdet": {"repeats": 2},
    "bifpn@effdet": {"repeats": 2},
    "nas_fpn": {"repeats": 2},
    "mlfpn": {"tums": 2},
}
"""What a name needs beyond three levels at `CHANNELS`, or is better tested with."""


def by_name(name: str, **arguments: object) -> Neck:
    return build_neck(name, **{"in_channels": CHANNELS, "out_channels": WIDTH, **ARGUMENTS.get(name, {}), **arguments})


OPTIONS: dict[str, Callable[[], Neck]] = {
    "fpn@torchvision, max-pool": partial(by_name, "fpn@torchvision", extra="max_pool"),
    "fpn@torchvision, p6p7 from c5": partial(by_name, "fpn@torchvision", extra="p6p7_c5", norm="batch"),
    "fpn@mmdet, p6p7 from p5": partial(by_name, "fpn@mmdet", extra="p6p7_p5", extra_relu=True),
    "pafpn@mmdet, norm": partial(by_name, "pafpn@mmdet", norm="batch", extra="p6p7_p5"),
    "panet@authors, group norm": partial(by_name, "panet@authors", extra="max_pool", group_norm=True, out_channels=32),
    "nas_fpn@tf, separable": partial(by_name, "nas_fpn@tf", separable=True),
    "bifpn@effdet, softmax": partial(by_name, "bifpn@effdet", fusion="softmax"),
    "bifpn@effdet, quad": partial(by_name, "bifpn@effdet", graph="quad"),
    "balanced@mmdet, conv": partial(by_name, "balanced@mmdet", refine="conv"),
    "mlfpn@m2det, unshared, sfam": partial(by_name, "mlfpn@m2det", shared=False, sfam=True),
    "mlfpn, shared": partial(by_name, "mlfpn", shared=True),
    "balanced pafpn": lambda: BalancedNeck(by_name("pafpn"), refine_level=5),
    "asff of mlfpn": lambda: AsffNeck(by_name("mlfpn")),
    "nas_fpn, strided convs": partial(by_name, "nas_fpn", recipe=Recipe(down="conv", norm="none", activation="silu")),
    "nas_fpn, paper's p6 and p7": partial(by_name, "nas_fpn", recipe=Recipe(extra_inputs="pool_project")),
    "bifpn, laterals on edges": partial(by_name, "bifpn", recipe=Recipe(laterals="edges", init="xavier")),
}
CASES: dict[str, Callable[[], Neck]] = {**{name: partial(by_name, name) for name in NECKS}, **OPTIONS}


def randomised(neck: Neck) -> Neck:
    """Statistics, fusion weights and zero-initialised convolutions made to count; in evaluation mode."""
    for module in neck.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, NonLocal):
            nn.init.normal_(module.conv_out.weight, std=0.1)
        if isinstance(module, Cell) and module.cell.merge in SHARES:
            module.weight.data.uniform_(0.2, 1.5)
    return neck.eval()

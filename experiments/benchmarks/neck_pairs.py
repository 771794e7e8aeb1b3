"""Our necks beside public ones with the same weights, at ResNet-50's shapes."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from experiments.benchmarks.peers import effdet_bifpn, mmdet_neck
from experiments.benchmarks.results import RESULTS
from necks import Neck, build_neck
from necks.reference import load_reference
from search_space import Genotype

CHANNELS, LEVELS, WIDTH = (512, 1024, 2048), (3, 4, 5), 256
NAMES = tuple(f"c{level}" for level in LEVELS)

Maps = Sequence[Tensor]
Run = Callable[[nn.Module, Maps], Sequence[Tensor]]


@dataclass(frozen=True)
class Pair:
    """
    Args:
        ours: name of `build_neck` and its options.
        source: of the weights, as `load_reference` knows it.
        peer: makes the public module for images (H, W); None where there is none.
        run: the public module on maps, fine to coarse.
    """

    ours: Callable[[], Neck]
    source: str = ""
    peer: Callable[[tuple[int, int]], nn.Module] | None = None
    run: Run = lambda module, maps: list(module(tuple(maps)))

    def build(self, side: int) -> tuple[Neck, nn.Module | None]:
        """Our neck and the public one with its weights, for images of `side` x `side`."""
        torch.manual_seed(0)
        neck = self.ours()
        if self.peer is None:
            return neck, None
        peer = self.peer((side, side))
        return load_reference(neck, peer.state_dict(), self.source), peer


def run_ours(neck: nn.Module, maps: Maps) -> list[Tensor]:
    return list(neck(OrderedDict(zip(NAMES, maps, strict=True))).values())


def _named(module: nn.Module, maps: Maps) -> list[Tensor]:
    return list(module(OrderedDict(zip(NAMES, maps, strict=True))).values())


def _torchvision_fpn(channels: Sequence[int], width: int) -> nn.Module:
    neck: nn.Module = FeaturePyramidNetwork(list(channels), width, extra_blocks=LastLevelP6P7(width, width))
    return neck


def found() -> Genotype:
    """The best of the recorded search."""
    standings = json.loads((RESULTS / "signs_wide_final.json").read_text())["standings"]
    return Genotype.from_dict(next(entry for entry in standings if entry["group"] == "found")["genotype"])


def pairs(channels: Sequence[int], width: int) -> dict[str, Pair]:
    """The necks of known topology, for maps of `channels`, `width` channels wide."""
    given: dict[str, Any] = {"in_channels": list(channels), "out_channels": width, "num_outs": 5}
    extra = {"add_extra_convs": "on_output"}

    def ours(name: str | Genotype, **options: Any) -> Callable[[], Neck]:
        return partial(build_neck, name, in_channels=channels, out_channels=width, **options)

    def bifpn(repeats: int) -> Pair:
        theirs = partial(effdet_bifpn, in_channels=channels, channels=width, repeats=repeats)
        return Pair(
            ours("bifpn@effdet", repeats=repeats), "effdet", theirs, lambda module, maps: list(module(list(maps)))
        )

    nas_fpn = {"stack_times": 7, "start_level": 0, "norm_cfg": {"type": "BN"}}
    return {
        "FPN (torchvision)": Pair(
            ours("fpn@torchvision", extra="p6p7_p5"), "torchvision", lambda _: _torchvision_fpn(channels, width), _named
        ),
        "FPN (mmdet)": Pair(ours("fpn@mmdet", extra="p6p7_p5"), "mmdet", lambda _: mmdet_neck("FPN", **extra, **given)),
        "PAFPN (mmdet)": Pair(
            ours("pafpn@mmdet", extra="p6p7_p5"), "mmdet", lambda _: mmdet_neck("PAFPN", **extra, **given)
        ),
        "NAS-FPN x7 (mmdet)": Pair(
            ours("nas_fpn@mmdet", repeats=7), "mmdet", lambda _: mmdet_neck("NASFPN", **nas_fpn, **given)
        ),
        "BiFPN x3 (effdet)": bifpn(3),
        "BiFPN x7 (effdet)": bifpn(7),
        "best found x1": Pair(ours(found())),
    }


WIDE = pairs(CHANNELS, WIDTH)
PAIRS: dict[str, Pair] = {
    **{name: WIDE[name] for name in ("FPN (torchvision)", "FPN (mmdet)", "PAFPN (mmdet)", "NAS-FPN x7 (mmdet)")},
    "BiFPN 64 x3 (effdet)": pairs(CHANNELS, 64)["BiFPN x3 (effdet)"],
    "BiFPN 256 x7 (effdet)": WIDE["BiFPN x7 (effdet)"],
    "best found x1": WIDE["best found x1"],
}

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
MMDET = {"in_channels": list(CHANNELS), "out_channels": WIDTH, "num_outs": 5}

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


def _neck(name: str | Genotype, **options: Any) -> Callable[[], Neck]:
    return partial(build_neck, name, **{"in_channels": CHANNELS, "out_channels": WIDTH, **options})


def _torchvision_fpn(_: tuple[int, int]) -> nn.Module:
    neck: nn.Module = FeaturePyramidNetwork(list(CHANNELS), WIDTH, extra_blocks=LastLevelP6P7(WIDTH, WIDTH))
    return neck


def _bifpn(channels: int, repeats: int) -> Pair:
    theirs = partial(effdet_bifpn, in_channels=CHANNELS, channels=channels, repeats=repeats)
    ours = _neck("bifpn@effdet", out_channels=channels, repeats=repeats)
    return Pair(ours, "effdet", theirs, lambda module, maps: list(module(list(maps))))


def _found() -> Neck:
    """The best of the recorded search, at the width of the others."""
    standings = json.loads((RESULTS / "signs_wide_final.json").read_text())["standings"]
    best = next(entry for entry in standings if entry["group"] == "found")
    return _neck(Genotype.from_dict(best["genotype"]))()


PAIRS: dict[str, Pair] = {
    "FPN (torchvision)": Pair(_neck("fpn@torchvision", extra="p6p7_p5"), "torchvision", _torchvision_fpn, _named),
    "FPN (mmdet)": Pair(
        _neck("fpn@mmdet", extra="p6p7_p5"), "mmdet", lambda _: mmdet_neck("FPN", add_extra_convs="on_output", **MMDET)
    ),
    "PAFPN (mmdet)": Pair(
        _neck("pafpn@mmdet", extra="p6p7_p5"),
        "mmdet",
        lambda _: mmdet_neck("PAFPN", add_extra_convs="on_output", **MMDET),
    ),
    "NAS-FPN x7 (mmdet)": Pair(
        _neck("nas_fpn@mmdet", repeats=7),
        "mmdet",
        lambda _: mmdet_neck("NASFPN", stack_times=7, start_level=0, norm_cfg={"type": "BN"}, **MMDET),
    ),
    "BiFPN 64 x3 (effdet)": _bifpn(64, 3),
    "BiFPN 256 x7 (effdet)": _bifpn(256, 7),
    "best found x1": Pair(_found),
}

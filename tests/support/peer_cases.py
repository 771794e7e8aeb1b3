"""Public necks beside ours: how each is built, run and fed. Needs the packages of the extra `bench`, when called."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmarks.peers import effdet_bifpn, mmdet_neck
from necks import build_neck
from necks.reference import load_reference
from tests.support.reference_weights import pyramid_sizes, random_maps, random_state

Maps = list[Tensor]
CHANNELS = (8, 12, 16, 24)
WIDTH = 32
NORM_CFG = {None: None, "batch": {"type": "BN"}, "group": {"type": "GN", "num_groups": 32}}
EVEN, ODD = (128, 256), (269, 141)
ANY_SIZE = (EVEN, ODD)


@dataclass(frozen=True)
class PeerCase:
    """A public neck and the name that ours has.

    Args:
        peer: makes the public module for an image size (H, W).
        run: maps fine to coarse -> maps fine to coarse.
        sizes: image sizes that the public module allows.
    """

    name: str
    source: str
    peer: Callable[[tuple[int, int]], nn.Module]
    run: Callable[[nn.Module, Maps], Sequence[Tensor]]
    arguments: dict[str, Any] = field(default_factory=dict)
    in_channels: tuple[int, ...] = CHANNELS
    in_levels: tuple[int, ...] = (2, 3, 4, 5)
    sizes: tuple[tuple[int, int], ...] = ANY_SIZE


def torchvision_fpn(extra: str | None = None, norm: bool = False) -> nn.Module:
    from torchvision.ops import FeaturePyramidNetwork
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

    blocks = {
        None: lambda: None,
        "max_pool": LastLevelMaxPool,
        "p6p7_c5": lambda: LastLevelP6P7(CHANNELS[-1], WIDTH),
        "p6p7_p5": lambda: LastLevelP6P7(WIDTH, WIDTH),
    }
    return FeaturePyramidNetwork(
        list(CHANNELS), WIDTH, extra_blocks=blocks[extra](), norm_layer=nn.BatchNorm2d if norm else None
    )


def _mapping(module: nn.Module, maps: Maps) -> Sequence[Tensor]:
    return list(module(OrderedDict((str(index), x) for index, x in enumerate(maps))).values())


def _tuple(module: nn.Module, maps: Maps) -> Sequence[Tensor]:
    return module(tuple(maps))


def _list(module: nn.Module, maps: Maps) -> Sequence[Tensor]:
    return module(list(maps))


def _torchvision(extra: str | None, norm: bool = False) -> PeerCase:
    arguments = {"extra": extra, "norm": "batch" if norm else None}
    return PeerCase("fpn@torchvision", "torchvision", lambda _: torchvision_fpn(extra, norm), _mapping, arguments)


def _mmdet(
    kind: str,
    name: str,
    extra: str | None = None,
    norm: str | None = None,
    relu: bool = False,
    norm_on_lateral: bool = True,
) -> PeerCase:
    theirs = {
        "in_channels": list(CHANNELS),
        "out_channels": WIDTH,
        "num_outs": {None: 4, "max_pool": 5}.get(extra, 6),
        "add_extra_convs": {"p6p7_c5": "on_input", "p6p7_p5": "on_output"}.get(extra, False),
        "relu_before_extra_convs": relu,
        "norm_cfg": NORM_CFG[norm],
        "no_norm_on_lateral": not norm_on_lateral,
    }
    arguments = {"extra": extra, "extra_relu": relu, "norm": norm, "norm_on_lateral": norm_on_lateral}
    return PeerCase(name, "mmdet", lambda _: mmdet_neck(kind, **theirs), _tuple, arguments)


def _bfp(refine: str | None) -> PeerCase:
    theirs = {"in_channels": WIDTH, "num_levels": 5, "refine_level": 2, "refine_type": refine}
    levels = (2, 3, 4, 5, 6)
    peer = lambda _: mmdet_neck("BFP", **theirs)  # noqa: E731
    return PeerCase("balanced@mmdet", "mmdet", peer, _tuple, {"refine": refine}, (WIDTH,) * 5, levels)


def _nas_fpn(norm: str | None) -> PeerCase:
    theirs = {"in_channels": list(CHANNELS), "out_channels": WIDTH, "num_outs": 5, "stack_times": 2, "start_level": 1}
    norm_cfg = NORM_CFG[norm]
    run = lambda module, maps: module((maps[0], *maps))  # noqa: E731
    arguments = {"repeats": 2, "norm": norm}
    peer = lambda _: mmdet_neck("NASFPN", norm_cfg=norm_cfg, **theirs)  # noqa: E731
    return PeerCase("nas_fpn@mmdet", "mmdet", peer, run, arguments, CHANNELS[1:], (3, 4, 5))


def _effdet(name: str, model: str, graph: str, fusion: str, peer_graph: str) -> PeerCase:
    arguments = {"repeats": 2, "graph": graph, "fusion": fusion}
    theirs = {"in_channels": CHANNELS[1:], "channels": WIDTH, "repeats": 2, "model": model, "graph": peer_graph}
    peer = lambda image: effdet_bifpn(image, **theirs)  # noqa: E731
    return PeerCase(name, "effdet", peer, _list, arguments, CHANNELS[1:], (3, 4, 5))


NATIVE, TF = ("bifpn@effdet", "efficientdet_d0"), ("bifpn@effdet_tf", "tf_efficientdet_d0")

CASES: dict[str, PeerCase] = {
    "torchvision fpn": _torchvision(None),
    "torchvision fpn, max-pool": _torchvision("max_pool"),
    "torchvision fpn, p6p7 from c5": _torchvision("p6p7_c5"),
    "torchvision fpn, p6p7 from p5": _torchvision("p6p7_p5"),
    "torchvision fpn, norm": _torchvision("max_pool", norm="batch"),
    "mmdet fpn": _mmdet("FPN", "fpn@mmdet"),
    "mmdet fpn, max-pool, norm": _mmdet("FPN", "fpn@mmdet", "max_pool", norm="batch"),
    "mmdet fpn, on input": _mmdet("FPN", "fpn@mmdet", "p6p7_c5"),
    "mmdet fpn, on output, relu": _mmdet("FPN", "fpn@mmdet", "p6p7_p5", relu=True),
    "mmdet fpn, on input, norm but on laterals": _mmdet(
        "FPN", "fpn@mmdet", "p6p7_c5", norm="batch", norm_on_lateral=False
    ),
    "mmdet pafpn": _mmdet("PAFPN", "pafpn@mmdet"),
    "mmdet pafpn, max-pool, norm": _mmdet("PAFPN", "pafpn@mmdet", "max_pool", norm="batch"),
    "mmdet pafpn, on output": _mmdet("PAFPN", "pafpn@mmdet", "p6p7_p5"),
    "mmdet pafpn, on output, group norm": _mmdet("PAFPN", "pafpn@mmdet", "p6p7_p5", norm="group"),
    "mmdet bfp, non-local": _bfp("non_local"),
    "mmdet bfp, conv": _bfp("conv"),
    "mmdet bfp, none": _bfp(None),
    "mmdet nasfpn": _nas_fpn("batch"),
    "mmdet nasfpn, no norm": _nas_fpn(None),
    "effdet bifpn": _effdet(*NATIVE, "bifpn", "fast_normalized", "bifpn_fa"),
    "effdet bifpn, softmax": _effdet(*NATIVE, "bifpn", "softmax", "bifpn_attn"),
    "effdet bifpn, sum": _effdet(*NATIVE, "bifpn", "sum", "bifpn_sum"),
    "effdet pan": _effdet(*NATIVE, "pan", "fast_normalized", "pan_fa"),
    "effdet quad fpn": _effdet(*NATIVE, "quad", "fast_normalized", "qufpn_fa"),
    "effdet tf bifpn": _effdet(*TF, "bifpn", "fast_normalized", "bifpn_fa"),
    "effdet tf bifpn, sum": _effdet(*TF, "bifpn", "sum", "bifpn_sum"),
}


def peer_state(peer: nn.Module, seed: int) -> dict[str, Tensor]:
    return random_state({name: value.shape for name, value in peer.state_dict().items()}, seed)


@torch.no_grad()
def peer_outputs(
    case: PeerCase,
    peer: nn.Module,
    state: dict[str, Tensor],
    size: tuple[int, int],
    seed: int,
    batch: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """What the public module gives, with these weights, for the maps of `case_maps`."""
    peer.load_state_dict(state)
    maps = case_maps(case, size, seed, batch, dtype)
    return [x.clone() for x in case.run(peer.eval().to(dtype), list(maps.values()))]


@torch.no_grad()
def our_outputs(
    case: PeerCase, state: dict[str, Tensor], size: tuple[int, int], seed: int, batch: int, dtype: torch.dtype
) -> list[Tensor]:
    """What our neck gives with the same weights and maps."""
    arguments = {"in_channels": case.in_channels, "in_levels": case.in_levels, "out_channels": WIDTH, **case.arguments}
    neck = load_reference(build_neck(case.name, **arguments), state, case.source)
    return list(neck.eval().to(dtype)(case_maps(case, size, seed, batch, dtype)).values())


def case_maps(
    case: PeerCase, size: tuple[int, int], seed: int, batch: int, dtype: torch.dtype
) -> OrderedDict[str, Tensor]:
    maps = random_maps(case.in_channels, pyramid_sizes(size, case.in_levels), seed, batch)
    return OrderedDict((name, x.to(dtype)) for name, x in maps.items())


def sampled(x: Tensor, channel_stride: int, pixel_stride: int) -> Tensor:
    """What a golden keeps of a map."""
    return x[:, ::channel_stride, ::pixel_stride, ::pixel_stride]

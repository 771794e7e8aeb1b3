"""Necks that are no merge graphs: how each is built from a request, and under which kind it is saved.

A new one is a file with its class, and a builder and two entries here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from necks.asff import AsffNeck
from necks.balanced import BalancedNeck
from necks.contract import Neck, PassThrough
from necks.efm import ExactFusionNeck
from necks.merge_neck import MergeNeck
from necks.mlfpn import MlfpnNeck
from necks.request import Request
from search_space import DEFAULT_LEVELS


def _balanced_fpn(request: Request, *, refine_level: int = 4, refine: Any = "non_local") -> Neck:
    return BalancedNeck(request.known("fpn"), refine_level, refine)


def _asff(request: Request, *, weight_channels: int = 16) -> Neck:
    return AsffNeck(request.known("fpn"), weight_channels)


def _mlfpn(request: Request, *, tums: int = 8, sfam: bool = True, shared: bool = False) -> Neck:
    return MlfpnNeck(*request.maps(DEFAULT_LEVELS), tums=tums, sfam=sfam, shared=shared)


def _efm(request: Request, *, maxout: int = 2, fuse_kernel: int = 3) -> Neck:
    return ExactFusionNeck(*request.maps(DEFAULT_LEVELS), maxout=maxout, fuse_kernel=fuse_kernel)


MODULE_NECKS: dict[str, Callable[..., Neck]] = {
    "balanced_fpn": _balanced_fpn,
    "asff": _asff,
    "mlfpn": _mlfpn,
    "efm": _efm,
}
"""Builders by name; `balanced_fpn` and `asff` refine an FPN (their classes refine any neck)."""

KINDS: dict[str, type[Neck]] = {
    "merge": MergeNeck,
    "balanced": BalancedNeck,
    "asff": AsffNeck,
    "mlfpn": MlfpnNeck,
    "efm": ExactFusionNeck,
    "pass_through": PassThrough,
}
"""Classes by the name that saved necks have for them; a neck of another class has a reference there."""

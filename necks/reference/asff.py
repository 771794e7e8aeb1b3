"""ASFF as in the authors' YOLOv3 (`models/network_blocks.py` of ruinmessi/ASFF)."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from necks.asff import AsffNeck, SpatialFusion
from necks.contract import Neck, PassThrough
from necks.reference.names import Source, Sources, WeightsError, same_tail

LEVELS = 3


def asff(neck: Neck) -> Sources:
    """For an `AsffNeck` on three maps as they come (`PassThrough`); see there for the authors' widths.

    There levels count from the coarsest, also in the channels that the weights are computed from.

    Raises:
        WeightsError: for another neck.
    """
    if not isinstance(neck, AsffNeck) or not isinstance(neck.neck, PassThrough) or len(neck.out_levels) != LEVELS:
        raise WeightsError(
            f"asff takes an AsffNeck on a PassThrough of {LEVELS} levels, got {type(neck).__name__} on "
            f"{type(getattr(neck, 'neck', None)).__name__} of {len(neck.out_levels)}"
        )
    sources: Sources = {}
    for index, fusion in enumerate(neck.fusions):
        assert isinstance(fusion, SpatialFusion)
        sources |= _fusion(neck, fusion, f"fusions.{index}", f"level_{_theirs(index)}_fusion")
    return sources


def _fusion(neck: AsffNeck, fusion: SpatialFusion, ours: str, theirs: str) -> Sources:
    units = {f"{ours}.expand": f"{theirs}.expand"}
    units |= {f"{ours}.down.{index}": f"{theirs}.stride_level_{_theirs(int(index))}" for index in fusion.down}
    units |= {f"{ours}.compress.{index}": f"{theirs}.compress_level_{_theirs(int(index))}" for index in fusion.compress}
    units |= {f"{ours}.squeeze.{index}": f"{theirs}.weight_level_{_theirs(index)}" for index in range(LEVELS)}
    weigh = f"{theirs}.weight_levels"
    return same_tail(neck, units, {".0": ".conv", ".1": ".batch_norm"}) | {
        f"{ours}.weigh.weight": Source((f"{weigh}.weight",), partial(_fine_first, channels=neck.weight_channels)),
        f"{ours}.weigh.bias": Source((f"{weigh}.bias",), lambda bias: bias.flip(0)),
    }


def _theirs(index: int) -> int:
    return LEVELS - 1 - index


def _fine_first(weight: Tensor, channels: int) -> Tensor:
    """(L, L * channels, 1, 1) with levels coarse to fine -> the same, fine to coarse in outputs and inputs."""
    return weight.unflatten(1, (-1, channels)).flip(0, 1).flatten(1, 2)

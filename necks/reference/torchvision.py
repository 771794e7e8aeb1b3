"""torchvision's FeaturePyramidNetwork."""

from __future__ import annotations

from necks.contract import Neck
from necks.reference.names import Names, Sources, fpn_cells, merge_neck_of, same_tail

CONVENTIONS = {"activation": "none", "extra_activation": True, "norm_eps": 1e-5}


def torchvision(neck: Neck) -> Sources:
    """`inner_blocks.{i}.0` and `layer_blocks.{i}.0` since torchvision 0.13, before that without the `.0`."""
    neck = merge_neck_of(neck, "fpn@torchvision", ("fpn",), CONVENTIONS)
    names: dict[str, Names] = {}
    for index, output in enumerate(fpn_cells(neck).outputs):
        names |= {f"stem.laterals.{index}": f"inner_blocks.{index}", f"{output}.transform": f"layer_blocks.{index}"}
    beyond = range(len(neck.out_levels) - len(neck.in_levels))
    extra = {f"extra.convs.{index}.conv": f"extra_blocks.p{6 + index}" for index in beyond}
    return same_tail(neck, names, {".conv": (".0", ""), ".norm": ".1"}) | same_tail(neck, extra)

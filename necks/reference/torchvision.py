"""torchvision's FeaturePyramidNetwork."""

from __future__ import annotations

from necks.contract import Neck
from necks.reference.names import Sources, fpn_cells, merge_neck_of, same_tail

CONVENTIONS = {"activation": "none", "extra_activation": True, "norm_eps": 1e-5}


def torchvision(neck: Neck) -> Sources:
    """`inner_blocks.{i}.0` and `layer_blocks.{i}.0` since torchvision 0.13, before that without the `.0`."""
    neck = merge_neck_of(neck, "fpn@torchvision", ("fpn",), CONVENTIONS)
    prefixes: dict[str, tuple[str, ...]] = {}
    for index, output in enumerate(fpn_cells(neck).outputs):
        for ours, theirs in ((f"stem.laterals.{index}", "inner_blocks"), (f"{output}.transform", "layer_blocks")):
            prefixes[f"{ours}.conv"] = (f"{theirs}.{index}.0", f"{theirs}.{index}")
            prefixes[f"{ours}.norm"] = (f"{theirs}.{index}.1",)
    for index in range(len(neck.out_levels) - len(neck.in_levels)):
        prefixes[f"extra.convs.{index}.conv"] = (f"extra_blocks.p{6 + index}",)
    return same_tail(neck, prefixes)

"""PANet's own code (ShuLiu1993/PANet lib/modeling/FPN.py)."""

from __future__ import annotations

from necks.contract import Neck
from necks.reference.names import Names, Sources, WeightsError, fpn_cells, merge_neck_of, same_tail


def panet(neck: Neck) -> Sources:
    """Laterals and FPN convolutions are numbered from the coarsest level there, the bottom-up path from the finest."""
    neck = merge_neck_of(neck, "panet@authors", ("panet",), {"down": "conv", "norm_eps": 1e-5})
    if neck.recipe.norm != "none" and any(c.transform != "linear" for c in neck.genotype.cells if len(c.inputs) == 1):
        raise WeightsError("PANet's FPN convolutions have no activation; build the neck as panet@authors")
    cells = fpn_cells(neck)
    top = len(cells.outputs) - 1
    names: dict[str, Names] = {f"stem.laterals.{top}": "conv_top"}
    for index in range(top):
        names[f"stem.laterals.{index}"] = f"topdown_lateral_modules.{top - 1 - index}.conv_lateral"
    for index, output in enumerate(cells.outputs):
        names[f"{output}.transform"] = f"posthoc_modules.{top - index}"
    for index, cell in enumerate(cells.chain):
        names[f"{cell}.edges.1.strided.conv"] = f"panet_buttomup_conv1_modules.{index}"
        names[f"{cell}.transform"] = f"panet_buttomup_conv2_modules.{index}"
    return same_tail(neck, names, {".conv": (".0", ""), ".norm": ".1"})

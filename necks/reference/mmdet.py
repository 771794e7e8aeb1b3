"""mmdetection's FPN, PAFPN, BFP and NASFPN; key names of its versions 1 to 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from necks.balanced import BalancedNeck
from necks.contract import Neck, PassThrough
from necks.merge_neck import MergeNeck
from necks.reference.names import Names, Sources, fpn_cells, merge_neck_of, moved, same_tail

NAS_FPN_CELLS = ("gp_64_4", "sum_44_4", "sum_43_3", "sum_34_4", "sum_55_5", "sum_77_7", "gp_75_6")
"""Its names of the published cell's convolutions, in our order."""

FPN_RECIPE = {"activation": "none", "norm_eps": 1e-5}
NAS_FPN_RECIPE: dict[str, Any] = {
    "activation": "relu",
    "order": "act_conv_norm",
    "norm_eps": 1e-5,
    "down": "max_pool_padded",
    "gate": "avg_fine",
    "extra_inputs": "project_pool",
}


def mmdet(neck: Neck) -> Sources:
    """A BFP on another of its necks is read as the sequence that its configurations make of them (`0.`, `1.`).

    Its weights do not show `add_extra_convs="on_lateral"`, which no neck here has, nor `relu_before_extra_convs`
    (`extra_relu` here).
    """
    if isinstance(neck, BalancedNeck):
        if isinstance(neck.neck, PassThrough):
            return _refine(neck)
        return {**moved(mmdet(neck.neck), "neck.", "0."), **moved(_refine(neck), "", "1.")}
    if isinstance(neck, MergeNeck) and neck.genotype.merge_dangling:
        return _nas_fpn(merge_neck_of(neck, "nas_fpn@mmdet", ("nas_fpn",), NAS_FPN_RECIPE))
    return _fpn(merge_neck_of(neck, "fpn@mmdet or pafpn@mmdet", ("fpn", "pafpn"), FPN_RECIPE))


def _refine(neck: BalancedNeck) -> Sources:
    names = ("g", "theta", "phi", "conv_out")
    return same_tail(neck, {"refine.0": "refine.conv", **{f"refine.{name}": f"refine.{name}.conv" for name in names}})


def _fpn(neck: MergeNeck) -> Sources:
    cells = fpn_cells(neck)
    names: dict[str, Names] = {}
    for index, output in enumerate(cells.outputs):
        names |= {f"stem.laterals.{index}": f"lateral_convs.{index}", f"{output}.transform": f"fpn_convs.{index}"}
    for index, (chain, output) in enumerate(zip(cells.chain, cells.chain_outputs, strict=True)):
        names[f"{chain}.edges.1.strided.conv"] = f"downsample_convs.{index}"
        names[f"{output}.transform"] = f"pafpn_convs.{index}"
    for index in range(len(neck.out_levels) - len(neck.in_levels)):
        names[f"extra.convs.{index}"] = f"fpn_convs.{len(neck.in_levels) + index}"
    return _modules(neck, names)


def _nas_fpn(neck: MergeNeck) -> Sources:
    names: dict[str, Names] = {}
    for index in range(len(neck.in_levels)):
        names[f"stem.laterals.{index}"] = f"lateral_convs.{index}"
    for index in range(len(neck.out_levels) - len(neck.in_levels)):
        names[f"stem.extras.{index}"] = f"extra_downsamples.{index}.0"
    for repeat in range(neck.repeats):
        for index, name in enumerate(NAS_FPN_CELLS):
            stage = f"fpn_stages.{repeat}.{name}"
            names[f"pyramids.{repeat}.cells.{index}.transform"] = (f"{stage}.out_conv", f"{stage}.conv_out")
    return {
        name: replace(source, default=0.0) if name.endswith("transform.conv.bias") else source
        for name, source in _modules(neck, names).items()
    }


def _modules(neck: MergeNeck, names: Mapping[str, Names]) -> Sources:
    """mmcv's ConvModules, whose norm is named after its kind."""
    return same_tail(neck, names, {".conv": ".conv", ".norm": ".gn" if neck.recipe.norm == "group" else ".bn"})

"""effdet's BiFpn: its bifpn, pan and quad graphs, native and after TensorFlow."""

from __future__ import annotations

from necks.contract import Neck
from necks.merge_neck import MergeNeck
from necks.reference.names import Names, Sources, merge_neck_of, same_tail

GRAPHS = ("bifpn", "pan", "quad_fpn")


def effdet(neck: Neck) -> Sources:
    """Its nodes have our order, and its offsets are our node numbers.

    Biases before the norms belong to the models made after TensorFlow's, and so does their padding. What its weights do
    not show, and what no neck here has: `fpn_act` other than SiLU (its `lite` models) and full convolutions.
    """
    made_by = "bifpn@effdet or bifpn@effdet_tf"
    down = "max_pool3"
    if isinstance(neck, MergeNeck) and neck.recipe.conv_bias:
        down = "max_pool3_same"
    conventions = {"activation": "silu", "order": "act_conv_norm", "norm_eps": 1e-3, "laterals": "edges", "down": down}
    neck = merge_neck_of(neck, made_by, GRAPHS, conventions, any_merge=True)
    names: dict[str, Names] = {}
    units: dict[str, Names] = {"stem.extras.0": f"resample.{len(neck.in_levels)}.conv"}
    for repeat in range(neck.repeats):
        for index, cell in enumerate(neck.genotype.cells):
            ours, theirs = f"pyramids.{repeat}.cells.{index}", f"cell.{repeat}.fnode.{index}"
            names[f"{ours}.weight"] = f"{theirs}.combine.edge_weights"
            names[f"{ours}.transform.conv.depthwise"] = f"{theirs}.after_combine.conv.conv_dw"
            names[f"{ours}.transform.conv.pointwise"] = f"{theirs}.after_combine.conv.conv_pw"
            names[f"{ours}.transform.norm"] = f"{theirs}.after_combine.conv.bn"
            for edge, node in enumerate(cell.inputs):
                units[f"{ours}.edges.{edge}.project"] = f"{theirs}.combine.resample.{node}.conv"
    return same_tail(neck, names) | same_tail(neck, units, {".conv": ".conv", ".norm": ".bn"})

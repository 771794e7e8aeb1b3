"""effdet's BiFpn: its bifpn, pan and quad graphs, native and after TensorFlow."""

from __future__ import annotations

from necks.contract import Neck
from necks.merge_neck import MergeNeck
from necks.reference.names import Sources, merge_neck_of, same_tail

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
    extra = len(neck.in_levels)
    prefixes = {
        "stem.extras.0.conv": (f"resample.{extra}.conv.conv",),
        "stem.extras.0.norm": (f"resample.{extra}.conv.bn",),
    }
    for repeat in range(neck.repeats):
        for index, cell in enumerate(neck.genotype.cells):
            ours, theirs = f"pyramids.{repeat}.cells.{index}", f"cell.{repeat}.fnode.{index}"
            prefixes[f"{ours}.weight"] = (f"{theirs}.combine.edge_weights",)
            prefixes[f"{ours}.transform.conv.depthwise"] = (f"{theirs}.after_combine.conv.conv_dw",)
            prefixes[f"{ours}.transform.conv.pointwise"] = (f"{theirs}.after_combine.conv.conv_pw",)
            prefixes[f"{ours}.transform.norm"] = (f"{theirs}.after_combine.conv.bn",)
            for edge, node in enumerate(cell.inputs):
                project = f"{theirs}.combine.resample.{node}.conv"
                prefixes[f"{ours}.edges.{edge}.project.conv"] = (f"{project}.conv",)
                prefixes[f"{ours}.edges.{edge}.project.norm"] = (f"{project}.bn",)
    return same_tail(neck, prefixes)

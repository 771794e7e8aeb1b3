"""`nas_fpn@tf` against outputs of TensorFlow's decoder; `goldens/make_tf_nas_fpn.py` says how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from necks import MergeNeck, build_neck
from necks.reference import load_reference
from tests.support.golden_files import read_golden
from tests.support.reference_weights import pyramid_sizes, random_maps, random_state

GOLDEN_OF = {False: "tf_nas_fpn", True: "tf_nas_fpn_separable"}


@pytest.mark.parametrize("names", ["roles", "tf1"])
@pytest.mark.parametrize("separable", [False, True])
def test_double_precision_equals_tensorflow(separable, names):
    about = read(separable)
    state = given(about)
    if names == "tf1":
        state = {tf1_name(role, separable): value for role, value in state.items()}
    neck = load_reference(made_after(about), state, "tf").eval().double()
    assert largest_difference(neck, about, torch.float64) < 5e-6


@pytest.mark.parametrize("separable", [False, True])
def test_single_precision_stays_within_rounding(separable):
    """At values up to 17; TensorFlow's own float32 is 4e-5 away."""
    about = read(separable)
    neck = load_reference(made_after(about), given(about), "tf").eval()
    assert largest_difference(neck, about, torch.float32) < 3e-5


def read(separable: bool) -> dict[str, Any]:
    return read_golden(GOLDEN_OF[separable])[0]


def given(about: Mapping[str, Any]) -> dict[str, Tensor]:
    return random_state(about["shapes"], about["state_seed"])


def made_after(about: Mapping[str, Any]) -> MergeNeck:
    return build_neck(
        "nas_fpn@tf",
        in_channels=about["in_channels"],
        in_levels=about["in_levels"],
        out_channels=about["out_channels"],
        repeats=about["repeats"],
        separable=about["separable"],
    )


def largest_difference(neck: MergeNeck, about: Mapping[str, Any], dtype: torch.dtype) -> float:
    _, golden = read_golden(GOLDEN_OF[about["separable"]])
    largest = 0.0
    for height, width in about["sizes"]:
        sizes = pyramid_sizes((height, width), about["in_levels"])
        maps = random_maps(about["in_channels"], sizes, about["maps_seed"], about["batch"])
        with torch.no_grad():
            outputs = neck({name: x.to(dtype) for name, x in maps.items()})
        for level in about["out_levels"]:
            ours = outputs[f"p{level}"][:, :: about["channel_stride"]].double().numpy()
            theirs = golden[f"{height}x{width}_p{level}"]
            assert ours.shape == theirs.shape
            largest = max(largest, float(np.abs(ours - theirs).max()))
    return largest


def tf1_name(role: str, separable: bool) -> str:
    """As tensorflow/tpu names it: cells count from 5, the number of the pyramid's inputs."""
    kind, *place, variable = role.split("/")
    is_norm = variable in ("gamma", "beta", "moving_mean", "moving_variance")
    if kind == "lateral":
        layer = "bn" if is_norm else "separable_conv2d" if separable else "conv2d"
        return f"resample_l{place[0]}/{layer}/{variable}"
    repeat, index = place
    layer = "bn" if is_norm else "conv"
    return f"fpn_cells/cell_{repeat}/sub_policy{index}/op_after_combine{int(index) + 5}/{layer}/{variable}"

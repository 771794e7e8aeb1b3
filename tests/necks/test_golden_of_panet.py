"""`panet@authors` against outputs of PANet's own code; `goldens/make_panet.py` says how they were made."""

from __future__ import annotations

import pytest
import torch

from necks import build_neck
from necks.reference import load_reference
from tests.support.golden_files import assert_equal_up_to_rounding, read_golden
from tests.support.reference_weights import pyramid_sizes, random_maps, random_state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("golden", ["panet", "panet_gn"])
def test_equals_the_authors(golden, dtype):
    about, outputs = read_golden(golden)
    neck = build_neck(
        "panet@authors",
        in_channels=about["in_channels"],
        in_levels=about["in_levels"],
        out_levels=about["out_levels"],
        out_channels=about["out_channels"],
        group_norm=about["group_norm"],
        extra="max_pool",
    )
    load_reference(neck, random_state(about["shapes"], about["state_seed"]), "panet").eval().to(dtype)

    ours = {}
    for height, width in about["sizes"]:
        sizes = pyramid_sizes((height, width), about["in_levels"])
        maps = random_maps(about["in_channels"], sizes, about["maps_seed"], about["batch"])
        with torch.no_grad():
            pyramid = neck({name: x.to(dtype) for name, x in maps.items()})
        for name, x in pyramid.items():
            ours[f"{height}x{width}_{name}"] = x[:, :: about["channel_stride"]]

    assert list(ours) == list(outputs)
    for name, theirs in outputs.items():
        assert_equal_up_to_rounding(ours[name], theirs)

"""Parameters of the published configurations, as counted in the public implementations."""

from __future__ import annotations

import pytest
import torch

from necks import AsffNeck, BalancedNeck, ExactFusionNeck, Neck, build_neck

R50 = {"in_channels": (512, 1024, 2048), "in_levels": (3, 4, 5)}
R50_FROM_C2 = {"in_channels": (256, 512, 1024, 2048), "in_levels": (2, 3, 4, 5)}
M2DET = {"in_channels": (512, 1024), "in_levels": (3, 4)}
EFFICIENTNETS = {
    "d0": (64, 3, (40, 112, 320), 194_361, 196_281),
    "d1": (88, 4, (40, 112, 320), 387_628, 390_972),
    "d2": (112, 5, (48, 120, 352), 703_007, 708_159),
    "d3": (160, 6, (48, 136, 384), 1_550_834, 1_559_474),
    "d4": (224, 7, (56, 160, 448), None, 3_349_829),
    "d5": (288, 7, (64, 176, 512), None, 5_405_893),
    "d6": (384, 8, (72, 200, 576), None, 10_583_808),
}
"""Width, layers, channels of the backbone's maps, parameters of effdet's own and of its tf_ BiFPN."""


def count(neck: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in neck.parameters())


def on_meta(name: str, **arguments: object) -> Neck:
    with torch.device("meta"):
        return build_neck(name, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "params"),
    [
        ("fpn@torchvision", R50_FROM_C2, 3_344_384),
        ("fpn@mmdet", {**R50_FROM_C2, "norm": "batch"}, 3_346_432),
        ("fpn@torchvision", {**R50, "extra": "p6p7_p5"}, 3_868_672),
        ("fpn@mmdet", {**R50, "extra": "p6p7_c5"}, 7_997_440),
        ("panet@authors", R50_FROM_C2, 3_344_384 + 3_540_480),
        ("panet@authors", {**R50_FROM_C2, "group_norm": True}, 6_889_984),
        ("pafpn@mmdet", R50_FROM_C2, 6_884_864),
        ("nas_fpn@mmdet", {**R50, "repeats": 7}, 29_990_144),
        ("bifpn@effdet", {**R50, "out_channels": 64, "repeats": 3}, 673_081),
        ("bifpn@effdet", {**R50, "out_channels": 88, "repeats": 4}, 1_045_868),
        ("bifpn@effdet", {**R50, "out_channels": 160, "repeats": 6}, 2_707_954),
        ("bifpn@effdet", R50, 2_778_131),
        ("bifpn@effdet", {**R50, "repeats": 3}, 3_871_801),
        ("bifpn@effdet", {**R50, "repeats": 7}, 6_059_141),
        ("mlfpn@m2det", {**M2DET, "sfam": True}, 56_270_720),
        ("mlfpn@m2det", M2DET, 55_744_256),
        ("mlfpn@m2det", {**M2DET, "sfam": True, "shared": False}, 59_592_960),
        ("asff@yolov3", {"in_channels": (256, 256, 512)}, 9_756_377),
        ("asff@yolov3", {"in_channels": (256, 256, 512), "rfb": True}, 9_731_441),
        ("balanced@mmdet", {"in_channels": (256,) * 5, "in_levels": (2, 3, 4, 5, 6)}, 263_168),
        ("balanced@mmdet", {"in_channels": (256,) * 5, "in_levels": (2, 3, 4, 5, 6), "refine": "conv"}, 590_080),
        ("balanced@mmdet", {"in_channels": (256,) * 5, "in_levels": (2, 3, 4, 5, 6), "refine": None}, 0),
        ("efm", {**R50, "out_levels": (3, 4, 5)}, 5_968_384),
        ("efm", {**R50, "out_levels": (3, 4, 5), "fuse_kernel": 1}, 2_298_368),
        ("efm", {**R50_FROM_C2, "out_levels": (2, 3, 4, 5)}, 7_870_464),
    ],
)
def test_counts_of_the_public_implementations(name, arguments, params):
    assert count(on_meta(name, **arguments)) == params


@pytest.mark.parametrize("model", EFFICIENTNETS)
def test_counts_of_efficientdet(model):
    width, layers, channels, native, tf = EFFICIENTNETS[model]
    arguments = {"in_channels": channels, "out_channels": width, "repeats": layers}
    fusion = "sum" if model == "d6" else "fast_normalized"
    assert count(on_meta("bifpn@effdet_tf", **arguments, fusion=fusion)) == tf
    if native is not None:
        assert count(on_meta("bifpn@effdet", **arguments)) == native


def test_a_repeat_of_the_published_nas_fpn_cell():
    """4.132 M at 256 channels and 9.295 M at 384 without the bias before the norm."""
    for width, millions in ((256, 4.132), (384, 9.295)):
        neck = on_meta("nas_fpn@tf", **R50, out_channels=width)
        assert round((count(neck.pyramids) - 7 * width) / 1e6, 3) == millions


def test_modules_on_an_fpn():
    fpn = on_meta("fpn", **R50)
    assert count(on_meta("balanced_fpn", **R50)) - count(fpn) == 263_168
    assert count(BalancedNeck(on_meta("pafpn", **R50), refine="conv").refine) == 590_080
    three = on_meta("fpn", **R50, out_levels=(3, 4, 5))
    with torch.device("meta"):
        assert count(AsffNeck(three).fusions) == 3_579_609
        assert count(ExactFusionNeck((512, 1024, 2048), out_levels=(3, 4, 5))) == 5_968_384

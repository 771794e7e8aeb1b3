"""Necks that are modules of their own: Balanced Feature Pyramid, ASFF, EFM. Contract, counts, values."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch.nn import functional as F

from necks import AsffNeck, BalancedNeck, ExactFusionNeck, Neck, build_neck
from necks.balanced import NonLocal
from necks.efm import maxout

CHANNELS = (6, 10, 14)


def pafpn(levels: tuple[int, ...] = (3, 4, 5, 6, 7), channels: int = 16) -> Neck:
    return build_neck("pafpn", in_channels=CHANNELS, out_levels=levels, out_channels=channels)


def features(height: int, width: int, round_up: bool = True) -> OrderedDict[str, torch.Tensor]:
    maps = OrderedDict()
    for level, channels in zip((3, 4, 5), CHANNELS, strict=True):
        sides = [-(-side // 2**level) if round_up else side // 2**level for side in (height, width)]
        maps[f"c{level}"] = torch.randn(2, channels, *sides)
    return maps


def test_non_local_is_softmax_of_all_pairs_written_out():
    block = NonLocal(4).double()
    torch.nn.init.normal_(block.conv_out.weight)
    for conv in (block.g, block.theta, block.phi):
        torch.nn.init.normal_(conv.weight)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    theta, phi, g = (conv(x).flatten(2) for conv in (block.theta, block.phi, block.g))
    mixed = torch.einsum("nij,ncj->nci", torch.einsum("nci,ncj->nij", theta, phi).softmax(-1), g)
    torch.testing.assert_close(block(x), x + block.conv_out(mixed.reshape(x.shape)))


def test_a_fresh_balanced_neck_adds_the_mean_of_all_levels():
    neck = BalancedNeck(pafpn())
    maps = features(256, 256)
    inner = list(neck.neck.eval()(maps).values())
    gathered = F.adaptive_max_pool2d(inner[0], (16, 16)) + inner[1]
    gathered = (gathered + sum(F.interpolate(x, (16, 16), mode="nearest") for x in inner[2:])) / 5
    outputs = list(neck.eval()(maps).values())
    torch.testing.assert_close(outputs[1], inner[1] + gathered)
    torch.testing.assert_close(outputs[0], inner[0] + F.interpolate(gathered, (32, 32), mode="nearest"))
    torch.testing.assert_close(outputs[3], inner[3] + F.adaptive_max_pool2d(gathered, (4, 4)))


def test_asff_weights_are_a_mean_over_the_levels():
    """Equal maps of a constant at every level fuse to that constant, whatever the weights."""
    fusion = AsffNeck(pafpn(levels=(3, 4, 5))).fusions[0].eval()
    fusion.expand = torch.nn.Identity()
    maps = [torch.full((1, 16, side, side), 2.5) for side in (16, 8, 4)]
    torch.testing.assert_close(fusion(maps), maps[0])


def test_maxout_takes_the_maximum_over_strided_groups():
    x = torch.tensor([1.0, 5.0, 3.0, 2.0]).reshape(1, 4, 1, 1)
    assert maxout(x, 2).flatten().tolist() == [3.0, 5.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BalancedNeck(pafpn(), refine_level=2), r"one of the neck's levels \(3, 4, 5, 6, 7\), got 2"),
        (lambda: BalancedNeck(pafpn(), refine="gcb"), "must be 'non_local', 'conv' or None"),
        (lambda: ExactFusionNeck((6, 10)), "name the same maps"),
        (lambda: ExactFusionNeck(CHANNELS, in_levels=(4, 5, 6)), "finest of the output levels"),
        (lambda: ExactFusionNeck(CHANNELS, maxout=0), "maxout must be positive"),
    ],
)
def test_what_does_not_fit_is_refused_at_construction(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_efm_by_name_refuses_repeats_instead_of_forgetting_them():
    with pytest.raises(ValueError, match="efm has neither repeats nor a recipe"):
        build_neck("efm", in_channels=CHANNELS, repeats=3)

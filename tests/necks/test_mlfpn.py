"""MLFPN: contract, counts of the released M2Det, sharing."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from necks.mlfpn import ChannelGate, MlfpnNeck

CHANNELS = (6, 10, 14)
M2DET = {"in_channels": (512, 1024), "in_levels": (3, 4), "out_channels": 2048, "out_levels": (3, 4, 5, 6, 7, 8)}
VARIANTS = [{}, {"shared": True}, {"sfam": False}, {"tums": 1}, {"tums": 3, "out_channels": 12}]


def neck(**arguments):
    return MlfpnNeck(**{"in_channels": CHANNELS, "out_channels": 32, "tums": 2, **arguments})


def features(height, width, channels=CHANNELS, round_up=True):
    maps = OrderedDict()
    for level, count in enumerate(channels, start=3):
        sides = [-(-side // 2**level) if round_up else side // 2**level for side in (height, width)]
        maps[f"c{level}"] = torch.randn(2, count, *sides)
    return maps


def count(module):
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize("round_up", [True, False])
@pytest.mark.parametrize("size", [(256, 256), (320, 192), (333, 500)], ids=str)
@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_levels_have_the_backbones_sizes_and_below_them_halves(arguments, size, round_up):
    mlfpn = neck(**arguments)
    maps = features(*size, round_up=round_up)
    before = {key: x.clone() for key, x in maps.items()}
    outputs = mlfpn(maps)
    assert list(outputs) == ["p3", "p4", "p5", "p6", "p7"]
    sizes = [tuple(x.shape[-2:]) for x in maps.values()]
    while len(sizes) < len(outputs):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    assert [tuple(x.shape) for x in outputs.values()] == [(2, mlfpn.out_channels, *size) for size in sizes]
    assert all(torch.equal(maps[key], before[key]) for key in maps)


@pytest.mark.parametrize(
    ("side", "sides"), [(40, (40, 20, 10, 5, 3, 1)), (64, (64, 32, 16, 8, 4, 2)), (100, (100, 50, 25, 13, 7, 5))]
)
def test_valid_top_has_the_sizes_of_m2det(side, sides):
    mlfpn = MlfpnNeck((6, 10), (3, 4), 8, range(3, 9), tums=2, valid_top=True)
    outputs = mlfpn({"a": torch.randn(2, 6, side, side), "b": torch.randn(2, 10, side // 2, side // 2)})
    assert tuple(x.shape[-1] for x in outputs.values()) == sides


def test_shared_modules_are_registered_once():
    shared, own = neck(shared=True), neck()
    for mlfpn in (shared, own):
        state = mlfpn.state_dict()
        assert len({value.data_ptr() for value in state.values() if value.numel() > 1}) == sum(
            value.numel() > 1 for value in state.values()
        )
    assert (len(shared.leach), len(shared.sfam)) == (1, 1)
    assert (len(own.leach), len(own.sfam)) == (2, 5)


def test_unshared_with_equal_copies_is_the_shared_neck():
    shared, own = neck(shared=True).eval(), neck().eval()
    state = shared.state_dict()
    for name in own.state_dict():
        part, _, tail = name.partition(".")
        if part in ("leach", "sfam"):
            state[name] = state[f"{part}.0.{tail.partition('.')[2]}"]
    own.load_state_dict(state)
    maps = features(96, 64)
    assert all(torch.equal(x, y) for x, y in zip(shared(maps).values(), own(maps).values(), strict=True))
    own.leach[1][0].weight.data.zero_()
    assert not torch.equal(shared(maps)["p3"], own(maps)["p3"])


def test_a_shared_leach_runs_once():
    calls = []
    mlfpn = neck(shared=True)
    mlfpn.leach[0].register_forward_hook(lambda *_: calls.append(1))
    mlfpn(features(64, 64))
    assert calls == [1]


def test_the_gate_is_one_factor_per_channel_and_never_empty():
    gate = ChannelGate(4).eval()
    assert gate.squeeze.out_channels == 1
    x = torch.randn(2, 4, 5, 3)
    factor = gate(x) / x
    torch.testing.assert_close(factor, factor[:, :, :1, :1].expand_as(x))
    assert ((factor > 0) & (factor < 1)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_channels": 36, "tums": 8}, r"a multiple of 2 \* tums .* got 36 for tums=8"),
        ({"tums": 0}, "tums must be positive"),
        ({"in_channels": (6, 10)}, "name the same maps"),
        ({"in_levels": (4, 5, 6)}, "finest of the output levels"),
        ({"in_channels": (6,), "in_levels": (3,), "out_levels": (3,)}, r"two or more, without gaps, got \(3,\)"),
        ({"in_levels": (2, 4, 5), "out_levels": (2, 4, 5, 6)}, r"without gaps, got \(2, 4, 5, 6\)"),
    ],
)
def test_what_does_not_fit_is_refused_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        neck(**arguments)


def test_a_map_too_small_for_valid_top_is_refused_and_the_smallest_runs():
    mlfpn = neck(valid_top=True)
    assert mlfpn(features(17 * 8, 20 * 8))["p7"].shape[-2:] == (1, 1)
    with pytest.raises(ValueError, match=r"valid_top needs at least 3 pixels per side .* got \(2, 3\)"):
        mlfpn(features(16 * 8, 20 * 8))

"""ASFF where the levels have widths of their own, and the arguments of the modules that follow a neck."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from necks import AsffNeck, BalancedNeck, ExactFusionNeck
from necks.contract import PassThrough

LEVELS = (3, 4, 5)
YOLOV3 = ((256, 256, 512), (256, 512, 1024))
MOBILE = ((128, 256, 512), (256, 512, 1024))


def asff(channels=(4, 4, 6), levels=LEVELS, **arguments):
    return AsffNeck(PassThrough(channels, levels), **{"weight_channels": 2, **arguments})


def maps(channels, height=40, width=24, levels=LEVELS):
    sizes = [(-(-height // 2 ** (level - levels[0])), -(-width // 2 ** (level - levels[0]))) for level in levels]
    return OrderedDict(
        (f"c{level}", torch.randn(2, count, *size)) for level, count, size in zip(levels, channels, sizes, strict=True)
    )


@pytest.mark.parametrize(
    ("widths", "arguments", "params"),
    [
        (YOLOV3, {}, 9_756_377),
        (YOLOV3, {"weight_channels": 8}, 9_731_441),
        (MOBILE, {"activation": "relu6"}, 8_537_817),
    ],
)
def test_parameters_are_those_of_the_authors(widths, arguments, params):
    channels, expanded = widths
    neck = AsffNeck(PassThrough(channels, LEVELS), expanded=expanded, **arguments)
    assert sum(value.numel() for value in neck.parameters()) == params


def test_a_1x1_comes_before_the_upsampling_where_widths_differ():
    found = [sorted(fusion.compress) for fusion in asff((4, 4, 6)).fusions]
    assert found == [["2"], ["2"], []]
    assert [sorted(fusion.compress) for fusion in asff((4, 5, 6)).fusions] == [["1", "2"], ["2"], []]
    assert [sorted(fusion.compress) for fusion in asff((4, 4, 4)).fusions] == [[], [], []]


def test_uniform_widths_keep_their_names():
    parts = {name.split(".")[2] for name in asff((4, 4, 4)).state_dict()}
    assert parts == {"down", "squeeze", "weigh", "expand"}


@pytest.mark.parametrize("size", [(40, 24), (37, 51)], ids=str)
@pytest.mark.parametrize(("channels", "levels"), [((4, 4, 6), LEVELS), ((8, 6, 4, 2), (2, 3, 5, 6))], ids=str)
def test_each_level_has_its_width_and_size(channels, levels, size):
    inputs = maps(channels, *size, levels)
    in_size = [x.shape[-2:] for x in inputs.values()]
    for expanded in (None, tuple(range(3, 3 + len(levels)))):
        neck = asff(channels, levels, expanded=expanded)
        outputs = neck(inputs)
        assert list(outputs) == [f"p{level}" for level in levels]
        assert tuple(x.shape[1] for x in outputs.values()) == neck.level_channels == (expanded or channels)
        assert [x.shape[-2:] for x in outputs.values()] == in_size
    assert neck.out_channels == 3


def test_the_activation_is_that_asked_for():
    kinds = {type(module) for module in asff(activation="relu6").modules()}
    assert nn.ReLU6 in kinds
    assert nn.LeakyReLU not in kinds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expanded": (4, 4)}, r"\(4, 4\) channels do not fit the output levels \(3, 4, 5\)"),
        ({"expanded": (4, 4, 0)}, "channels must be positive"),
        ({"weight_channels": 0}, "weight_channels must be positive"),
        ({"activation": "mish"}, "activation must be one of leaky_relu, relu6, got 'mish'"),
    ],
)
def test_what_does_not_fit_is_refused_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        asff(**arguments)


@pytest.mark.parametrize(
    "build",
    [
        lambda: asff((4, 5, 6), expanded=(7, 8, 9), activation="relu6"),
        lambda: asff((4, 4, 4)),
        lambda: BalancedNeck(PassThrough((4, 4, 4), LEVELS), refine_level=5, refine="conv"),
        lambda: BalancedNeck(PassThrough((4, 4, 4), LEVELS), refine=None),
        lambda: ExactFusionNeck((4, 5, 6), out_channels=8, maxout=3, fuse_kernel=1),
    ],
)
def test_arguments_build_an_equal_neck(build):
    neck = build()
    again = type(neck)(**neck.arguments())
    again.load_state_dict(neck.state_dict())
    inputs = maps(neck.in_channels)
    expected = neck.eval()(inputs)
    assert all(torch.equal(x, expected[name]) for name, x in again.eval()(inputs).items())
    assert again.arguments().keys() == neck.arguments().keys()

"""The contract of every neck: names, shapes, gradients, errors; whatever the image size."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from necks import MergeNeck, Recipe, build_neck
from search_space import KNOWN, Genotype, GenotypeError, MergeCell, nas_fpn_space

CHANNELS = (6, 10, 14)


def features(height: int, width: int, *, channels: tuple[int, ...] = CHANNELS, round_up: bool = True) -> OrderedDict:
    """Backbone maps C3.. of an image; sides are halved upwards, as padded convolutions do, or downwards."""
    maps = OrderedDict()
    for level, count in enumerate(channels, start=3):
        sides = [-(-side // 2**level) if round_up else side // 2**level for side in (height, width)]
        maps[f"c{level}"] = torch.randn(2, count, *sides)
    return maps


def halvings(side: int, count: int) -> list[int]:
    sides = [side]
    for _ in range(count - 1):
        sides.append(-(-sides[-1] // 2))
    return sides


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("size", [(128, 128), (96, 160), (333, 500)], ids=str)
def test_outputs_are_named_by_level_and_have_the_size_of_their_level(name, size, repeats):
    neck = build_neck(name, in_channels=CHANNELS, out_channels=8, repeats=repeats)
    maps = features(*size)
    outputs = neck(maps)
    assert list(outputs) == ["p3", "p4", "p5", "p6", "p7"]
    heights, widths = (halvings(maps["c3"].shape[axis], 5) for axis in (-2, -1))
    assert [tuple(x.shape) for x in outputs.values()] == [(2, 8, h, w) for h, w in zip(heights, widths, strict=True)]
    assert (neck.out_channels, neck.out_levels) == (8, (3, 4, 5, 6, 7))


@pytest.mark.parametrize("name", KNOWN)
def test_every_parameter_of_separable_stacks_gets_a_gradient(name):
    neck = build_neck(name, in_channels=CHANNELS, out_channels=8, repeats=2, recipe=Recipe(separable=True))
    sum(x.square().sum() for x in neck(features(128, 128)).values()).backward()
    without = [key for key, value in neck.named_parameters() if value.grad is None]
    assert not without


@pytest.mark.parametrize("seed", range(12))
def test_random_genotypes_run_and_train_at_odd_sizes(seed):
    genotype = nas_fpn_space().sample(random.Random(seed))
    neck = MergeNeck(genotype, CHANNELS, out_channels=4, repeats=2)
    outputs = neck(features(137, 211))
    sum(x.square().sum() for x in outputs.values()).backward()
    assert all(value.grad is not None for value in neck.parameters())
    assert all(torch.isfinite(x).all() for x in outputs.values())


def test_cells_that_no_output_uses_have_no_parameters():
    cells = (MergeCell(4, (0, 1)), MergeCell(3, (0, 1)), MergeCell(4, (0, 1)))
    genotype = Genotype((3, 4), cells)
    alive = MergeNeck(Genotype((3, 4), cells[1:]), (4, 4), (3, 4), out_channels=4)
    assert len(MergeNeck(genotype, (4, 4), (3, 4), out_channels=4).state_dict()) == len(alive.state_dict())


def test_no_lateral_where_the_channels_already_match():
    neck = build_neck("fpn", in_channels=(8, 10, 14), out_channels=8)
    assert not list(neck.stem.laterals[0].parameters())
    always = build_neck("fpn", in_channels=(8, 10, 14), out_channels=8, recipe=Recipe(lateral_always=True))
    assert list(always.stem.laterals[0].parameters())


def test_parameters_of_a_nas_fpn_repeat_at_256_channels():
    neck = build_neck("nas_fpn", in_channels=(512, 1024, 2048), repeats=2)
    per_repeat = sum(x.numel() for x in neck.pyramids.parameters()) // 2
    assert per_repeat == 7 * (9 * 256**2 + 256 + 2 * 256)


def test_other_levels():
    levels = (2, 3, 4, 5)
    neck = build_neck("bifpn", in_channels=(4, 6, 8, 10), in_levels=levels, out_levels=levels, out_channels=4)
    maps = OrderedDict((f"c{level}", torch.randn(1, 2 * level, 64 >> level, 64 >> level)) for level in (2, 3, 4, 5))
    assert list(neck(maps)) == ["p2", "p3", "p4", "p5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": (8, 8)}, "name the same maps"),
        ({"in_channels": (8, 8, 8), "in_levels": (2, 3, 4)}, "finest of the output levels"),
        ({"in_channels": (8, 8, 8), "in_levels": (4, 5, 6)}, "finest of the output levels"),
        ({"in_channels": (8, 0, 8)}, "must be positive"),
        ({"in_channels": (8, 8, 8), "repeats": 0}, "must be positive"),
        ({"in_channels": (8, 8, 8), "out_levels": (3, 4, 5, 7)}, "must be consecutive"),
    ],
)
def test_levels_and_channels_are_checked_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_neck("fpn", **arguments)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm", "layer", r"norm must be one of \('batch', 'group', 'none'\), got 'layer'"),
        ("norm_eps", "small", "norm_eps must be a positive float"),
        ("norm_groups", 0, "norm_groups must be a positive int"),
        ("separable", "no", "separable must be bool"),
        ("linear_bias", 1, "linear_bias must be"),
    ],
)
def test_a_recipe_checks_its_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: value})


def test_group_norm_names_what_does_not_divide():
    with pytest.raises(ValueError, match="norm_groups=32 needs channels divisible by that, got 8; take other"):
        build_neck("fpn", in_channels=CHANNELS, out_channels=8, recipe=Recipe(norm="group"))


@pytest.mark.parametrize("extra", ["max_pool", "pool_project", "project_pool", "lateral_pool"])
@pytest.mark.parametrize("laterals", ["stem", "edges"])
@pytest.mark.parametrize("down", ["max_pool", "max_pool_padded", "max_pool3", "max_pool3_same", "conv"])
def test_every_way_to_make_levels_runs_at_odd_and_tiny_sizes(extra, laterals, down):
    recipe = Recipe(extra_inputs=extra, laterals=laterals, down=down)
    neck = build_neck("nas_fpn", in_channels=CHANNELS, out_channels=8, repeats=2, recipe=recipe).eval()
    for size in ((137, 211), (64, 64), (32, 8)):
        outputs = neck(features(*size))
        assert all(torch.isfinite(x).all() for x in outputs.values())


def test_extra_levels_are_made_once_however_many_repeats():
    neck = build_neck("fpn@torchvision", in_channels=CHANNELS, out_channels=8, repeats=3, extra="p6p7_c5")
    runs = []
    neck.extra.register_forward_hook(lambda *_: runs.append(1))
    neck(features(64, 64))
    neck(features(64, 64), until=2)
    assert len(runs) == 2
    assert len(neck.every_repeat(features(64, 64))) == 3
    with pytest.raises(ValueError, match=r"until must be in 1\.\.3"):
        neck(features(64, 64), until=4)


def test_unknown_names_and_levels_say_what_is_known():
    with pytest.raises(ValueError, match=r"unknown neck 'fpm'; known are .*bifpn"):
        build_neck("fpm", in_channels=CHANNELS)
    with pytest.raises(GenotypeError, match="defined on levels"):
        build_neck("nas_fpn", in_channels=CHANNELS, out_levels=(3, 4, 5))
    with pytest.raises(ValueError, match="activation must be one of"):
        Recipe(activation="gelu")


def hand_made_nas_fpn(neck: MergeNeck, maps: OrderedDict[str, Tensor]) -> list[Tensor]:
    """The published cell written out by hand after TensorFlow's decoder (facts: max gate from the coarser map)."""
    import torch.nn.functional as F

    def up(x: Tensor, times: int) -> Tensor:
        return x.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)

    def down(x: Tensor, times: int) -> Tensor:
        return F.max_pool2d(x, times, times)

    def gate(x: Tensor) -> Tensor:
        return x.flatten(2).max(dim=2).values.sigmoid()[:, :, None, None]

    laterals = [module(x) for module, x in zip(neck.stem.laterals, maps.values(), strict=True)]
    p3, p4, p5 = laterals
    p6 = down(p5, 2)
    p7 = down(p6, 2)
    for pyramid in neck.pyramids:
        post = [lambda x, cell=cell: cell.transform[2](cell.transform[1](x.relu())) for cell in pyramid.cells]
        n5 = post[0](up(p6, 4) + p4 * gate(p6))
        n6 = post[1](p4 + n5)
        n7 = post[2](p3 + up(n6, 2))
        n8 = post[3](n6 + down(n7, 2))
        n9 = post[4](down(n8, 2) + down(n7, 4) * gate(n8) + p5)
        n10 = post[5](down(n9, 4) + down(n6, 8) * gate(n9) + p7)
        n11 = post[6](up(n10, 2) + down(n9, 2) * gate(n10))
        p3, p4, p5, p6, p7 = n7, n8, n9, n11, n10
    return [p3, p4, p5, p6, p7]


def test_the_published_cell_equals_one_written_out_by_hand():
    torch.manual_seed(0)
    neck = build_neck("nas_fpn", in_channels=CHANNELS, out_channels=8, repeats=3).double()
    for module in neck.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    neck.eval()
    maps = OrderedDict((key, x.double()) for key, x in features(256, 128).items())
    for ours, theirs in zip(neck(maps).values(), hand_made_nas_fpn(neck, maps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)

"""Programs: what they compute, what they plan, how they read."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from necks import MergeNeck, Recipe, build_neck
from necks.testing import features
from search_space import Genotype, MergeCell
from tests.support.naive_neck import naive_outputs
from tests.support.neck_cases import CASES
from tests.support.random_necks import random_neck

QUICK = 30
SEEDS = [pytest.param(seed, marks=pytest.mark.slow if seed >= QUICK else []) for seed in range(200)]


def assert_close(ours, theirs, tolerance=1e-9):
    assert list(ours) == list(theirs)
    for x, y in zip(ours.values(), theirs.values(), strict=True):
        assert x.shape == y.shape
        assert (x - y).abs().max() <= tolerance * y.abs().max()


@torch.no_grad()
def assert_meant(neck, size, *, round_up=True):
    neck = neck.double()
    for module in neck.modules():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) - 0.3)
    maps = OrderedDict((key, x.double()) for key, x in features(neck, size, round_up=round_up).items())
    expected = naive_outputs(neck, maps)
    assert_close(neck(maps), expected)
    assert_close(neck.fuse()(maps), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_genotypes_with_random_recipes_compute_what_they_mean(seed):
    torch.manual_seed(seed)
    sizes = ((133, 210), (64, 40), (96, 96))
    assert_meant(random_neck(seed), sizes[seed % 3], round_up=seed % 4 > 0)


@pytest.mark.parametrize("name", [name for name, make in CASES.items() if isinstance(make(), MergeNeck)])
def test_known_necks_compute_what_they_mean(name):
    torch.manual_seed(0)
    assert_meant(CASES[name]().eval(), (133, 210))


def test_a_program_is_read_as_code():
    neck = build_neck("nas_fpn", in_channels=(6, 8, 10), out_channels=8)
    assert str(neck.pyramids[0].program).splitlines()[6:9] == [
        "    p4_a = cells.0.transform(up(p6, size4).addcmul_(p4, max_gate(p6))); del p6",
        "    p4_b = cells.1.transform(p4 + p4_a); del p4, p4_a",
        "    p3_out = cells.2.transform(up(p4_b, size3).add_(p3)); del p3",
    ]
    assert "merge" not in str(neck.stem.program)


def test_what_two_cells_take_is_computed_once_and_not_overwritten():
    cells = (MergeCell(3, (1, 0)), MergeCell(3, (1, 2), "attention"))
    program = MergeNeck(Genotype((3, 4), cells), (8, 8), (3, 4), 8).pyramids[0].program
    assert [step.operation for step in program.steps].count("up") == 1
    assert not any(step.overwrites for step in program.steps if step.operation == "add")


def test_memory_is_let_go_after_the_last_use():
    neck = build_neck("nas_fpn", in_channels=(8, 8, 8), out_channels=8, repeats=1).eval()
    freed = [
        name for line in str(neck.pyramids[0].program).splitlines() for name in line.partition("; del ")[2].split(", ")
    ]
    assert {"p3", "p4", "p5", "p6", "p7", "p4_a", "p4_b"} <= set(freed)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda neck: pickle.loads(pickle.dumps(neck))])
@pytest.mark.parametrize("fused", [False, True])
def test_copies_run_their_own_weights(copied, fused):
    neck = build_neck("bifpn", in_channels=(8, 8, 8), out_channels=8).eval()
    neck = neck.fuse() if fused else neck
    maps = features(neck, (64, 64))
    other = copied(neck)
    with torch.no_grad():
        assert_close(other(maps), neck(maps), 0)
        for parameter in other.parameters():
            parameter.zero_()
        assert all(x.abs().max() == 0 for x in other(maps).values())
        assert neck(maps)["p3"].abs().max() > 0


def test_an_unknown_activation_has_no_program():
    recipe = Recipe()
    object.__setattr__(recipe, "activation", "gelu")
    with pytest.raises(KeyError, match="gelu"):
        build_neck("nas_fpn", in_channels=(8, 8, 8), out_channels=8, recipe=recipe)


def test_an_error_in_a_program_shows_its_line():
    neck = build_neck("fpn", in_channels=(8, 8, 8), out_channels=8)
    with pytest.raises(AttributeError) as caught:
        neck.pyramids[0](["no map"] * 5)
    assert str(caught.traceback[-1].statement).strip() == "size3 = p3.shape[-2:]"


def test_a_fused_neck_keeps_the_layout_of_wide_maps():
    """A 1x1 convolution whose weights are in channels_last lays out the maps that it is given."""
    neck = build_neck("bifpn", in_channels=(32, 48, 64), out_channels=8).eval().fuse()
    for conv in (module for module in neck.modules() if isinstance(module, nn.Conv2d)):
        wanted = torch.contiguous_format if conv.kernel_size == (1, 1) else torch.channels_last
        assert conv.weight.stride() == torch.empty(conv.weight.shape, memory_format=wanted).stride()

"""The largest necks are built quickly; larger ones are refused at once, in one line."""

import time

import pytest
import torch

from nas.drawing.architecture import architecture
from necks import NECKS, build_neck
from necks.asff import AsffNeck
from necks.bounds import MAX_PARAMS, MAX_STACKED_INPUTS
from necks.contract import PassThrough
from necks.efm import ExactFusionNeck
from necks.exported import neck_from_dict, neck_to_dict
from necks.mlfpn import MlfpnNeck
from necks.recipe import Recipe
from search_space import KNOWN, MAX_CELLS, MAX_CHANNELS, MAX_INPUTS, MAX_REPEATS, Genotype, MergeCell, known_genotype

IN = {"in_channels": (8, 8, 8)}
LEVELS = (3, 4, 5, 6, 7)


def dense():
    cells = [MergeCell(LEVELS[k % 5], tuple(range(max(0, 5 + k - MAX_INPUTS), 5 + k))) for k in range(MAX_CELLS)]
    return Genotype(LEVELS, tuple(cells))


def seconds(make):
    start = time.process_time()
    make()
    return time.process_time() - start


def test_the_largest_neck_is_built_in_seconds():
    def make():
        with torch.device("meta"):
            build_neck(dense(), **IN, out_channels=8)

    assert seconds(make) < 5  # one on a quiet core


def test_the_largest_picture_is_laid_out_in_seconds():
    assert seconds(lambda: architecture(dense())) < 10  # three on a quiet core


@pytest.mark.parametrize("name", KNOWN)
def test_published_necks_are_far_from_the_bounds(name):
    genotype = known_genotype(name)
    inputs = sum(len(cell.inputs) for cell in genotype.cells) + sum(map(len, genotype.dangling))
    assert 8 * inputs < MAX_STACKED_INPUTS / 10
    with torch.device("meta"):
        wide = build_neck(name, in_channels=(512, 1024, 2048), out_channels=640, repeats=8)
    assert sum(parameter.numel() for parameter in wide.parameters()) < MAX_PARAMS


def test_the_widest_published_neck_is_within_the_bounds():
    with torch.device("meta"):
        assert build_neck("mlfpn@m2det", in_channels=(512, 1024), in_levels=(4, 5), out_levels=(4, 5, 6, 7, 8, 9))


REFUSED = {
    "repeats": (lambda: build_neck("nas_fpn", **IN, repeats=10**7), "repeats must be at most 64, got 10000000"),
    "repeats 2.0": (lambda: build_neck("nas_fpn", **IN, repeats=2.0), "repeats must be positive, a whole number"),
    "repeats true": (lambda: build_neck("nas_fpn", **IN, repeats=True), "repeats must be positive, a whole number"),
    "inputs": (
        lambda: build_neck(dense(), **IN, repeats=MAX_REPEATS),
        "inputs, allowed are 4,000; take fewer repeats",
    ),
    "width": (lambda: build_neck("fpn", **IN, out_channels=10**9), "channels must be whole numbers in 1..8192"),
    "width 8.0": (lambda: build_neck("fpn", **IN, out_channels=8.0), "channels must be whole numbers"),
    "width true": (lambda: build_neck("fpn", **IN, out_channels=True), "channels must be whole numbers"),
    "input width": (lambda: build_neck("fpn", in_channels=(8, 8, 10**9)), "channels must be whole numbers"),
    "levels": (lambda: build_neck("efm", **IN, out_levels=range(3, 10**6)), "levels must be whole numbers in 0..16"),
    "level": (lambda: build_neck("fpn", **IN, in_levels=(3, 4, 10**30)), "levels must be whole numbers in 0..16"),
    "level 5.0": (lambda: build_neck("fpn", **IN, in_levels=(3, 4, 5.0)), "levels must be whole numbers"),
    "params": (lambda: build_neck("nas_fpn", **IN, out_channels=MAX_CHANNELS), "parameters, allowed are 1,000,000,000"),
    "params of all": (
        lambda: build_neck("quad_fpn", **IN, out_channels=1024, repeats=MAX_REPEATS),
        "parameters, allowed are 1,000,000,000",
    ),
    "params of efm": (lambda: build_neck("efm", **IN, out_channels=MAX_CHANNELS), "parameters, allowed are"),
    "maxout": (lambda: ExactFusionNeck((8, 8, 8), maxout=10**6), "maxout must be at most 64"),
    "fuse_kernel": (lambda: ExactFusionNeck((8, 8, 8), fuse_kernel=10**6 + 1), "fuse_kernel must be at most 31"),
    "tums": (lambda: MlfpnNeck((8, 8, 8), tums=10**6), "tums must be at most 64"),
    "tums nan": (lambda: MlfpnNeck((8, 8, 8), tums=float("nan")), "tums must be positive"),
    "weight_channels": (
        lambda: AsffNeck(PassThrough((8, 8), (3, 4)), weight_channels=10**9),
        "weight_channels must be at most 8192",
    ),
    "expanded": (lambda: AsffNeck(PassThrough((8, 8), (3, 4)), expanded=(8, 10**9)), "channels must be whole numbers"),
    "norm_eps": (lambda: Recipe(norm_eps=float("inf")), "norm_eps must be a positive float"),
    "norm_groups": (lambda: Recipe(norm_groups=2.0), "norm_groups must be a positive int"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_beyond_the_bounds_is_refused_at_once(name):
    make, message = REFUSED[name]

    def refused():
        with pytest.raises(ValueError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400

    assert seconds(refused) < 2


@pytest.mark.parametrize("name", ["efm", "mlfpn", "asff", "balanced_fpn"])
def test_a_saved_description_of_a_neck_has_the_same_bounds(name):
    data = neck_to_dict(build_neck(name, **IN, out_channels=16))
    inner = data.get("neck", data)
    inner |= {"out_channels": MAX_CHANNELS, **({"tums": 1} if name == "mlfpn" else {})}
    with pytest.raises(ValueError, match="parameters, allowed are"):
        neck_from_dict(data)


@pytest.mark.parametrize("name", NECKS)
def test_every_name_can_be_built_without_memory(name):
    channels = (256, 256, 256) if "balanced" in name or "asff" in name else (8, 8, 8)
    with torch.device("meta"):
        assert build_neck(name, in_channels=channels).out_channels


def test_a_long_value_is_cut_short_in_the_message():
    for data in ("x" * 10_000, {"activation": "x" * 10_000}, {"norm_eps": "x" * 10_000}):
        with pytest.raises(ValueError, match="got") as caught:
            Recipe.from_dict(data)
        assert len(str(caught.value)) < 400

import random
import time
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.detection.cost import neck_cost
from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import (
    KNOWN,
    Cost,
    Genotype,
    MergeCell,
    PyramidSpace,
    genotype_cost,
    level_sizes,
    nas_fpn_space,
    pyramid_space,
)

SPACES = [
    nas_fpn_space(),
    nas_fpn_space(9),
    pyramid_space(),
    PyramidSpace(
        (3, 4, 5),
        max_cells=6,
        merges=("sum", "softmax", "fast_normalized"),
        transforms=("conv", "linear", "none"),
        every_level=False,
    ),
]


def costs(genotype, in_channels, sizes, channels, repeats, recipe):
    """The cost as computed, and as counted on the module."""
    levels = genotype.levels[: len(in_channels)]
    neck = MergeNeck(genotype, in_channels, levels, channels, repeats, recipe)
    maps = zip(levels, in_channels, sizes, strict=True)
    shapes = OrderedDict((f"p{level}", (width, *size)) for level, width, size in maps)
    counted = neck_cost(neck, shapes)
    computed = genotype_cost(
        genotype,
        channels=channels,
        in_channels=in_channels,
        in_sizes=sizes,
        repeats=repeats,
        norm=recipe.norm != "none",
        conv_bias=recipe.conv_bias,
        linear_bias=recipe.linear_bias,
        separable=recipe.separable,
        separable_laterals=recipe.separable_laterals,
        lateral_always=recipe.lateral_always,
        lateral_norm=recipe.lateral_norm,
    )
    return computed, Cost(counted.params, counted.macs)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_equals_the_module_for_every_known_neck(name, separable):
    sizes = level_sizes((97, 130), (3, 4, 5))
    computed, counted = costs(KNOWN[name](), (24, 16, 40), sizes, 16, 2, Recipe(separable=separable))
    assert computed == counted


def recipes():
    flag, maybe = st.booleans(), st.none() | st.booleans()
    return st.builds(
        Recipe,
        activation=st.sampled_from(["relu", "silu", "none"]),
        order=st.sampled_from(["act_conv_norm", "conv_norm_act"]),
        norm=st.sampled_from(["batch", "group", "none"]),
        norm_groups=st.just(4),
        conv_bias=flag,
        linear_bias=maybe,
        separable=flag,
        separable_laterals=maybe,
        lateral_always=flag,
        lateral_norm=flag,
    )


@settings(max_examples=30)
@given(
    st.sampled_from(SPACES),
    st.integers(0, 2**32),
    recipes(),
    st.integers(1, 3),
    st.lists(st.sampled_from([4, 8, 12]), min_size=1, max_size=3),
    st.tuples(st.integers(9, 70), st.integers(9, 70)),
)
def test_equals_the_module_for_any_genotype_and_recipe(space, seed, recipe, repeats, in_channels, image_size):
    genotype = space.sample(random.Random(seed))
    sizes = level_sizes(image_size, genotype.levels[: len(in_channels)])
    computed, counted = costs(genotype, tuple(in_channels), sizes, 8, repeats, recipe)
    assert computed == counted


def test_cells_that_no_output_depends_on_cost_nothing():
    output = MergeCell(3, (0, 1))
    options = {"channels": 8, "in_channels": (8, 8), "in_sizes": [(4, 4), (2, 2)]}
    dead = Genotype((3, 4), (MergeCell(3, (0, 1), "fast_normalized"), output))
    assert genotype_cost(dead, **options) == genotype_cost(Genotype((3, 4), (output,)), **options)


def test_a_cell_by_hand():
    """3 x 3 x 8 x 8 weights, 8 biases, 16 of the norm; a map of 4 x 5 is convolved."""
    genotype = Genotype((3, 4), (MergeCell(3, (0, 1)),))
    cost = genotype_cost(genotype, channels=8, in_channels=(8, 8), in_sizes=[(4, 5), (2, 3)])
    assert cost == Cost(576 + 8 + 16, 576 * 20)


def test_level_sizes_round_up():
    assert level_sizes((97, 64), (3, 4, 5)) == [(13, 8), (7, 4), (4, 2)]


def test_takes_microseconds():
    """Well under a millisecond even where the machine is busy; tens of microseconds where it is not."""
    rng, space = random.Random(0), pyramid_space()
    genotypes = [space.sample(rng) for _ in range(100)]
    sizes = level_sizes((512, 512), (3, 4, 5))
    start = time.process_time()
    for genotype in genotypes:
        genotype_cost(genotype, channels=64, in_channels=(8, 16, 32), in_sizes=sizes, repeats=3)
    assert (time.process_time() - start) / len(genotypes) < 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": (8,)}, "must have one entry for each of the finest levels"),
        ({"in_channels": (8, 8, 8), "in_sizes": [(4, 4), (2, 2), (1, 1)]}, "one entry for each"),
        ({"in_channels": (), "in_sizes": []}, "one entry for each"),
        ({"repeats": 0}, "must be positive"),
        ({"in_sizes": [(4, 4), (0, 2)]}, "must be positive"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    options = {"channels": 8, "in_channels": (8, 8), "in_sizes": [(4, 4), (2, 2)], **change}
    with pytest.raises(ValueError, match=message):
        genotype_cost(Genotype((3, 4), ()), **options)

"""Fingerprints against what genotypes compute, over every genotype of small spaces."""

import random
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import Genotype, MergeCell, PyramidSpace
from tests.support.function_oracle import CONTEXTS, Oracle
from tests.support.genotype_strategies import reordered

EVERY_MERGE = ("sum", "attention", "fast_normalized", "softmax")


def small(levels, num_cells, merges, transforms, **options):
    return PyramidSpace(
        levels,
        min_cells=num_cells,
        max_cells=num_cells,
        merges=merges,
        transforms=transforms,
        every_level=False,
        **options,
    )


TWO_INPUTS = {"max_inputs": 2, "merge_dangling": (False,)}
SPACES = {
    "2 levels, 2 cells, everything": small((3, 4), 2, EVERY_MERGE, ("conv", "none")),
    "2 levels, 3 cells, sums": small((3, 4), 3, ("sum",), ("conv", "none"), **TWO_INPUTS),
    "2 levels, 3 cells, gates": small((3, 4), 3, ("sum", "attention"), ("none",), max_inputs=2),
    "3 levels, 2 cells, gates": small((3, 4, 5), 2, ("sum", "attention"), ("conv", "none"), max_inputs=2),
    "3 levels, 3 cells, sums": small((3, 4, 5), 3, ("sum",), ("none",), max_inputs=2, merge_dangling=(False,)),
}
WEIGHTED = small((3, 4), 3, ("sum", "fast_normalized"), ("none",), **TWO_INPUTS)


def assert_fingerprints_are_functions(space, oracle):
    functions, fingerprints = {}, {}
    for genotype in space.enumerate():
        function, fingerprint = oracle.signature(genotype), genotype.fingerprint
        other = functions.setdefault(fingerprint, (function, genotype))
        assert other[0] == function, ("different functions, one fingerprint", genotype, other[1])
        other = fingerprints.setdefault(function, (fingerprint, genotype))
        assert other[0] == fingerprint, ("one function, different fingerprints", genotype, other[1])
    assert 1 < len(functions) < space.size()


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_the_oracle_computes_what_the_module_computes(seed):
    space = small((3, 4, 5), 4, ("sum", "attention"), ("none",))
    genotype = space.sample(random.Random(seed))
    oracle = Oracle(space.levels)
    outputs = [oracle.values[number] for number in oracle.signature(genotype)]
    for index, (down, gate) in enumerate(CONTEXTS):
        neck = MergeNeck(genotype, (2, 2, 2), space.levels, 2, recipe=Recipe(norm="none", down=down, gate=gate))
        inputs = OrderedDict((f"p{level}", oracle.input(level)) for level in space.levels)
        for ours, map_ in zip(outputs, neck(inputs).values(), strict=True):
            torch.testing.assert_close(ours[index], map_)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_fingerprints_are_equal_exactly_where_the_functions_are(space):
    assert_fingerprints_are_functions(space, Oracle(space.levels))


def test_weighted_merges_count_as_any_function_with_weights():
    assert_fingerprints_are_functions(WEIGHTED, Oracle(WEIGHTED.levels, opaque_merges=True))


def test_the_one_known_pair_of_equal_functions_with_different_fingerprints():
    """pool(x + w x) = pool(x) + pool(w x), since w is not negative."""
    first = (MergeCell(3, (0,), "fast_normalized", "none"), MergeCell(3, (0, 2), transform="none"))
    one = Genotype((3, 4), (*first, MergeCell(4, (3,), transform="none")))
    other = Genotype((3, 4), (*first, MergeCell(4, (0, 2), transform="none")))
    oracle = Oracle((3, 4))
    assert oracle.signature(one) == oracle.signature(other)
    assert one.fingerprint != other.fingerprint


RICH = PyramidSpace((3, 4, 5), min_cells=3, max_cells=6, merges=EVERY_MERGE, transforms=("conv", "linear", "none"))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 99), min_size=6, max_size=6))
def test_larger_genotypes_written_in_another_order_keep_function_and_fingerprint(seed, rank):
    genotype = replace(RICH.sample(random.Random(seed)), merge_dangling=False)
    other = reordered(genotype, rank)
    assert other.fingerprint == genotype.fingerprint


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_neighbours_with_one_fingerprint_are_one_function(seed):
    """Only this direction: in larger graphs the linearity of weighted merges equates a little more."""
    rng = random.Random(seed)
    space = small((3, 4, 5), 4, EVERY_MERGE, ("conv", "none"))
    genotype = space.sample(rng)
    oracle = Oracle(space.levels)
    for _ in range(5):
        other = space.mutate(genotype, rng)
        if other.fingerprint == genotype.fingerprint:
            assert oracle.signature(other) == oracle.signature(genotype)

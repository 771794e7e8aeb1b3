import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space import KNOWN, GenotypeError, MergeCell, NasFpnSpace, known, nas_fpn_space

SMALL = {
    "2 cells": NasFpnSpace(2, levels=(3, 4)),
    "3 cells": NasFpnSpace(3, levels=(3, 4)),
    "3 cells with P3": NasFpnSpace(3, levels=(3, 4), intermediate_levels=(3, 4)),
}
ALL = {**SMALL, "3 levels": NasFpnSpace(4, levels=(3, 4, 5)), "published": nas_fpn_space()}


@pytest.fixture(params=SMALL.values(), ids=SMALL.keys())
def small(request):
    return request.param


@pytest.fixture(params=ALL.values(), ids=ALL.keys())
def space(request):
    return request.param


def test_size_is_the_number_of_distinct_points(small):
    points = list(small.enumerate())
    assert small.size() == len(points) == len(set(points))


def test_every_point_decodes_from_its_encoding(small):
    for genotype in small.enumerate():
        choices = small.encode(genotype)
        assert small.decode(choices) == genotype
        assert small.next_decision(choices) is None


def test_every_walk_over_allowed_choices_is_a_point(small):
    def walk(choices):
        decision = small.next_decision(choices)
        if decision is None:
            yield choices
            return
        assert decision.allowed
        assert set(decision.allowed) <= set(decision.choices)
        for choice in decision.allowed:
            yield from walk({**choices, decision.name: choice})

    walks = list(walk({}))
    assert {small.decode(choices) for choices in walks} == set(small.enumerate())
    assert all(small.encode(small.decode(choices)) == choices for choices in walks)


def test_count_of_every_prefix_equals_brute_force(small):
    completions = Counter()
    for genotype in small.enumerate():
        items = tuple(small.encode(genotype).items())
        completions.update(items[:length] for length in range(len(items) + 1))
    for prefix, expected in completions.items():
        assert small.count(dict(prefix)) == expected, prefix


def test_names_have_the_same_choices_in_every_trial(space):
    rng = random.Random(0)
    fixed = {}
    for _ in range(20):
        choices = {}
        while (decision := space.next_decision(choices)) is not None:
            assert fixed.setdefault(decision.name, decision.choices) == decision.choices
            choices[decision.name] = rng.choice(decision.allowed)
    assert len(fixed) == 4 * space.num_cells


def test_mutants_of_every_point_are_other_points(small):
    points = list(small.enumerate())
    inside, rng = set(points), random.Random(1)
    for genotype in points:
        mutants = {small.mutate(genotype, rng) for _ in range(4)}
        assert mutants <= inside - {genotype}


def test_neighbours_of_every_point_are_other_points_each_once(small):
    points = set(small.enumerate())
    for genotype in points:
        neighbours = list(small.neighbours(genotype))
        assert neighbours
        assert set(neighbours) <= points - {genotype}
        assert len(set(neighbours)) == len(neighbours)


def test_neighbours_connect_the_space(small):
    start = next(small.enumerate())
    reached, frontier = {start}, [start]
    while frontier:
        new = set(small.neighbours(frontier.pop())) - reached
        reached |= new
        frontier += new
    assert len(reached) == small.size()


@given(st.integers(0, 2**32))
def test_mutation_of_the_published_space_stays_inside_and_changes_little(seed):
    space, rng = nas_fpn_space(), random.Random(seed)
    parent = space.sample(rng)
    child = space.mutate(parent, rng)
    assert space.contains(child)
    assert child != parent
    before, after = space.encode(parent), space.encode(child)
    changed = {name.split(".")[0] for name in before if before[name] != after[name]}
    assert len(changed) <= 2  # one cell, or two outputs that swap levels


def test_mutation_reaches_every_decision():
    space, rng, parent = nas_fpn_space(), random.Random(0), known.nas_fpn()
    before = space.encode(parent)
    changed = Counter()
    for _ in range(300):
        after = space.encode(space.mutate(parent, rng))
        changed.update(name for name in before if before[name] != after[name])
    assert set(changed) == set(before)


def test_sampling_is_uniform():
    """Chi-square over all 24 points; a uniform sampler fails one seed in a million (23 degrees of freedom)."""
    space, rng, draws = SMALL["2 cells"], random.Random(0), 4800
    seen = Counter(space.sample(rng) for _ in range(draws))
    expected = draws / space.size()
    statistic = sum((seen[point] - expected) ** 2 / expected for point in space.enumerate())
    assert sum(seen.values()) == draws
    assert statistic < 70.55


def test_first_choices_are_weighted_by_what_they_leave_open():
    """Input a = 0 leaves two partners of three nodes, input a = 1 leaves one; 6 standard deviations."""
    space, rng, draws = SMALL["2 cells"], random.Random(0), 3000
    zero = sum(space.encode(space.sample(rng))["cell1.input_a"] == 0 for _ in range(draws))
    assert abs(zero - 2000) < 6 * (draws * 2 / 9) ** 0.5


def test_sampling_uses_only_the_given_generator(space):
    random.seed(3)
    before = random.getstate()
    first = space.sample(random.Random(5))
    random.seed(4)
    assert space.sample(random.Random(5)) == first
    random.setstate(before)
    space.mutate(first, random.Random(5))
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("num_cells", "size"),
    [
        (5, "1.22e+10"),
        (6, "4.39e+12"),
        (7, "1.93e+15"),
        (8, "1.02e+18"),
        (9, "6.36e+20"),
        (10, "4.63e+23"),
        (12, "3.74e+29"),
        (15, "6.81e+38"),
    ],
)
def test_sizes_equal_those_of_the_public_definition(num_cells, size):
    assert f"{nas_fpn_space(num_cells).size():.2e}" == size


@pytest.mark.parametrize("num_cells", range(5, 16))
def test_sizes_equal_the_closed_form(num_cells):
    """Pairs and merges of every cell, four levels per intermediate cell, and the order of the outputs."""
    pairs = math.prod(math.comb(5 + index, 2) for index in range(num_cells))
    assert nas_fpn_space(num_cells).size() == pairs * 2**num_cells * 4 ** (num_cells - 5) * math.factorial(5)


def test_the_published_space_has_its_exact_size():
    assert nas_fpn_space().size() == 1_931_334_451_200_000


def test_the_published_cell_is_a_point():
    space = nas_fpn_space()
    choices = space.encode(known.nas_fpn())
    assert space.decode(choices) == known.nas_fpn()
    assert len(choices) == 28
    assert [choices[f"cell{index}.level"] for index in range(7)] == [4, 4, 3, 4, 5, 7, 6]


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"nas_fpn"}))
def test_other_known_necks_are_not_points(name):
    assert not nas_fpn_space().contains(KNOWN[name]())


def changed_cell(index, **fields):
    genotype = known.nas_fpn()
    old = genotype.cells[index]
    values = {"level": old.level, "inputs": old.inputs, "merge": old.merge, "transform": old.transform, **fields}
    cells = (*genotype.cells[:index], MergeCell(**values), *genotype.cells[index + 1 :])
    return type(genotype)(genotype.levels, cells, genotype.merge_dangling)


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (changed_cell(0, level=3), r"cell0.level is 3, allowed here are \(4, 5, 6, 7\)"),
        (changed_cell(4, level=4), r"cell4.level is 4, allowed here are \(5, 6, 7\)"),
        (changed_cell(1, inputs=(0, 1, 2)), r"cell 1: this space merges pairs"),
        (changed_cell(1, transform="none"), r"cell 1: this space merges pairs and transforms"),
        (changed_cell(1, merge="fast_normalized"), r"cell1.merge is 'fast_normalized', allowed here are"),
        (changed_cell(1, inputs=(3, 1)), r"ascending order, got \(3, 1\)"),
        (known.bifpn(), r"merge_dangling=False"),
    ],
)
def test_encode_says_why_a_genotype_is_not_a_point(genotype, message):
    assert not nas_fpn_space().contains(genotype)
    with pytest.raises(ValueError, match=message):
        nas_fpn_space().encode(genotype)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell0.level": 3}, "cell0.level is 3, allowed here"),
        ({"cell0.input_b": 1}, r"cell0.input_b is 1, allowed here are \(2, 3, 4\)"),
        ({"cell9.merge": "sum"}, r"does not have: \['cell9.merge'\]"),
    ],
)
def test_decode_refuses_what_is_not_allowed_or_unknown(change, message):
    space = nas_fpn_space()
    with pytest.raises(ValueError, match=message):
        space.decode({**space.encode(known.nas_fpn()), **change})


def test_decode_names_a_missing_decision():
    space = nas_fpn_space()
    choices = space.encode(known.nas_fpn())
    del choices["cell2.merge"]
    with pytest.raises(ValueError, match=r"cell2\.merge is None"):
        space.decode(choices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_cells": 4}, "num_cells must be at least the number of levels"),
        ({"num_cells": 2, "levels": (3,)}, "two levels or more"),
        ({"intermediate_levels": (8,)}, "intermediate_levels must be distinct and a part"),
        ({"intermediate_levels": ()}, "intermediate_levels must be distinct and a part"),
    ],
)
def test_impossible_spaces_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NasFpnSpace(**arguments)


def test_mutating_a_stranger_is_refused():
    with pytest.raises(ValueError, match="genotypes of this space"):
        nas_fpn_space().mutate(known.fpn(), random.Random(0))


def test_genotype_errors_are_value_errors():
    assert issubclass(GenotypeError, ValueError)
